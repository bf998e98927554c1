import type { Sequence } from '../../model/sequence.ts'

/** Regions that the journal holds again, read when the log stood at `number`. */
export interface Healed {
  readonly regions: readonly number[]
  readonly number: number
}

/** Of regions in one message. */
const regionsMax = 4096

/** Touched regions that the journal holds again, until the vault has acknowledged that. */
export class Healing {
  #healed: { sequence: Sequence; region: number; number: number }[] = []

  /** The change `sequence` was the last that a touched region lacked. */
  healed(sequence: Sequence, region: number, number: number): void {
    this.#healed.push({ sequence, region, number })
  }

  /** Another conversation with the server: it tells again what is touched. */
  forget(): void {
    this.#healed = []
  }

  /** What the server is to be told when the vault has acknowledged `sequence`. */
  upTo(sequence: Sequence): Healed[] {
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
