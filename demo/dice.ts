/** Chance that a seed repeats. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 0x1_0000_0000) * limit)
  }

  /** Words that do not compress to nothing. */
  text(bytes: number): string {
    const words: string[] = []
    for (let length = 0; length < bytes; length += 9) words.push(this.below(0xffff_ffff).toString(16).padStart(8, ' '))
    return words.join(' ').slice(0, bytes)
  }
}
