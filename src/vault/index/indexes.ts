import { createSecretKey } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import { beforeFirst, type Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { JournalReader } from '../reader.ts'
import { Indexer } from './indexer.ts'
import { memoryLocation, removeIndex } from './schema.ts'

/** How far the indexes are, as the one who tells them of durable changes knows it. */
export interface IndexProgress {
  durable(source: Id): Sequence
  indexed(source: Id): Sequence
  /** Resolves once the index holds everything up to `at`; rejects when it cannot, or with the signal's reason. */
  reached(source: Id, at: Sequence, signal?: AbortSignal): Promise<void>
}

export interface IndexesParts {
  /** Where the index of a source is kept: a path, or `memoryLocation`. */
  readonly location: (source: Id) => string
  readonly clock: Clock
  readonly indexed?: (source: Id, at: Sequence) => void
  readonly failed?: (source: Id, failure: unknown) => void
}

interface Kept {
  readonly indexer: Indexer
  durable: Sequence
}

/** The indexes of all journals of a vault, kept in this thread. */
export class Indexes implements IndexProgress, AsyncDisposable {
  readonly #parts: IndexesParts
  readonly #kept = new Map<Id, Kept>()

  constructor(parts: IndexesParts) {
    this.#parts = parts
  }

  add(source: Id, journal: JournalReader, journalKey: Uint8Array): void {
    if (this.#kept.has(source)) return
    const { clock, location, indexed, failed } = this.#parts
    const indexer = new Indexer({
      location: location(source),
      indexKey: createSecretKey(journalKey),
      journal,
      clock,
      indexed: (at) => indexed?.(source, at),
      failed: (failure) => failed?.(source, failure),
    })
    this.#kept.set(source, { indexer, durable: beforeFirst })
  }

  /** The index goes with its source. */
  async remove(source: Id): Promise<void> {
    const kept = this.#kept.get(source)
    this.#kept.delete(source)
    await kept?.indexer[Symbol.asyncDispose]()
    const location = this.#parts.location(source)
    if (location !== memoryLocation) removeIndex(location)
  }

  /** Everything of the journal up to `at` is durable. */
  grown(source: Id, at: Sequence): void {
    const kept = this.#of(source)
    kept.durable = at
    kept.indexer.durable(at)
  }

  get sources(): Id[] {
    return [...this.#kept.keys()]
  }

  indexer(source: Id): Indexer {
    return this.#of(source).indexer
  }

  durable(source: Id): Sequence {
    return this.#of(source).durable
  }

  indexed(source: Id): Sequence {
    return this.#of(source).indexer.indexed
  }

  reached(source: Id, at: Sequence, signal?: AbortSignal): Promise<void> {
    return this.#of(source).indexer.reached(at, signal)
  }

  #of(source: Id): Kept {
    const kept = this.#kept.get(source)
    if (kept !== undefined) return kept
    throw new TidemarkError('not-found', { message: `there is no source ${source}` })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    for (const { indexer } of kept) await indexer[Symbol.asyncDispose]()
  }
}
