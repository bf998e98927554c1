import type { Change } from '../../model/change.ts'
import { lastOf } from '../../model/batch.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { JournalReader, StoredBatch } from '../reader.ts'

interface Kept {
  readonly journal: JournalReader
  readonly stored: StoredBatch
  readonly weight: number
}

/** Three of the largest batches: as many files are read at once in one thread, and few at a time. */
export const recentBatchesBytesMax = 12 * 1024 * 1024
/** Looked through at each piece. */
const countMax = 64

/**
 * The batches that one thread has read last, of whichever journals: the data that stands in them is asked for piece by piece.
 * What is kept does not grow with the number of sources that are looked at.
 */
export class RecentBatches {
  readonly #bytesMax: number
  /** The one used last comes last. */
  readonly #kept: Kept[] = []
  #weight = 0

  constructor(bytesMax = recentBatchesBytesMax) {
    this.#bytesMax = bytesMax
  }

  /** Of the data in the batches kept, what is small being counted as a little more. */
  get bytes(): number {
    return this.#weight
  }

  find(journal: JournalReader, at: Sequence): StoredBatch | undefined {
    const place = this.#kept.findLastIndex((one) => one.journal === journal && holds(one.stored, at))
    if (place < 0) return undefined
    const last = this.#kept.length - 1
    if (place < last) this.#kept.push(...this.#kept.splice(place, 1))
    return this.#kept[last]?.stored
  }

  keep(journal: JournalReader, stored: StoredBatch): void {
    const weight = Math.max(dataBytes(stored), this.#bytesMax / countMax)
    this.#kept.push({ journal, stored, weight })
    this.#weight += weight
    while (this.#weight > this.#bytesMax && this.#kept.length > 1) this.#weight -= this.#kept.shift()?.weight ?? 0
  }
}

const holds = ({ batch }: StoredBatch, at: Sequence): boolean => at >= batch.first && at <= lastOf(batch)

const dataBytes = ({ batch }: StoredBatch): number =>
  batch.changes.reduce((sum, { change }) => sum + dataBytesOf(change), 0)

function dataBytesOf(change: Change): number {
  if (change.kind === 'write') return change.data.length
  const extents =
    change.kind === 'patch'
      ? change.extents
      : change.kind === 'put' && change.content.type === 'file'
        ? change.content.extents
        : []
  let bytes = 0
  for (const extent of extents) if ('data' in extent) bytes += extent.data.length
  return bytes
}
