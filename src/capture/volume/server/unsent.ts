/** Places that are remembered at most; with more every second one is forgotten, and counts as unsent a little longer. */
const placesMax = 1024

/** How many bytes of the log the vault has not acknowledged, as far as it is synced. */
export class UnsentBytes {
  /** Ascending: all records up to `number` have `bytes`, those that were let go before the server began not counted. */
  #places: { readonly number: number; readonly bytes: number }[]
  readonly #found: number

  /** Of what was there when the server began: the last records of its segments, and how much each of these holds. */
  constructor(segments: readonly { readonly last: number; readonly bytes: number }[]) {
    let sum = 0
    this.#places = segments.map(({ last, bytes }) => ({ number: last, bytes: (sum += bytes) }))
    this.#found = sum
  }

  /** The log is synced up to a record; so many bytes have been appended to it since the server began. */
  synced(number: number, appendedBytes: number): void {
    this.#places.push({ number, bytes: this.#found + appendedBytes })
    if (this.#places.length > placesMax) {
      const newest = this.#places.length - 1
      this.#places = this.#places.filter((_, index) => index % 2 === 0 || index === newest)
    }
  }

  /** Behind a record; of one between two places all of its place. */
  after(number: number): number {
    const index = this.#places.findLastIndex((place) => place.number <= number)
    if (index > 0) this.#places.splice(0, index)
    return (this.#places.at(-1)?.bytes ?? 0) - (index < 0 ? 0 : (this.#places[0]?.bytes ?? 0))
  }
}
