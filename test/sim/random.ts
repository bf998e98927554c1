import type { Random } from '../../src/base/random.ts'

/** Chance that a seed decides (sfc32): the same seed gives the same numbers on every machine, for ever. */
export class Seeded implements Random {
  readonly seed: number
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: number, stream = '') {
    this.seed = seed
    this.#a = seed >>> 0
    this.#b = Math.floor(seed / 0x1_0000_0000) >>> 0
    this.#c = hash(stream)
    for (let round = 0; round < 12; round++) this.#next()
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  fraction(): number {
    return this.#next() / 0x1_0000_0000
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    for (let at = 0; at < count; at += 4) {
      const word = this.#next()
      for (let index = 0; index < 4 && at + index < count; index++) bytes[at + index] = word >>> (index * 8)
    }
    return bytes
  }

  /** A whole number from `min` to `max`, both possible. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(0, from.length - 1)] as T
  }

  /** Small values often, large ones now and then: `min` to `max`, spread evenly over the orders of magnitude. */
  skewed(min: number, max: number): number {
    return Math.min(max, Math.floor(min + Math.exp(this.fraction() * Math.log(max - min + 2)) - 1))
  }

  /** Independent chance for one part of the world, so that a draw more in one does not change what another draws. */
  fork(stream: string): Seeded {
    return new Seeded(this.seed, stream)
  }
}

function hash(text: string): number {
  let value = 0x811c9dc5
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 0x01000193)
  return value >>> 0
}
