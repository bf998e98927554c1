import { type Chunk, encodeBlock } from '../../format/block.ts'
import { encodeBatch } from '../../format/batch.ts'
import type { Clock } from '../../base/clock.ts'
import { batchBytesMax, batchChangesMax, blockChunksMax, type Stamped } from '../../model/batch.ts'
import type { Attributes, Change, Extent } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { advance, type Sequence } from '../../model/sequence.ts'
import type { CapturedBatch } from '../capture.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import { type Cursor, encodeCursor } from './cursor.ts'
import { RecentIds } from './recent-ids.ts'

/** A live batch is closed before a bulk one is begun and the other way round. */
export type Lane = 'live' | 'bulk'

/** Chunks put together in one block, before compression. */
const blockBytesWanted = 512 * 1024
/** Raw bytes of chunks in one batch; what is above goes to the next. */
const batchChunkBytesWanted = 1024 * 1024
/** What is counted here is an estimate, so there is a distance to the limit. */
const batchBytesWanted = batchBytesMax / 2
const recentIdsMax = 100_000

/**
 * Puts changes into batches together with the catalog: whoever writes a change updates the catalog straight after it,
 * and both are in the same batch. Batches have consecutive sequences, their moments ascend.
 */
export class BatchWriter {
  readonly #batches: CatalogBatches
  readonly #clock: Clock
  readonly #hand: (batch: CapturedBatch) => void
  readonly #recent = new RecentIds(recentIdsMax)
  #cursor: Cursor
  #lane: Lane = 'live'
  #changes: Stamped[] = []
  #bytes = 0
  #chunks: Chunk[] = []
  #chunkBytes = 0
  #blocks: Uint8Array[] = []
  #blocksBytes = 0
  #beforeBulk: (() => void) | undefined
  #marks: { tag: number; sequence: Sequence }[] = []

  constructor(parts: { batches: CatalogBatches; clock: Clock; cursor: Cursor; hand: (batch: CapturedBatch) => void }) {
    this.#batches = parts.batches
    this.#clock = parts.clock
    this.#cursor = parts.cursor
    this.#hand = parts.hand
  }

  /** Of the last change written. */
  get sequence(): Sequence {
    return advance(this.#batches.sequence, this.#changes.length)
  }

  get isEmpty(): boolean {
    return this.#changes.length === 0
  }

  baselineComplete(): void {
    this.#cursor = { ...this.#cursor, baseline: 'complete' }
  }

  /** Whether this chunk has to be offered or sent before a change may refer to it. */
  isNew(chunk: Chunk): boolean {
    return !this.#recent.has(chunk.id)
  }

  /** A new session with the vault: what was true of its chunks in an earlier one need not be any more. */
  forgetChunks(): void {
    this.#recent.clear()
  }

  /** The vault has said that it has this chunk. */
  isThere(chunk: Chunk): void {
    this.#recent.add(chunk.id)
  }

  /** Called before the next bulk change is written, unless it is taken back before. */
  beforeBulk(call: () => void): void {
    this.#beforeBulk = call
  }

  /** True where nothing has called it yet. */
  takeBeforeBulk(): boolean {
    const isUnused = this.#beforeBulk !== undefined
    this.#beforeBulk = undefined
    return isUnused
  }

  /** `chunks` are those the change refers to and the vault may not have. */
  write(lane: Lane, change: Change, chunks: readonly Chunk[] = []): void {
    if (lane === 'bulk') {
      const call = this.#beforeBulk
      this.#beforeBulk = undefined
      call?.()
    }
    const bytes = estimate(change)
    const isFull = this.#changes.length >= batchChangesMax || this.#bytes + bytes > batchBytesWanted
    if (isFull || lane !== this.#lane || this.#blocksBytes >= batchChunkBytesWanted) this.close(false)
    if (this.#changes.length === 0) {
      this.#batches.begin(advance(this.#batches.sequence, 1))
      this.#lane = lane
    }
    for (const chunk of chunks) this.#send(chunk)
    const at = moment(Math.max(this.#clock.now(), this.#cursor.moment + 1))
    this.#cursor = { ...this.#cursor, moment: at }
    this.#changes.push({ moment: at, change })
    this.#bytes += bytes
  }

  userMark(tag: number, label: string): void {
    this.write('live', { kind: 'mark', mark: { type: 'user', label } })
    this.#marks.push({ tag, sequence: this.sequence })
  }

  /** Commits the catalog and hands the batch out; nothing where there is nothing. */
  close(settled: boolean): void {
    if (this.#changes.length === 0) return
    this.#closeBlock()
    const first = advance(this.#batches.sequence, 1)
    const last = this.sequence
    const cursor = encodeCursor(this.#cursor)
    const bytes = encodeBatch({ first, settled, cursor, changes: this.#changes })
    this.#batches.commit(last, cursor)
    this.#hand({
      kind: 'batch',
      first,
      last,
      moment: this.#cursor.moment as Moment,
      blocks: this.#blocks,
      bytes,
      bulk: this.#lane === 'bulk',
      marks: this.#marks,
    })
    this.#changes = []
    this.#bytes = 0
    this.#blocks = []
    this.#blocksBytes = 0
    this.#marks = []
  }

  #send(chunk: Chunk): void {
    if (!this.isNew(chunk)) return
    this.#recent.add(chunk.id)
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
      return 4096
  }
}

const ofAttributes = ({ xattrs }: Attributes): number =>
  xattrs.reduce((sum, { name, value }) => sum + name.length + value.length + 8, 0)

const ofContent = (content: Extract<Change, { kind: 'put' }>['content']): number =>
  content.type === 'file' ? ofExtents(content.extents) : content.type === 'symlink' ? content.target.length : 0

const ofExtents = (extents: readonly Extent[]): number =>
  extents.reduce((sum, extent) => sum + 16 + ('data' in extent ? extent.data.length : 32), 0)
