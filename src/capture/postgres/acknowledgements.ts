import type { Lsn } from '../../model/lsn.ts'
import type { Sequence } from '../../model/sequence.ts'

interface Handed {
  readonly sequence: Sequence
  lsn: Lsn
}

/** More batches than this share their places: acknowledged when the last of them is. */
const handedMax = 4096

/**
 * Up to where the server may forget its log: the place of the last batch that the vault has acknowledged. Places are of one
 * stretch; at the beginning of another nothing of it is acknowledged.
 */
export class Acknowledgements {
  #handed: Handed[] = []
  #acknowledged: Lsn | undefined

  get acknowledged(): Lsn | undefined {
    return this.#acknowledged
  }

  /** A batch that ends with `sequence` takes the log up to `lsn`. */
  handed(sequence: Sequence, lsn: Lsn): void {
    if (this.#handed.length === handedMax) this.#handed.pop()
    this.#handed.push({ sequence, lsn })
  }

  beginStretch(): void {
    this.#handed = []
    this.#acknowledged = undefined
  }

  /** Whether that moved the place on. */
  upTo(sequence: Sequence): boolean {
    const before = this.#acknowledged
    let count = 0
    for (; count < this.#handed.length; count++) {
      const handed = this.#handed[count] as Handed
      if (handed.sequence > sequence) break
      this.#acknowledged = handed.lsn
    }
    this.#handed.splice(0, count)
    return this.#acknowledged !== before
  }
}
