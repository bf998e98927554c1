import type { Sequence } from '../model/sequence.ts'

interface Handed<Place> {
  readonly sequence: Sequence
  readonly place: Place
}

/** More batches than this share their places: acknowledged when the last of them is. */
const handedMax = 4096

/** Up to where a source may forget its log: the place of the last batch that the vault has acknowledged. */
export class Acknowledgements<Place> {
  #handed: Handed<Place>[] = []
  #acknowledged: Place | undefined

  get acknowledged(): Place | undefined {
    return this.#acknowledged
  }

  /** A batch that ends with `sequence` takes the journal up to `place`. */
  handed(sequence: Sequence, place: Place): void {
    if (this.#handed.length === handedMax) this.#handed.pop()
    this.#handed.push({ sequence, place })
  }

  /** Places are of another log from here on, of which nothing is acknowledged. */
  beginAnew(): void {
    this.#handed = []
    this.#acknowledged = undefined
  }

  /** Whether that moved the place on. */
  upTo(sequence: Sequence): boolean {
    const first = this.#handed.findIndex((one) => one.sequence > sequence)
    const done = this.#handed.splice(0, first < 0 ? this.#handed.length : first)
    const before = this.#acknowledged
    this.#acknowledged = done.at(-1)?.place ?? before
    return this.#acknowledged !== before
  }
}
