import type { Clock } from '../base/clock.ts'
import { Wake } from '../base/wake.ts'
import { type BandwidthLimit, limitAt, lower } from '../model/bandwidth.ts'

/** Bytes that may go at once after a pause. */
const burstMs = 100
const waitMsMax = 1000

/**
 * A token bucket that all sources of an agent share. Live changes go before bulk. What is taken may overdraw the
 * bucket once, so that a part larger than the burst passes, and what follows waits for it.
 */
export class Pace {
  readonly #ofServer: readonly BandwidthLimit[]
  #ofVault: readonly BandwidthLimit[] = []
  readonly #clock: Clock
  readonly #turn = new Wake()
  #tokens = 0
  #filledAt: number
  #liveWaiting = 0

  constructor(limits: readonly BandwidthLimit[], clock: Clock) {
    this.#ofServer = limits
    this.#clock = clock
    this.#filledAt = clock.monotonicMs()
  }

  /** What the vault limits beside what is set on this server: the lower of both holds, from the next part on. */
  limit(limits: readonly BandwidthLimit[]): void {
    this.#ofVault = limits
    this.#turn.wake()
  }

  /** Resolves when `bytes` may be sent. */
  async take(bytes: number, bulk: boolean, signal: AbortSignal): Promise<void> {
    if (this.#ofServer.length === 0 && this.#ofVault.length === 0) return
    if (!bulk) this.#liveWaiting++
    try {
      for (;;) {
        const nowMs = this.#clock.now() / 1000
        const perSecond = lower(limitAt(this.#ofServer, nowMs), limitAt(this.#ofVault, nowMs))
        if (perSecond === undefined) return
        this.#fill(perSecond)
        if (this.#tokens > 0 && (!bulk || this.#liveWaiting === 0)) {
          this.#tokens -= bytes
          return
        }
        if (this.#tokens > 0) await this.#turn.wait(signal)
        else await this.#clock.sleep(Math.min(waitMsMax, Math.ceil((-this.#tokens / perSecond) * 1000) + 1), signal)
      }
    } finally {
      if (!bulk && --this.#liveWaiting === 0) this.#turn.wake()
    }
  }

  #fill(perSecond: number): void {
    const now = this.#clock.monotonicMs()
    const most = (perSecond * burstMs) / 1000
    this.#tokens = Math.min(most, this.#tokens + ((now - this.#filledAt) * perSecond) / 1000)
    this.#filledAt = now
  }
}
