import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'

/** Failures that cost nothing but the try. */
const freeOfAccount = 5
const freeOfAddress = 20
/** The first wait after those; each further failure doubles it. */
const waitMsMin = 10_000
const waitMsMax = 15 * 60_000
/** Without a failure for so long, it begins anew. */
const forgottenMs = 60 * 60_000
/** Names and addresses that are remembered: the oldest go first. */
const rememberedMax = 10_000

interface Failures {
  readonly count: number
  readonly lastMs: number
}

/**
 * Slows down who guesses: tries to sign in that failed, by account (known or not) and by address. A try counts as failed
 * from its beginning, so that many at once gain nothing.
 */
export class Tries {
  readonly #clock: Clock
  readonly #failures = new Map<string, Failures>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Throws `too-many-tries` while either has to wait. What is returned takes the try back. */
  begin(account: string, address: string): { succeeded(): void; uncounted(): void } {
    const keys = [`account ${account}`, `address ${address}`] as const
    const waitMs = Math.max(this.#waitMs(keys[0], freeOfAccount), this.#waitMs(keys[1], freeOfAddress))
    if (waitMs > 0) {
      throw new TidemarkError('too-many-tries', {
        message: `there were too many failed tries; the next one is heard in ${Math.ceil(waitMs / 1000)} s`,
        hint: 'wait, or ask a security administrator to set a new password',
      })
    }
    for (const key of keys) this.#count(key, 1)
    return {
      succeeded: () => {
        this.#failures.delete(keys[0])
        this.#count(keys[1], -1)
      },
      uncounted: () => {
        for (const key of keys) this.#count(key, -1)
      },
    }
  }

  /** A new password was set: who has it need not wait. */
  forget(account: string): void {
    this.#failures.delete(`account ${account}`)
  }

  #count(key: string, more: number): void {
    const count = Math.max(0, (this.#known(key)?.count ?? 0) + more)
    this.#failures.delete(key)
    if (count > 0) this.#failures.set(key, { count, lastMs: this.#clock.monotonicMs() })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > rememberedMax && oldest !== undefined) this.#failures.delete(oldest)
  }

  #waitMs(key: string, free: number): number {
    const known = this.#known(key)
    if (known === undefined || known.count < free) return 0
    const waitMs = Math.min(waitMsMax, waitMsMin * 2 ** (known.count - free))
    return known.lastMs + waitMs - this.#clock.monotonicMs()
  }

  #known(key: string): Failures | undefined {
    const known = this.#failures.get(key)
    return known && this.#clock.monotonicMs() - known.lastMs < forgottenMs ? known : undefined
  }
}
