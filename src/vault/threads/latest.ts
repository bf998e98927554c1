/** A stream of the newest value of each key; what the consumer was too slow for is skipped. */
export class Latest<Key, Value> {
  readonly #values = new Map<Key, Value>()
  #wake: (() => void) | undefined

  put(key: Key, value: Value): void {
    this.#values.delete(key)
    this.#values.set(key, value)
    this.#wake?.()
  }

  async *stream(signal: AbortSignal): AsyncGenerator<Value> {
    signal.addEventListener('abort', () => this.#wake?.(), { once: true })
    while (!signal.aborted) {
      const oldest = this.#values.entries().next()
      if (oldest.done) await new Promise<void>((resolve) => (this.#wake = resolve))
      else {
        this.#values.delete(oldest.value[0])
        yield oldest.value[1]
      }
    }
  }
}
