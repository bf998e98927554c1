import type { VolumeRecord, RecordDraft } from '../../../format/volume-log.ts'

export const regionBytes = 64 * 1024
/** A record that covers more regions than this is noted as a range. */
const singleRegionsMax = 64

/** The regions that the records of one segment changed, in the memory of its records at most: 4 bytes for each of those that are apart. */
export class SegmentRegions {
  #single: Set<number> | Uint32Array = new Set()
  readonly #ranges: { readonly first: number; readonly last: number }[] = []

  add(change: RecordDraft | VolumeRecord): void {
    if (!('at' in change)) return
    const bytes = change.kind === 'write' ? change.data.length : change.bytes
    if (bytes === 0) return
    const first = Math.floor(change.at / regionBytes)
    const last = Math.floor((change.at + bytes - 1) / regionBytes)
    if (last - first >= singleRegionsMax) this.#ranges.push({ first, last })
    else if (this.#single instanceof Set) for (let region = first; region <= last; region++) this.#single.add(region)
    else throw new Error('broken invariant: a segment that is sealed gets no more records')
  }

  /** No more are added. */
  seal(): void {
    if (this.#single instanceof Set) this.#single = Uint32Array.from(this.#single)
  }

  each(touch: (first: number, last: number) => void): void {
    for (const region of this.#single) touch(region, region)
    for (const { first, last } of this.#ranges) touch(first, last)
  }
}
