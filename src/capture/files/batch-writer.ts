import type { Clock } from '../../base/clock.ts'
import type { Chunk } from '../../format/block.ts'
import type { Change } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import { BatchBuilder, type Lane } from '../batch-builder.ts'
import type { CapturedBatch } from '../capture.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import { type Cursor, encodeCursor } from './cursor.ts'
import { RecentIds } from './recent-ids.ts'

const recentIdsMax = 100_000

/**
 * Puts changes into batches together with the catalog: whoever writes a change updates the catalog straight after it,
 * and both are in the same batch.
 */
export class BatchWriter {
  readonly #builder: BatchBuilder
  readonly #recent = new RecentIds(recentIdsMax)
  #cursor: Cursor
  #beforeBulk: (() => void) | undefined

  constructor(parts: { batches: CatalogBatches; clock: Clock; cursor: Cursor; hand: (batch: CapturedBatch) => void }) {
    const { batches, clock, cursor, hand } = parts
    this.#cursor = cursor
    let closing: Uint8Array = new Uint8Array()
    this.#builder = new BatchBuilder({
      clock,
      sequence: batches.sequence,
      moment: moment(cursor.moment),
      cursor: (at) => (closing = encodeCursor({ ...this.#cursor, moment: at })),
      begun: (first) => batches.begin(first),
      hand: (batch) => {
        batches.commit(batch.last, closing)
        hand(batch)
      },
    })
  }

  /** Of the last change written. */
  get sequence(): Sequence {
    return this.#builder.sequence
  }

  get isEmpty(): boolean {
    return this.#builder.isEmpty
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
    const toSend: Chunk[] = []
    for (const chunk of chunks) {
      if (!this.isNew(chunk)) continue
      this.#recent.add(chunk.id)
      toSend.push(chunk)
    }
    this.#builder.write(lane, change, toSend)
  }

  userMark(tag: number, label: string): void {
    this.#builder.userMark(tag, label)
  }

  /** Commits the catalog and hands the batch out; nothing where there is nothing. */
  close(settled: boolean): void {
    this.#builder.close(settled)
  }
}
