import { TidemarkError } from '../../base/errors.ts'
import type { Chunk } from '../../format/block.ts'
import type { Moment } from '../../model/moment.ts'
import { beforeFirst, type Sequence, sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { ChunkFilter } from '../retention/chunk-filter.ts'
import { single } from '../threads/calls.ts'
import { Thread } from '../threads/thread.ts'
import type { IndexAnswers, IndexNews, IndexSetup, VaultAnswers } from './index-worker.ts'
import type { IndexProgress } from './indexes.ts'
import type { Vault } from '../vault.ts'

/** What the thread of indexes needs of the vault. */
export type IndexedVault = Pick<Vault, 'keep' | 'journal'>

interface Kept {
  durable: Sequence
  indexed: Sequence
  failure: TidemarkError | undefined
  waiting: { readonly at: Sequence; readonly resolve: () => void; readonly reject: (reason: unknown) => void }[]
}

/** The indexes of all journals of a vault, kept in a thread of their own. */
export class IndexThread implements IndexProgress, AsyncDisposable {
  readonly #thread: Thread<IndexAnswers>
  readonly #kept = new Map<Id, Kept>()
  readonly #stop = new AbortController()
  readonly #listening: Promise<void>

  /** `vault` is asked while something is forgotten. */
  constructor(setup: IndexSetup, vault: IndexedVault) {
    this.#thread = new Thread<IndexAnswers>({
      file: './index-worker',
      beside: import.meta.url,
      setup,
      answers: {
        keep: ({ source, chunks }: { source: Id; chunks: readonly Chunk[] }) => single(vault.keep(source, chunks)),
        dropBefore: ({ source, at }: { source: Id; at: Sequence }) => single(vault.journal(source).dropBefore(at)),
      } satisfies VaultAnswers,
      name: 'indexes',
    })
    this.#listening = this.#listen()
  }

  async add(source: Id, journalKey: Uint8Array, durable: Sequence): Promise<void> {
    this.#kept.set(source, { durable: beforeFirst, indexed: beforeFirst, failure: undefined, waiting: [] })
    // A copy, because whatever shares its memory would cross with it.
    await this.#thread.calls.one('add', { source, journalKey: new Uint8Array(journalKey) })
    this.grown(source, durable)
  }

  /** The index goes with its source. */
  async remove(source: Id): Promise<void> {
    const kept = this.#kept.get(source)
    this.#kept.delete(source)
    for (const { reject } of kept?.waiting ?? []) reject(unknown(source))
    await this.#thread.calls.one('remove', source)
  }

  /** Everything of the journal up to `at` is durable. Calls are monotonic. */
  grown(source: Id, at: Sequence): void {
    const kept = this.#kept.get(source)
    if (kept === undefined) return
    kept.durable = sequence(Math.max(at, kept.durable))
    // A thread that is gone says so to everyone who waits.
    this.#thread.calls.one('grown', { source, durable: kept.durable }).catch(() => undefined)
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
  retain(source: Id, journalKey: Uint8Array, before: Moment, signal?: AbortSignal): Promise<Sequence | undefined> {
    return this.#thread.calls.one('retain', { source, journalKey: new Uint8Array(journalKey), before }, signal)
  }

  /** All chunks that the kept history of any source refers to, everything that is durable now included. */
  async chunksInUse(signal: AbortSignal): Promise<ChunkFilter> {
    for (const [source, { durable }] of this.#kept) await this.reached(source, durable, signal)
    return new ChunkFilter(await this.#thread.calls.one('chunksInUse', undefined as never, signal))
  }

  async #listen(): Promise<void> {
    try {
      for await (const news of this.#thread.calls.stream('news', undefined, this.#stop.signal)) this.#take(news)
    } catch (error) {
      for (const kept of this.#kept.values()) this.#refuse(kept, error)
    }
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

  #refuse(kept: Kept, reason: unknown): void {
    if (reason instanceof TidemarkError) kept.failure = reason
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
    await this.#listening
    await this.#thread.end(() => this.#thread.calls.one('end', undefined as never))
  }
}

const unknown = (source: Id): TidemarkError =>
  new TidemarkError('not-found', { message: `there is no source ${source}` })
