export interface NumberRange {
  readonly start: number
  /** Not included. */
  readonly end: number
}

/** A set of whole numbers as ranges: ascending, not touching. */
export class RangeSet {
  #ranges: NumberRange[] = []

  get size(): number {
    return this.#ranges.length
  }

  get ranges(): readonly NumberRange[] {
    return this.#ranges
  }

  has(value: number): boolean {
    const range = this.#ranges[this.#firstEndingAfter(value)]
    return range !== undefined && range.start <= value
  }

  add(start: number, end: number): void {
    if (start >= end) return
    // Those that only touch are joined too.
    const from = this.#firstEndingAfter(start - 1)
    let to = from
    let joined = { start, end }
    for (let range = this.#ranges[to]; range !== undefined && range.start <= end; range = this.#ranges[++to]) {
      joined = { start: Math.min(joined.start, range.start), end: Math.max(joined.end, range.end) }
    }
    this.#ranges.splice(from, to - from, joined)
  }

  remove(start: number, end: number): void {
    if (start >= end) return
    const from = this.#firstEndingAfter(start)
    let to = from
    const left: NumberRange[] = []
    for (let range = this.#ranges[to]; range !== undefined && range.start < end; range = this.#ranges[++to]) {
      if (range.start < start) left.push({ start: range.start, end: start })
      if (range.end > end) left.push({ start: end, end: range.end })
    }
    this.#ranges.splice(from, to - from, ...left)
  }

  /** Index of the first range whose end is above `value`. */
  #firstEndingAfter(value: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranges[middle] as NumberRange).end > value) high = middle
      else low = middle + 1
    }
    return low
  }
}
