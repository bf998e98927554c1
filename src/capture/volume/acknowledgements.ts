import type { Sequence } from '../../model/sequence.ts'
import type { LogPlace } from './cursor.ts'

interface Handed {
  readonly sequence: Sequence
  readonly place: LogPlace
}

/** Regions that the journal holds again, read when the log stood at `number`. */
export interface Healed {
  readonly regions: readonly number[]
  readonly number: number
}

/** More batches than this share their places: acknowledged when the last of them is. */
const handedMax = 4096
/** Of regions in one message. */
const regionsMax = 4096

/** What the server may be told once the vault has acknowledged a sequence. */
export class Acknowledgements {
  #handed: Handed[] = []
  #healed: { sequence: Sequence; region: number; number: number }[] = []
  #acknowledged: LogPlace | undefined

  get acknowledged(): LogPlace | undefined {
    return this.#acknowledged
  }

  /** A batch that ends with `sequence` takes the journal up to this record. */
  handed(sequence: Sequence, place: LogPlace): void {
    if (this.#handed.length === handedMax) this.#handed.pop()
    this.#handed.push({ sequence, place })
  }

  /** The change `sequence` was the last that a touched region lacked. */
  healed(sequence: Sequence, region: number, number: number): void {
    this.#healed.push({ sequence, region, number })
  }

  /** Another conversation with the server: it tells again what is touched. */
  forgetHealed(): void {
    this.#healed = []
  }

  /** Whether that moved the place on, and which regions are to be told. */
  upTo(sequence: Sequence): { readonly isFurther: boolean; readonly healed: readonly Healed[] } {
    const before = this.#acknowledged
    let count = 0
    for (const handed of this.#handed) {
      if (handed.sequence > sequence) break
      this.#acknowledged = handed.place
      count++
    }
    this.#handed.splice(0, count)
    return { isFurther: this.#acknowledged !== before, healed: this.#takeHealed(sequence) }
  }

  #takeHealed(sequence: Sequence): Healed[] {
    const first = this.#healed.findIndex((one) => one.sequence > sequence)
    const done = this.#healed.splice(0, first < 0 ? this.#healed.length : first)
    const groups: Healed[] = []
    for (let at = 0; at < done.length; at += regionsMax) {
      const some = done.slice(at, at + regionsMax)
      groups.push({ regions: some.map(({ region }) => region), number: Math.min(...some.map(({ number }) => number)) })
    }
    return groups
  }
}
