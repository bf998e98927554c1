import * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import { Wake } from '../base/wake.ts'

/**
 * How many bytes per second may be shipped, by time of day. The first entry that covers the present minute counts;
 * where none does, there is no limit. `from` and `to` are local times; a span over midnight belongs to the day it
 * starts on. `days`: 0 is Sunday; absent means every day.
 */
export interface BandwidthLimit {
  readonly from: string
  readonly to: string
  readonly days?: readonly number[] | undefined
  readonly bytesPerSecond: number
}

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'must be a time such as 08:30')

export const bandwidthSchema = z.array(
  z.object({
    from: timeOfDay,
    to: timeOfDay,
    days: z.array(z.int().min(0).max(6)).optional(),
    bytesPerSecond: z.int().min(1024),
  }),
)

/** The limit at a moment (milliseconds since the Unix epoch), or undefined. */
export function limitAt(limits: readonly BandwidthLimit[], nowMs: number): number | undefined {
  const local = new Date(nowMs)
  const minute = local.getHours() * 60 + local.getMinutes()
  const today = local.getDay()
  const yesterday = (today + 6) % 7
  return limits.find(({ from, to, days = [0, 1, 2, 3, 4, 5, 6] }) => {
    const [start, end] = [minuteOf(from), minuteOf(to)]
    if (start < end) return days.includes(today) && minute >= start && minute < end
    return (days.includes(today) && minute >= start) || (days.includes(yesterday) && minute < end)
  })?.bytesPerSecond
}

const minuteOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3))

/** Bytes that may go at once after a pause. */
const burstMs = 100
const waitMsMax = 1000

/**
 * A token bucket that all sources of an agent share. Live changes go before bulk. What is taken may overdraw the
 * bucket once, so that a part larger than the burst passes, and what follows waits for it.
 */
export class Pace {
  readonly #limits: readonly BandwidthLimit[]
  readonly #clock: Clock
  readonly #turn = new Wake()
  #tokens = 0
  #filledAt: number
  #liveWaiting = 0

  constructor(limits: readonly BandwidthLimit[], clock: Clock) {
    this.#limits = limits
    this.#clock = clock
    this.#filledAt = clock.monotonicMs()
  }

  /** Resolves when `bytes` may be sent. */
  async take(bytes: number, bulk: boolean, signal: AbortSignal): Promise<void> {
    if (this.#limits.length === 0) return
    if (!bulk) this.#liveWaiting++
    try {
      for (;;) {
        const perSecond = limitAt(this.#limits, this.#clock.now() / 1000)
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
