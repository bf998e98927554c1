import type { Clock } from '../base/clock.ts'
import { encodeBatch } from '../format/batch.ts'
import { type Chunk, encodeBlock } from '../format/block.ts'
import { batchBytesMax, batchChangesMax, blockChunksMax, type Stamped } from '../model/batch.ts'
import type { Attributes, Change, Extent } from '../model/change.ts'
import { type Moment, moment } from '../model/moment.ts'
import { advance, type Sequence } from '../model/sequence.ts'
import type { CapturedBatch } from './capture.ts'

/** A live batch is closed before a bulk one is begun and the other way round. */
export type Lane = 'live' | 'bulk'

/** Chunks put together in one block, before compression. */
const blockBytesWanted = 512 * 1024
/** Raw bytes of chunks in one batch; what is above goes to the next. */
const batchChunkBytesWanted = 1024 * 1024
/** What is counted here is an estimate, so there is a distance to the limit. */
const batchBytesWanted = batchBytesMax / 2

export interface BatchBuilderParts {
  /** Stamps each change, unless that would go back: with the time, or with when the change was made. */
  readonly clock: Pick<Clock, 'now'>
  /** Where the journal goes on: after this sequence and this moment. */
  readonly sequence: Sequence
  readonly moment: Moment
  /** Where the capture stands with all that is in the batch that is being closed; `at` is the moment of its last change. */
  readonly cursor: (at: Moment) => Uint8Array
  /** Told with the first sequence of a batch, before its first change is written. */
  readonly begun?: (first: Sequence) => void
  readonly hand: (batch: CapturedBatch) => void
}

/**
 * Puts changes into batches with consecutive sequences and ascending moments. A batch is closed by `close`, by a change of
 * the other lane, and when it is full; then the cursor is asked for. So whoever has changes that go with a step of the
 * cursor says `begin` first, then takes the step, then writes them all.
 */
export class BatchBuilder {
  readonly #parts: BatchBuilderParts
  #last: Sequence
  #moment: Moment
  #lane: Lane = 'live'
  #changes: Stamped[] = []
  #bytes = 0
  #chunks: Chunk[] = []
  #chunkBytes = 0
  #blocks: Uint8Array[] = []
  #blocksBytes = 0
  #marks: { tag: number; sequence: Sequence }[] = []

  constructor(parts: BatchBuilderParts) {
    this.#parts = parts
    this.#last = parts.sequence
    this.#moment = parts.moment
  }

  /** Of the last change written. */
  get sequence(): Sequence {
    return advance(this.#last, this.#changes.length)
  }

  get moment(): Moment {
    return this.#moment
  }

  get isEmpty(): boolean {
    return this.#changes.length === 0
  }

  /** The next changes of this lane, up to so many and so many bytes, come into one batch. */
  begin(lane: Lane, { changes = 1, bytes }: { changes?: number; bytes: number }): void {
    const isFull = this.#changes.length + changes > batchChangesMax || this.#bytes + bytes > batchBytesWanted
    if (isFull || lane !== this.#lane || this.#blocksBytes >= batchChunkBytesWanted) this.close(false)
    this.#lane = lane
  }

  /** `chunks` are those that it refers to and the vault lacks. */
  write(lane: Lane, change: Change, chunks: readonly Chunk[] = []): void {
    const bytes = estimate(change)
    this.begin(lane, { bytes })
    if (this.#changes.length === 0) this.#parts.begun?.(advance(this.#last, 1))
    for (const chunk of chunks) this.#send(chunk)
    this.#moment = moment(Math.max(this.#parts.clock.now(), this.#moment + 1))
    this.#changes.push({ moment: this.#moment, change })
    this.#bytes += bytes
  }

  userMark(tag: number, label: string): void {
    this.write('live', { kind: 'mark', mark: { type: 'user', label } })
    this.#marks.push({ tag, sequence: this.sequence })
  }

  /** Hands the batch out; nothing where there is nothing. */
  close(settled: boolean): void {
    if (this.#changes.length === 0) return
    this.#closeBlock()
    const first = advance(this.#last, 1)
    const last = this.sequence
    const cursor = this.#parts.cursor(this.#moment)
    const batch: CapturedBatch = {
      kind: 'batch',
      first,
      last,
      moment: this.#moment,
      blocks: this.#blocks,
      bytes: encodeBatch({ first, settled, cursor, changes: this.#changes }),
      bulk: this.#lane === 'bulk',
      marks: this.#marks,
    }
    this.#last = last
    this.#changes = []
    this.#bytes = 0
    this.#blocks = []
    this.#blocksBytes = 0
    this.#marks = []
    this.#parts.hand(batch)
  }

  #send(chunk: Chunk): void {
    const isFull = this.#chunkBytes + chunk.data.length > blockBytesWanted || this.#chunks.length === blockChunksMax
    if (isFull) this.#closeBlock()
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.data.length
    this.#blocksBytes += chunk.data.length
  }

  #closeBlock(): void {
    if (this.#chunks.length === 0) return
    this.#blocks.push(encodeBlock(this.#chunks))
    this.#chunks = []
    this.#chunkBytes = 0
  }
}

/** Somewhat more than the bytes the change takes. */
function estimate(change: Change): number {
  switch (change.kind) {
    case 'put':
      return 64 + change.path.length + ofAttributes(change.attributes) + ofContent(change.content)
    case 'patch':
      return (
        64 + change.path.length + ofAttributes(change.attributes) + ofExtents(change.extents) + 20 * change.zeros.length
      )
    case 'attributes':
      return 64 + change.path.length + ofAttributes(change.attributes)
    case 'write':
      return 64 + change.path.length + change.data.length
    case 'link':
      return 64 + change.path.length + change.to.length
    case 'rename':
      return 64 + change.path.length + change.from.length
    case 'remove':
    case 'zero':
    case 'truncate':
      return 64 + change.path.length
    case 'mark':
      return change.mark.type === 'flush' ? 16 : 4096
  }
}

const ofAttributes = ({ xattrs }: Attributes): number =>
  xattrs.reduce((sum, { name, value }) => sum + name.length + value.length + 8, 0)

const ofContent = (content: Extract<Change, { kind: 'put' }>['content']): number =>
  content.type === 'file' ? ofExtents(content.extents) : content.type === 'symlink' ? content.target.length : 0

const ofExtents = (extents: readonly Extent[]): number =>
  extents.reduce((sum, extent) => sum + 16 + ('data' in extent ? extent.data.length : 32), 0)
