/** Repeatable chance for the data of the measurements: mulberry32, the same on every machine. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A number in [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }

  below(limit: number): number {
    return Math.floor(this.fraction() * limit)
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** As sizes of files are: many small ones, few large ones. */
  logNormal(median: number, sigma: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.fraction())) * Math.cos(2 * Math.PI * this.fraction())
    return Math.round(median * Math.exp(sigma * normal))
  }

  /** The first of `count` things is taken twice as often as the second, three times as often as the third, … roughly. */
  zipf(count: number): number {
    return Math.min(count - 1, Math.floor(Math.exp(this.fraction() * Math.log(count + 1)) - 1))
  }
}

/** A number that depends on nothing but a text: for choosing files whatever order they are found in. */
export function numberOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
