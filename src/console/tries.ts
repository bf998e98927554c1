import { isIPv6 } from 'node:net'
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
/** Names and addresses that are remembered, and of whom it is known where he signs in: the oldest go first. */
const rememberedMax = 10_000

interface Failures {
  readonly count: number
  readonly lastMs: number
}

/**
 * Slows down who guesses: tries to sign in that failed, by account (known or not) and by address. A try counts as failed
 * from its beginning, so that many at once gain nothing. Where somebody has signed in before, only failures from there
 * count against his account: guesses from elsewhere do not keep him out.
 */
export class Tries {
  readonly #clock: Clock
  readonly #failures = new Map<string, Failures>()
  /** Places of accounts, and whose they are. */
  readonly #familiar = new Map<string, string>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Throws `too-many-tries` while either has to wait. What is returned takes the try back. */
  begin(account: string, address: string): { succeeded(): void; uncounted(): void } {
    const place = placeOf(address)
    const own = `account ${account} at ${place}`
    const keys = [this.#familiar.has(own) ? own : `account ${account}`, `address ${place}`] as const
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
        putNewest(this.#familiar, own, account)
      },
      uncounted: () => {
        for (const key of keys) this.#count(key, -1)
      },
    }
  }

  /** A new password was set: who has it need not wait. */
  forget(account: string): void {
    this.#failures.delete(`account ${account}`)
    for (const [own, of] of this.#familiar) {
      if (of !== account) continue
      this.#familiar.delete(own)
      this.#failures.delete(own)
    }
  }

  #count(key: string, more: number): void {
    const count = Math.max(0, (this.#known(key)?.count ?? 0) + more)
    this.#failures.delete(key)
    if (count > 0) putNewest(this.#failures, key, { count, lastMs: this.#clock.monotonicMs() })
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

function putNewest<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > rememberedMax && oldest !== undefined) map.delete(oldest)
}

/** Of IPv6 the network: whoever is in one may take any address of it. */
function placeOf(address: string): string {
  const plain = address.replace(/%.*$/, '')
  if (!isIPv6(plain)) return address
  const [before = '', after] = plain.toLowerCase().split('::')
  const left = before.split(':').filter((group) => group !== '')
  const right = after?.split(':').filter((group) => group !== '') ?? []
  const zeros = Array<string>(Math.max(0, groups - left.length - right.length)).fill('0')
  const network = [...left, ...zeros, ...right].slice(0, networkGroups)
  return `${network.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}::`
}

const groups = 8
const networkGroups = 4
