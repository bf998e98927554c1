/**
 * Keeps values that were used recently, at most so many: two generations, of which the older one is dropped when the
 * younger one is full. A hit in the younger costs one look-up and moves nothing.
 */
export class Recent<Key, Value> {
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()
  readonly #generationMax: number

  constructor(countMax: number) {
    this.#generationMax = Math.max(1, Math.floor(countMax / 2))
  }

  get(key: Key): Value | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#generationMax) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  find(fits: (value: Value) => boolean): Value | undefined {
    for (const generation of [this.#young, this.#old]) {
      for (const value of generation.values()) if (fits(value)) return value
    }
    return undefined
  }

  delete(key: Key): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }
}
