/** Keeps what was used last, up to a total weight. */
export class Cache<K, V> {
  readonly #entries = new Map<K, { readonly value: V; weight: number }>()
  readonly #weightMax: number
  #weight = 0

  constructor(weightMax: number) {
    this.#weightMax = weightMax
  }

  get(key: K): V | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  set(key: K, value: V, weight: number): void {
    this.delete(key)
    this.#entries.set(key, { value, weight })
    this.#weight += weight
    this.#trim()
  }

  /** What is kept under the key has come to weigh more, or less. */
  reweigh(key: K, weight: number): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#weight += weight - entry.weight
    entry.weight = weight
    this.#trim()
  }

  #trim(): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#weight <= this.#weightMax) return
      this.delete(oldest)
    }
  }

  delete(key: K): void {
    this.#weight -= this.#entries.get(key)?.weight ?? 0
    this.#entries.delete(key)
  }
}
