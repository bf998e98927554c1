import { TidemarkError } from '../../src/base/errors.ts'
import { decodeBatch, encodeBatch } from '../../src/format/batch.ts'
import { lastOf, type Stamped } from '../../src/model/batch.ts'
import type { ChunkId } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence, sequence } from '../../src/model/sequence.ts'
import type { Checkpoint, ChunkReader, JournalReader, StoredBatch } from '../../src/vault/reader.ts'

/** A journal of really encoded batches, without files. */
export class MemoryJournal implements JournalReader {
  readonly #batches: { first: number; last: number; received: number; bytes: Buffer }[] = []
  #last: Sequence = beforeFirst

  get last(): Sequence {
    return this.#last
  }

  append(changes: readonly Stamped[], settled = false): void {
    const first = sequence(this.#last + 1)
    const batch = { first, settled, cursor: Buffer.alloc(0), changes }
    this.#last = lastOf(batch)
    const received = (changes.at(-1)?.moment ?? 0) + 1_000
    this.#batches.push({ first, last: this.#last, received, bytes: encodeBatch(batch) })
  }

  async *batches(after: Sequence, signal?: AbortSignal): AsyncGenerator<StoredBatch> {
    for (const stored of this.#batches) {
      signal?.throwIfAborted()
      if (stored.last > after) yield { batch: decodeBatch(stored.bytes), received: moment(stored.received) }
    }
  }

  batchOf(wanted: Sequence): Promise<StoredBatch> {
    const stored = this.#batches.find(({ first, last }) => first <= wanted && wanted <= last)
    if (stored === undefined) return Promise.reject(absent(`the change ${wanted}`))
    return Promise.resolve({ batch: decodeBatch(stored.bytes), received: moment(stored.received) })
  }

  checkpoint(): Promise<Checkpoint | undefined> {
    return Promise.resolve(undefined)
  }
}

export class MemoryChunks implements ChunkReader {
  readonly #chunks: ReadonlyMap<ChunkId, Buffer>

  constructor(chunks: ReadonlyMap<ChunkId, Buffer>) {
    this.#chunks = chunks
  }

  read(id: ChunkId): Promise<Buffer> {
    const data = this.#chunks.get(id)
    return data === undefined ? Promise.reject(absent('the chunk')) : Promise.resolve(data)
  }
}

const absent = (what: string): TidemarkError => new TidemarkError('not-found', { message: `${what} is not there` })
