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

  /** Hexadecimal digits. */
  text(length: number): string {
    const words = Uint32Array.from({ length: Math.ceil(length / 8) }, () => this.below(0xffff_ffff))
    return Buffer.from(words.buffer).toString('hex').slice(0, length)
  }
}
