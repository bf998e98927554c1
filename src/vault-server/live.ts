import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { AgentPeer, AppenderRequest } from '../wire/ports.ts'
import { SourceMeter } from './meter.ts'

/** Requests that wait for one capture; more are refused. */
const requestsMax = 64
/** How long a user waits for a mark to be durable. */
const markMsMax = 30_000

export interface MetAgent extends Pick<AgentPeer, 'software' | 'server' | 'roundTripMs'> {
  readonly address: string | undefined
  readonly certificateExpires: Moment | undefined
  readonly lastContact: Moment
}

/** What lives as long as the process: how each source does, who is connected, what captures are asked to do. */
export class Live {
  readonly #clock: Clock
  readonly #sources = new Map<Id, LiveSource>()
  readonly #connections = new Map<Id, number>()
  readonly #met = new Map<Id, MetAgent>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  source(id: Id): LiveSource {
    const known = this.#sources.get(id)
    if (known) return known
    const made = new LiveSource(this.#clock)
    this.#sources.set(id, made)
    return made
  }

  forget(id: Id): void {
    this.#sources.get(id)?.end()
    this.#sources.delete(id)
  }

  isConnected(agent: Id): boolean {
    return (this.#connections.get(agent) ?? 0) > 0
  }

  /** What is known of an agent since this vault was started; undefined before its first control connection. */
  agent(id: Id): MetAgent | undefined {
    const met = this.#met.get(id)
    return met && { ...met, lastContact: this.isConnected(id) ? (this.#clock.now() as Moment) : met.lastContact }
  }

  /** The control connection of an agent is up, until what is returned is disposed of. */
  met(peer: AgentPeer): Disposable {
    const { agent, address, certificateExpires, software, server } = peer
    const met = {
      software,
      server,
      address,
      certificateExpires,
      roundTripMs: peer.roundTripMs,
      lastContact: this.#clock.now() as Moment,
    }
    this.#met.set(agent, met)
    return { [Symbol.dispose]: () => void (met.lastContact = this.#clock.now() as Moment) }
  }

  connected(agent: Id): Disposable {
    this.#connections.set(agent, (this.#connections.get(agent) ?? 0) + 1)
    return { [Symbol.dispose]: () => void this.#connections.set(agent, (this.#connections.get(agent) ?? 1) - 1) }
  }
}

export class LiveSource {
  readonly #clock: Clock
  readonly meter = new SourceMeter(sequence(0))
  #session: RequestQueue | undefined
  readonly #marks = new Map<number, (result: Sequence | TidemarkError) => void>()
  #tag: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tag = clock.now()
  }

  get isShipping(): boolean {
    return this.#session !== undefined
  }

  /** A journal session begins; the one before it, if any, ends. Its requests end when it is left or replaced. */
  enter(): { requests: AsyncIterable<AppenderRequest>; leave(): void } {
    this.#session?.end()
    const queue = new RequestQueue()
    this.#session = queue
    return {
      requests: queue,
      leave: () => {
        queue.end()
        if (this.#session === queue) this.#session = undefined
      },
    }
  }

  reported(report: CaptureReport, agentNow: Moment): void {
    this.meter.reported(report, agentNow, this.#clock.monotonicMs() * 1000)
  }

  /** Resolves with the mark's sequence once it is durable. */
  async mark(label: string, signal: AbortSignal): Promise<Sequence> {
    const tag = this.#tag++
    const done = new Promise<Sequence | TidemarkError>((resolve) => this.#marks.set(tag, resolve))
    try {
      this.#ask({ kind: 'mark', tag, label })
      const stop = new AbortController()
      const late = this.#clock.sleep(markMsMax, AbortSignal.any([signal, stop.signal])).then(() => tooLate(label))
      const result = await Promise.race([done, late])
      stop.abort()
      late.catch((error: unknown) => error)
      if (result instanceof TidemarkError) throw result
      return result
    } finally {
      this.#marks.delete(tag)
    }
  }

  reconcile(): void {
    this.#ask({ kind: 'reconcile' })
  }

  marked(tag: number, at: Sequence): void {
    this.#marks.get(tag)?.(at)
  }

  end(): void {
    this.#session?.end()
    this.#session = undefined
  }

  #ask(request: AppenderRequest): void {
    if (!this.#session) {
      throw new TidemarkError('unreachable', {
        message: 'the agent of this source is not connected',
        hint: 'start the agent, or see in "tidemark status" what keeps it away',
      })
    }
    this.#session.push(request)
  }
}

const tooLate = (label: string): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `mark "${label}" is not durable after ${markMsMax / 1000} s; it may still become so`,
    hint: 'look at "tidemark status" and "tidemark points"',
  })

class RequestQueue implements AsyncIterable<AppenderRequest> {
  #waiting: AppenderRequest[] = []
  #ended = false
  #wake: (() => void) | undefined

  push(request: AppenderRequest): void {
    if (this.#waiting.length >= requestsMax) {
      throw new TidemarkError('unreachable', {
        message: `${requestsMax} requests wait for this source already`,
        hint: 'try again later',
      })
    }
    this.#waiting.push(request)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AppenderRequest> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next) yield next
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
