import type { Clock } from '../../../base/clock.ts'
import { formatMoment, isoMoment, type Moment, moment } from '../../../model/moment.ts'
import type { Problem } from '../../../model/report.ts'
import type { ZeroLoss } from '../../../model/source.ts'

/**
 * Whether a flush waits for the vault. It does while zero loss is asked for, until the vault has given no word for `degradeMs` although
 * something waited for it; then again once the vault has acknowledged what was durable shortly before, and nothing is touched.
 */
export class ZeroLossGate {
  readonly #clock: Clock
  #zeroLoss: ZeroLoss | undefined
  #isUp = false
  /** Since when something waits and no word has come. */
  #silentSinceMs: number | undefined
  #unprotectedSince: Moment | undefined
  /** What the vault has to reach, and when it was set. */
  #goal: { readonly number: number; readonly atMs: number } | undefined

  constructor(clock: Clock, zeroLoss: ZeroLoss | undefined) {
    this.#clock = clock
    this.#zeroLoss = zeroLoss
  }

  /** Whether what the vault has not acknowledged is not answered. */
  get isWaiting(): boolean {
    return this.#zeroLoss !== undefined && this.#unprotectedSince === undefined
  }

  set(zeroLoss: ZeroLoss | undefined): void {
    this.#zeroLoss = zeroLoss
    if (zeroLoss === undefined) this.#silentSinceMs = undefined
  }

  line(isUp: boolean): void {
    this.#isUp = isUp
  }

  /** The vault has said a word: it has everything up to `acknowledged`. When the span ended in which nothing waited, if it does by that. */
  heard(acknowledged: number, durable: number, isTouched: boolean): Moment | undefined {
    this.#silentSinceMs = undefined
    if (this.#unprotectedSince === undefined) return undefined
    const now = this.#clock.monotonicMs()
    const goal = (this.#goal ??= { number: durable, atMs: now })
    if (acknowledged < goal.number || isTouched || !this.#isUp) return undefined
    this.#goal = undefined
    if (now - goal.atMs > (this.#zeroLoss?.degradeMs ?? Number.POSITIVE_INFINITY)) return undefined
    this.#unprotectedSince = undefined
    return moment(this.#clock.now())
  }

  /** How long what waits for the vault waits yet; undefined where it does so for ever, or nothing does. */
  waits(isAny: boolean): number | undefined {
    if (!isAny || !this.isWaiting) {
      this.#silentSinceMs = undefined
      return undefined
    }
    this.#silentSinceMs ??= this.#clock.monotonicMs()
    const { degradeMs } = this.#zeroLoss ?? {}
    return degradeMs === undefined
      ? undefined
      : Math.max(0, this.#silentSinceMs + degradeMs - this.#clock.monotonicMs())
  }

  /** From now on nothing waits. It is noted that this has been so since then. */
  degrade(since: Moment): void {
    this.#unprotectedSince = since
    this.#silentSinceMs = undefined
    this.#goal = undefined
  }

  get problem(): Problem | undefined {
    if (this.#zeroLoss === undefined) return undefined
    if (this.#unprotectedSince !== undefined) {
      return {
        code: 'zero-loss-degraded',
        message: `since ${formatMoment(this.#unprotectedSince)} flushes have not waited for the vault, because it has not answered; they do again by themselves`,
        hint: 'see to the line, and to the vault',
      }
    }
    if (this.#isUp) return undefined
    const { degradeMs } = this.#zeroLoss
    return {
      code: 'zero-loss-blocked',
      message:
        degradeMs === undefined
          ? 'flushes wait for the vault, which cannot be reached'
          : `flushes wait for the vault, which cannot be reached, and go on without it ${degradeMs / 1000} s after its last word`,
      hint: 'see to the line, and to the vault',
    }
  }
}

export const describeUnprotected = ({ since, until }: { since: Moment; until: Moment }): string =>
  `flushes did not wait for the vault from ${isoMoment(since)} to ${isoMoment(until)}`
