import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Chunk } from '../../format/block.ts'
import type { Moment } from '../../model/moment.ts'
import { beforeFirst, type Sequence, sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { ChunkFilter } from '../retention/chunk-filter.ts'
import { type Calls, single } from '../threads/calls.ts'
import { Thread } from '../threads/thread.ts'
import type { IndexAnswers, IndexNews, IndexSetup, VaultAnswers } from './index-worker.ts'
import type { IndexProgress } from './indexes.ts'
import type { Vault } from '../vault.ts'

/** What the thread of indexes needs of the vault. */
export type IndexedVault = Pick<Vault, 'keep' | 'journal'>

export interface IndexThreadParts {
  readonly setup: IndexSetup
  /** Asked while something is forgotten. */
  readonly vault: IndexedVault
  readonly clock: Clock
  /** Told whenever the thread has ended by itself; it is started again after a rest. */
  readonly lost?: (reason: TidemarkError) => void
}

/** Rests before a thread that has ended is started again: twice as long each time, unless it has lived for the longest. */
const restMsMin = 1_000
const restMsMax = 60_000

interface Kept {
  readonly journalKey: Uint8Array
  durable: Sequence
  indexed: Sequence
  failure: TidemarkError | undefined
  waiting: { readonly at: Sequence; readonly resolve: () => void; readonly reject: (reason: unknown) => void }[]
}

/**
 * The indexes of all journals of a vault, kept in a thread of their own. A thread that ends by itself is started again;
 * while it is away that is the `failure` of every source, and what was indexed can still be seen.
 */
export class IndexThread implements IndexProgress, AsyncDisposable {
  readonly #parts: IndexThreadParts
  readonly #kept = new Map<Id, Kept>()
  readonly #stop = new AbortController()
  readonly #keeping: Promise<void>
  #thread: Thread<IndexAnswers>

  constructor(parts: IndexThreadParts) {
    this.#parts = parts
    this.#thread = this.#start()
    this.#keeping = this.#keep()
  }

  #start(): Thread<IndexAnswers> {
    const { setup, vault } = this.#parts
    return new Thread<IndexAnswers>({
      file: './index-worker',
      beside: import.meta.url,
      setup,
      answers: {
        keep: ({ source, chunks }: { source: Id; chunks: readonly Chunk[] }) => single(vault.keep(source, chunks)),
        dropBefore: ({ source, at }: { source: Id; at: Sequence }) => single(vault.journal(source).dropBefore(at)),
      } satisfies VaultAnswers,
      name: 'indexes',
    })
  }

  async add(source: Id, journalKey: Uint8Array, durable: Sequence): Promise<void> {
    // A copy, because whatever shares its memory would cross with it.
    const key = new Uint8Array(journalKey)
    this.#kept.set(source, { journalKey: key, durable, indexed: beforeFirst, failure: undefined, waiting: [] })
    await this.#tell((calls) => this.#begin(calls, source))
  }

  /** The index goes with its source: at once, or, while the thread is away, at the next opening. */
  async remove(source: Id): Promise<void> {
    const kept = this.#kept.get(source)
    this.#kept.delete(source)
    for (const { reject } of kept?.waiting ?? []) reject(unknown(source))
    await this.#tell((calls) => calls.one('remove', source))
  }

  /** Everything of the journal up to `at` is durable. Calls are monotonic. */
  grown(source: Id, at: Sequence): void {
    const kept = this.#kept.get(source)
    if (kept === undefined) return
    kept.durable = sequence(Math.max(at, kept.durable))
    void this.#tell((calls) => calls.one('grown', { source, durable: kept.durable }))
  }

  async #begin(calls: Calls<IndexAnswers>, source: Id): Promise<void> {
    const { journalKey, durable } = this.#of(source)
    await Promise.all([calls.one('add', { source, journalKey }), calls.one('grown', { source, durable })])
  }

  /** A thread that is away is told everything when it is started again. */
  async #tell(tell: (calls: Calls<IndexAnswers>) => Promise<void>): Promise<void> {
    const thread = this.#thread
    try {
      await tell(thread.calls)
    } catch (error) {
      if (!thread.isLost && !this.#stop.signal.aborted) throw error
    }
  }

  durable(source: Id): Sequence {
    return this.#of(source).durable
  }

  indexed(source: Id): Sequence {
    return this.#of(source).indexed
  }

  /** Why the index does not come further, while it does not. */
  failure(source: Id): TidemarkError | undefined {
    return this.#of(source).failure
  }

  reached(source: Id, at: Sequence, signal?: AbortSignal): Promise<void> {
    const kept = this.#of(source)
    if (kept.indexed >= at) return Promise.resolve()
    if (kept.failure !== undefined) return Promise.reject(kept.failure)
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        kept.waiting = kept.waiting.filter((one) => one !== waiter)
        reject(signal?.reason)
      }
      const free = (): void => signal?.removeEventListener('abort', onAbort)
      const waiter = {
        at,
        resolve: () => (free(), resolve()),
        reject: (reason: unknown) => (free(), reject(reason)),
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      kept.waiting.push(waiter)
    })
  }

  /**
   * Forgets what happened to a source before `before`, see retention/retain.ts. Returns the sequence from which on
   * points are kept now; undefined where nothing was to be forgotten.
   */
  retain(source: Id, before: Moment, signal?: AbortSignal): Promise<Sequence | undefined> {
    return this.#thread.calls.one('retain', { source, journalKey: this.#of(source).journalKey, before }, signal)
  }

  /** All chunks that the kept history of any source refers to, everything that is durable now included. */
  async chunksInUse(signal: AbortSignal): Promise<ChunkFilter> {
    return new ChunkFilter(await this.#thread.calls.one('chunksInUse', undefined as never, signal))
  }

  /** Follows the thread to its end, and starts another, until stopped. */
  async #keep(): Promise<void> {
    const { clock, lost } = this.#parts
    const { signal } = this.#stop
    for (let restMs = restMsMin; ; restMs = Math.min(restMs * 2, restMsMax)) {
      const sinceMs = clock.monotonicMs()
      const reason = await this.#listen()
      for (const kept of this.#kept.values()) this.#refuse(kept, reason)
      if (signal.aborted) return
      lost?.(reason)
      if (clock.monotonicMs() - sinceMs >= restMsMax) restMs = restMsMin
      await clock.sleep(restMs, signal).catch(() => undefined)
      if (signal.aborted) return
      this.#thread = this.#start()
      for (const source of this.#kept.keys()) void this.#tell((calls) => this.#begin(calls, source))
    }
  }

  /** Takes news until there are no more of them; returns why. */
  async #listen(): Promise<TidemarkError> {
    const thread = this.#thread
    try {
      for await (const news of thread.calls.stream('news', undefined, this.#stop.signal)) this.#take(news)
    } catch (error) {
      if (error instanceof TidemarkError && (thread.isLost || this.#stop.signal.aborted)) return error
      throw error
    }
    throw new Error('broken invariant: news of the indexes go on until they are stopped')
  }

  #take({ source, indexed, failure }: IndexNews): void {
    const kept = this.#kept.get(source)
    if (kept === undefined) return
    kept.indexed = indexed
    kept.failure = undefined
    const reached = kept.waiting.filter(({ at }) => at <= indexed)
    kept.waiting = kept.waiting.filter(({ at }) => at > indexed)
    for (const { resolve } of reached) resolve()
    if (failure === undefined) return
    const { code, message, hint } = failure
    const told = { message, ...(hint === undefined ? {} : { hint }) }
    this.#refuse(kept, new TidemarkError(code ?? 'damaged', told))
  }

  #refuse(kept: Kept, reason: TidemarkError): void {
    kept.failure = reason
    const waiting = kept.waiting
    kept.waiting = []
    for (const { reject } of waiting) reject(reason)
  }

  #of(source: Id): Kept {
    const kept = this.#kept.get(source)
    if (kept === undefined) throw unknown(source)
    return kept
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new TidemarkError('interrupted', { message: 'the vault is closing' }))
    await this.#keeping
    await this.#thread.end(() => this.#thread.calls.one('end', undefined as never))
  }
}

const unknown = (source: Id): TidemarkError =>
  new TidemarkError('not-found', { message: `there is no source ${source}` })
