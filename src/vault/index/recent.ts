/** Keeps the most recently used values, at most so many. */
export class Recent<Key, Value> {
  readonly #values = new Map<Key, Value>()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get(key: Key): Value | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    // Moving every hit to the end would cost more than it brings: the oldest half is enough to be told apart.
    if (this.#values.size > this.#countMax / 2) {
      this.#values.delete(key)
      this.#values.set(key, value)
    }
    return value
  }

  set(key: Key, value: Value): void {
    this.#values.delete(key)
    this.#values.set(key, value)
    if (this.#values.size > this.#countMax) {
      const oldest = this.#values.keys().next()
      if (!oldest.done) this.#values.delete(oldest.value)
    }
  }

  find(fits: (value: Value) => boolean): Value | undefined {
    for (const value of this.#values.values()) if (fits(value)) return value
    return undefined
  }

  delete(key: Key): void {
    this.#values.delete(key)
  }

  clear(): void {
    this.#values.clear()
  }
}
