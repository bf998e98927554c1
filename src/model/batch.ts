import { type Change } from './change.ts'
import type { Moment } from './moment.ts'
import { advance, type Sequence } from './sequence.ts'

/** A change with the moment it was captured, by the agent's clock. Moments never go back within a journal. */
export interface Stamped {
  readonly moment: Moment
  readonly change: Change
}

/** What is shipped, stored and acknowledged as one. The first change has sequence `first`, the next one more, … */
export interface Batch {
  readonly first: Sequence
  /** At its end the capture knew of nothing that was not captured yet: the tree equals the source. */
  readonly settled: boolean
  /** Where the capture resumes from once this batch is durable; only the capture can read it. */
  readonly cursor: Uint8Array
  readonly changes: readonly Stamped[]
}

export const batchChangesMax = 8192
/** Of the encoded batch before compression. */
export const batchBytesMax = 4 * 1024 * 1024
/** Extents in one `put` or `patch`; a file of more is built at a staging path and renamed. */
export const changeExtentsMax = 16_384
export const inlineBytesMax = 64 * 1024
/** Of the data of one `write`. */
export const writeBytesMax = 1024 * 1024
export const cursorBytesMax = 4096
export const chunkBytesMax = 1024 * 1024
/** Of the chunks of one block before compression. */
export const blockBytesMax = 1024 * 1024
export const blockChunksMax = 1024

export const lastOf = (batch: Batch): Sequence => advance(batch.first, batch.changes.length - 1)
