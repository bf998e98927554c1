import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'

export const backoffMsMin = 200
export const backoffMsMax = 30_000

/** Waits between tries: each about twice as long as the one before, never two agents in step. */
export class Backoff {
  readonly #clock: Clock
  readonly #random: Random
  #waitMs = backoffMsMin

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  succeeded(): void {
    this.#waitMs = backoffMsMin
  }

  async wait(signal: AbortSignal): Promise<void> {
    const ms = this.#waitMs * (0.5 + this.#random.fraction())
    this.#waitMs = Math.min(backoffMsMax, this.#waitMs * 2)
    await this.#clock.sleep(ms, signal)
  }
}
