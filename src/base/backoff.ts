import type { Clock } from './clock.ts'
import type { Random } from './random.ts'
import type { Wake } from './wake.ts'

export const backoffMsMin = 200
export const backoffMsMax = 30_000

/** Waits between tries: each about twice as long as the one before, never two programs in step. */
export class Backoff {
  readonly #clock: Clock
  readonly #random: Random
  readonly #hurry: Wake | undefined
  #waitMs = backoffMsMin

  /** `hurry` ends a wait: somebody else got through. */
  constructor(clock: Clock, random: Random, hurry?: Wake) {
    this.#clock = clock
    this.#random = random
    this.#hurry = hurry
  }

  succeeded(): void {
    this.#waitMs = backoffMsMin
  }

  async wait(signal: AbortSignal): Promise<void> {
    const ms = Math.min(backoffMsMax, this.#waitMs * (0.5 + this.#random.fraction()))
    this.#waitMs = Math.min(backoffMsMax, this.#waitMs * 2)
    const inside = new AbortController()
    const joined = AbortSignal.any([signal, inside.signal])
    const waits = [this.#clock.sleep(ms, joined), ...(this.#hurry ? [this.#hurry.wait(joined)] : [])]
    try {
      await Promise.race(waits)
    } finally {
      inside.abort()
      await Promise.allSettled(waits)
    }
  }
}
