import { type Clock, systemClock } from '../../src/base/clock.ts'
import { until } from './until.ts'

/** Whoever sleeps by it sleeps until the test lets it go: what is true meanwhile can be looked at in peace. */
export class HeldClock implements Clock {
  readonly now = systemClock.now
  readonly monotonicMs = systemClock.monotonicMs
  readonly #sleeping = new Set<() => void>()

  sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      this.#sleeping.add(resolve)
      const onAbort = (): void => {
        this.#sleeping.delete(resolve)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Waits until somebody sleeps, and wakes all who do. */
  async letGo(): Promise<void> {
    await until('somebody sleeps', () => this.#sleeping.size > 0)
    for (const wake of this.#sleeping) wake()
    this.#sleeping.clear()
  }
}
