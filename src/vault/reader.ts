import type { BlockEntry } from '../format/block.ts'
import type { Batch } from '../model/batch.ts'
import type { Change, ChunkId } from '../model/change.ts'
import type { Moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'

/** What is derived (index, views, verification) is derived from these two and nothing else. */

export interface StoredBatch {
  readonly batch: Batch
  /** When the vault received it, by the vault's clock. */
  readonly received: Moment
  /** Where it rests, to be read again without looking for it. */
  readonly place?: BatchPlace
}

/** A frame of a segment. */
export interface BatchPlace {
  readonly segment: number
  readonly at: number
  readonly bytes: number
}

/** One journal, read from its stored files; every byte is authenticated before it is given out. */
export interface JournalReader {
  /** Batches in order, the first being the one that holds `after` + 1, up to the end of what is durable. `damaged` throws. */
  batches(after: Sequence, signal?: AbortSignal): AsyncIterable<StoredBatch>
  /** The batch that holds `sequence`; `place` is where it was found once, which need not be right any more. */
  batchOf(sequence: Sequence, place?: BatchPlace): Promise<StoredBatch>
  /** Where the kept history starts: the newest checkpoint whose segments before it are gone; undefined if none are. */
  checkpoint(): Promise<Checkpoint | undefined>
}

/** The tree as it stood after `at`, told as in a manifest; its extents are all chunks. */
export interface Checkpoint {
  readonly at: Sequence
  /** Moment of the change at `at`. */
  readonly moment: Moment
  readonly changes: AsyncIterable<readonly Change[]>
}

export interface ChunkReader {
  /** The bytes of a chunk, checked against its name. `damaged` names the pack and place; `not-found` where unknown. */
  read(id: ChunkId): Promise<Buffer>
  /** The block that the chunk rests in; absent where chunks do not rest in blocks. */
  block?(id: ChunkId): Promise<RestingBlock>
}

/** A block as it rests in a pack (format/block.ts): authenticated, its chunks not yet checked against their names. */
export interface RestingBlock {
  /** The same for all chunks of the block, as long as it rests there. */
  readonly place: string
  readonly entries: readonly BlockEntry[]
  readonly bytes: Buffer
}
