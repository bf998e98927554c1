import { TidemarkError } from '../../src/base/errors.ts'
import { decodeBatch, encodeBatch } from '../../src/format/batch.ts'
import { decodeManifest, encodeManifest } from '../../src/format/manifest.ts'
import { lastOf, type Stamped } from '../../src/model/batch.ts'
import type { Change, ChunkId } from '../../src/model/change.ts'
import { type Moment, moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence, sequence } from '../../src/model/sequence.ts'
import type { Checkpoint, ChunkReader, JournalReader, StoredBatch } from '../../src/vault/reader.ts'

/** A journal of really encoded batches, without files. */
export class MemoryJournal implements JournalReader {
  #batches: { first: number; last: number; received: number; bytes: Buffer }[] = []
  #last: Sequence = beforeFirst

  /** First sequences of what stands for segments. */
  #starts: Sequence[] = [sequence(1)]
  #checkpoints = new Map<Sequence, { moment: Moment; groups: Change[][] }>()

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

  /** What is appended next begins a segment. */
  seal(): void {
    const next = sequence(this.#last + 1)
    if (this.#starts.at(-1) !== next) this.#starts.push(next)
  }

  segmentStarts(): AsyncIterable<Sequence> {
    return eachOf([...this.#starts])
  }

  async writeCheckpoint(at: Sequence, when: Moment, changes: AsyncIterable<Change>): Promise<void> {
    const groups: Change[][] = []
    for await (const group of decodeManifest(encodeManifest(changes))) groups.push(group)
    this.#checkpoints.set(at, { moment: when, groups })
  }

  dropBefore(at: Sequence): Promise<void> {
    this.#starts = this.#starts.filter((_, index) => (this.#starts[index + 1] ?? Infinity) > at + 1)
    this.#batches = this.#batches.filter(({ first }) => first >= (this.#starts[0] ?? 0))
    for (const older of this.#checkpoints.keys()) if (older < at) this.#checkpoints.delete(older)
    return Promise.resolve()
  }

  checkpoint(): Promise<Checkpoint | undefined> {
    const first = this.#starts[0] ?? 1
    const found = [...this.#checkpoints].find(([at]) => first > 1 && at >= first - 1)
    if (found === undefined) return Promise.resolve(undefined)
    const [at, { moment: when, groups }] = found
    return Promise.resolve({ at, moment: when, changes: eachOf(groups) })
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

async function* eachOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

const absent = (what: string): TidemarkError => new TidemarkError('not-found', { message: `${what} is not there` })
