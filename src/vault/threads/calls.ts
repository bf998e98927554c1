import { type ErrorCode, messageOf, TidemarkError } from '../../base/errors.ts'

/** A worker, or what it sees of this thread. */
export interface Port {
  postMessage(message: unknown, moved: ArrayBuffer[]): void
  on(event: 'message', listener: (message: Message) => void): unknown
}

/**
 * Calls between two threads. Every call is answered by a stream of values, of which at most `aheadMax` are under way;
 * the consumer's pace is the producer's. Leaving a stream early, or its signal, cancels the call over there. Errors
 * cross with code, message and hint. Either side may call the other.
 */
type Message =
  | { readonly kind: 'call'; readonly call: number; readonly method: string; readonly request: unknown }
  | { readonly kind: 'more' | 'cancel' | 'end'; readonly call: number }
  | { readonly kind: 'value'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly call: number; readonly failure: Failure }

interface Failure {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly hint: string | undefined
}

const aheadMax = 4

/** What one side answers, by method. */
export type Answers = Readonly<Record<string, (request: never, signal: AbortSignal) => AsyncIterable<unknown>>>

/** The requests and values of `A`, as the other side calls them. */
type RequestOf<A extends Answers, M extends keyof A> = Parameters<A[M]>[0]
type ValueOf<A extends Answers, M extends keyof A> = A[M] extends (...args: never[]) => AsyncIterable<infer V>
  ? V
  : never

interface Outgoing {
  readonly values: unknown[]
  ended: boolean
  failure: unknown
  wake: (() => void) | undefined
}

interface Incoming {
  readonly stop: AbortController
  credit: number
  wake: (() => void) | undefined
}

/** One end of a pair of threads; `Theirs` is what the other end answers. */
export class Calls<Theirs extends Answers> {
  readonly #port: Port
  readonly #answers: Answers
  readonly #outgoing = new Map<number, Outgoing>()
  readonly #incoming = new Map<number, Incoming>()
  #last = 0
  #gone: Error | undefined

  constructor(port: Port, answers: Answers = {}) {
    this.#port = port
    this.#answers = answers
    port.on('message', (message: Message) => this.#receive(message))
  }

  /** Calls that are not answered to their end yet. */
  get underWay(): number {
    return this.#outgoing.size
  }

  async *stream<M extends keyof Theirs & string>(
    method: M,
    request: RequestOf<Theirs, M>,
    signal?: AbortSignal,
  ): AsyncGenerator<ValueOf<Theirs, M>> {
    signal?.throwIfAborted()
    if (this.#gone) throw this.#gone
    const call = ++this.#last
    const state: Outgoing = { values: [], ended: false, failure: undefined, wake: undefined }
    const onAbort = (): void => {
      state.failure = signal?.reason
      state.wake?.()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#outgoing.set(call, state)
    this.#post({ kind: 'call', call, method, request })
    try {
      for (;;) {
        if (state.failure !== undefined) throw state.failure
        if (state.values.length > 0) {
          const value = state.values.shift() as ValueOf<Theirs, M>
          this.#post({ kind: 'more', call })
          yield value
        } else if (state.ended) return
        else await new Promise<void>((resolve) => (state.wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#outgoing.delete(call)
      if (!state.ended) this.#post({ kind: 'cancel', call })
    }
  }

  /** The one value of an answer; undefined of one that has none. */
  async one<M extends keyof Theirs & string>(
    method: M,
    request: RequestOf<Theirs, M>,
    signal?: AbortSignal,
  ): Promise<ValueOf<Theirs, M>> {
    let found: ValueOf<Theirs, M> | undefined
    for await (const value of this.stream(method, request, signal)) found = value
    return found as ValueOf<Theirs, M>
  }

  /** The other thread is gone: all calls end with this. */
  lost(reason: Error): void {
    this.#gone = reason
    for (const state of this.#outgoing.values()) {
      state.failure = reason
      state.ended = true
      state.wake?.()
    }
    for (const { stop } of this.#incoming.values()) stop.abort(reason)
  }

  #post(message: Message, moved: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, moved)
  }

  #receive(message: Message): void {
    const { kind, call } = message
    switch (kind) {
      case 'call':
        return void this.#answer(message)
      case 'more': {
        const answering = this.#incoming.get(call)
        if (answering === undefined) return
        answering.credit++
        return answering.wake?.()
      }
      case 'cancel':
        return this.#incoming.get(call)?.stop.abort(new TidemarkError('interrupted', { message: 'the call was left' }))
      default: {
        const state = this.#outgoing.get(call)
        if (state === undefined) return
        if (kind === 'value') state.values.push(message.value)
        else state.ended = true
        if (kind === 'failed') state.failure = failureError(message.failure)
        state.wake?.()
      }
    }
  }

  /** Never rejects: whatever goes wrong is told to the caller. */
  async #answer({ call, method, request }: Extract<Message, { kind: 'call' }>): Promise<void> {
    const state: Incoming = { stop: new AbortController(), credit: aheadMax, wake: undefined }
    const { signal } = state.stop
    signal.addEventListener('abort', () => state.wake?.(), { once: true })
    this.#incoming.set(call, state)
    try {
      const answer = this.#answers[method]
      if (answer === undefined) throw new Error(`broken invariant: unexpected call of ${method}`)
      for await (const value of answer(request as never, signal)) {
        while (state.credit === 0 && !signal.aborted) await new Promise<void>((resolve) => (state.wake = resolve))
        signal.throwIfAborted()
        state.credit--
        this.#post({ kind: 'value', call, value }, buffersOf(value))
      }
      this.#post({ kind: 'end', call })
    } catch (error) {
      this.#post({ kind: 'failed', call, failure: failureOf(error) })
    } finally {
      this.#incoming.delete(call)
    }
  }
}

/** Answers the calls of the other thread from now on. */
export const answerCalls = (port: Port, answers: Answers): void => void new Calls(port, answers)

/** Bytes handed over whole are moved, not copied; see `owned`. */
const buffersOf = (value: unknown): ArrayBuffer[] =>
  value instanceof Uint8Array && value.buffer instanceof ArrayBuffer && value.byteLength === value.buffer.byteLength
    ? [value.buffer]
    : []

function failureOf(error: unknown): Failure {
  const known = error instanceof TidemarkError ? error : undefined
  return { code: known?.code, message: messageOf(error), hint: known?.hint }
}

function failureError({ code, message, hint }: Failure): Error {
  if (code === undefined) return new Error(message)
  return new TidemarkError(code, hint === undefined ? { message } : { message, hint })
}

const joinedBytes = 256 * 1024

/** The same bytes in pieces of a good size to hand over, each the only one in its memory, so that it can be moved. */
export async function* owned(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (const piece of pieces) {
    held.push(piece)
    bytes += piece.length
    if (bytes < joinedBytes) continue
    yield joined(held, bytes)
    held = []
    bytes = 0
  }
  if (bytes > 0) yield joined(held, bytes)
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

const groupedCount = 512

/** Small values in groups, which cross for little more than one of them. */
export async function* grouped<T>(values: AsyncIterable<T>): AsyncGenerator<T[]> {
  let group: T[] = []
  for await (const value of values) {
    group.push(value)
    if (group.length < groupedCount) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}

export async function* single<T>(value: T | Promise<T>): AsyncGenerator<T> {
  yield await value
}
