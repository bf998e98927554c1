/** Something that happens again and again, and can be waited for. */
export class Wake {
  #waiting: (() => void)[] = []

  /** Ends all waits that are under way. */
  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** Resolves at the next `wake`; rejects with the signal's reason when it aborts. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const woken = (): void => {
        signal.removeEventListener('abort', aborted)
        resolve()
      }
      const aborted = (): void => {
        this.#waiting = this.#waiting.filter((waiter) => waiter !== woken)
        reject(signal.reason)
      }
      signal.addEventListener('abort', aborted, { once: true })
      this.#waiting.push(woken)
    })
  }

  /** Resolves as soon as `found` gives something; asks at once and after every `wake`. */
  async until<T>(found: () => T | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      const value = found()
      if (value !== undefined) return value
      await this.wait(signal)
    }
  }
}
