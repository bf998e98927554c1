import type { Clock } from '../../src/base/clock.ts'
import type { Trace } from './trace.ts'

/**
 * Virtual time. It moves to the next event only when nothing else can run: microtasks, immediates and file operations
 * of this process are all done. Events of one instant run in the order they were asked for, one at a time, so a run is
 * decided by its seed alone.
 */
export class SimulatedTime {
  #nowMs = 0
  #order = 0
  readonly #queue: TimedEvent[] = []
  #failure: { readonly error: unknown } | undefined
  /** Events so far, a measure of work. */
  events = 0

  get nowMs(): number {
    return this.#nowMs
  }

  /** Calls `action` after `ms`; the function returned cancels it. */
  after(ms: number, action: () => void): () => void {
    const event: TimedEvent = { atMs: this.#nowMs + Math.max(ms, 0), order: this.#order++, action }
    push(this.#queue, event)
    return () => {
      event.action = undefined
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Resolves once `holds`, which is asked again and again. */
  async until(holds: () => boolean, everyMs = 100): Promise<void> {
    while (!holds()) await this.sleep(everyMs)
  }

  /** Ends the run with this error: for what fails in a part that nobody waits for. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /**
   * Lets time pass until `world` is settled. Fails when nothing can run any more or `limitMs` of virtual time is over
   * and the world is still not done.
   */
  async run<T>(world: Promise<T>, limitMs: number): Promise<T> {
    let outcome: { readonly value: T } | undefined
    world.then(
      (value) => (outcome = { value }),
      (error: unknown) => this.fail(error),
    )
    for (;;) {
      await quiet()
      if (this.#failure) throw this.#failure.error
      if (outcome) return outcome.value
      const event = this.#nextEvent()
      if (event === undefined) throw new Stuck('nothing can run any more, and the world is not done')
      if (event.atMs > limitMs) throw new Stuck(`the world is not done after ${limitMs / 1000} s of virtual time`)
      this.#nowMs = event.atMs
      this.events++
      event.action?.()
    }
  }

  #nextEvent(): TimedEvent | undefined {
    for (;;) {
      const event = pop(this.#queue)
      if (event === undefined || event.action !== undefined) return event
    }
  }
}

/** Deadlock or livelock of the simulated world. */
export class Stuck extends Error {
  override readonly name = 'Stuck'
}

/** What a machine's clock shows is this at the beginning of the run; it may be wrong, and it may be set. */
export interface Wall {
  us: number
}

/** The clock of a machine, as one program on it has it. What it measures is right. */
export class MachineClock implements Clock {
  readonly #time: SimulatedTime
  readonly #life: Life
  readonly #wall: Wall

  constructor(time: SimulatedTime, life: Life, wall: Wall) {
    this.#time = time
    this.#life = life
    this.#wall = wall
  }

  now(): number {
    return Math.round(this.#wall.us + this.#time.nowMs * 1000)
  }

  monotonicMs(): number {
    return this.#time.nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        cancel()
        if (this.#life.alive) reject(signal?.reason)
      }
      const cancel = this.#time.after(ms, () => {
        signal?.removeEventListener('abort', onAbort)
        if (this.#life.alive) resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

/**
 * One run of a program, from its start until it ends or is killed. Every door it was given asks here: after `kill`,
 * what it waits for never comes, and what it still asks for never happens. That is how a killed process looks.
 */
export class Life {
  readonly name: string
  /** Resolves when it is killed. */
  readonly ended: Promise<void>
  readonly #trace: Trace
  #end: () => void
  alive = true

  constructor(name: string, trace: Trace) {
    this.name = name
    this.#trace = trace
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#end = resolve
  }

  kill(how: string): void {
    if (!this.alive) return
    this.alive = false
    this.#trace.add(this.name, `ends: ${how}`)
    this.#end()
  }

  /** For those outside who ask it something: its answer, or undefined when it dies before. */
  answer<T>(promise: Promise<T>): Promise<T | undefined> {
    return Promise.race([promise, this.ended.then(() => undefined)])
  }

  /** Passes `promise` on while alive; afterwards stays silent for ever. */
  through<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.alive && resolve(value),
        (error: unknown) => this.alive && reject(error),
      )
    })
  }
}

export const never = <T>(): Promise<T> => new Promise<T>(() => {})

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const working = /^(Immediate|FSReq|CloseReq|.*Job)/

/** Resolves when no microtask, immediate, file operation or thread-pool job of this process is left. */
async function quiet(): Promise<void> {
  do await immediate()
  while (process.getActiveResourcesInfo().some((resource) => working.test(resource)))
}

interface TimedEvent {
  readonly atMs: number
  readonly order: number
  action: (() => void) | undefined
}

const before = (one: TimedEvent, other: TimedEvent): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)

function push(heap: TimedEvent[], event: TimedEvent): void {
  let at = heap.length
  heap.push(event)
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function pop(heap: TimedEvent[]): TimedEvent | undefined {
  const top = heap[0]
  const last = heap.pop()
  if (top === undefined || last === undefined || heap.length === 0) return top
  let at = 0
  for (;;) {
    let child = at * 2 + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
  return top
}
