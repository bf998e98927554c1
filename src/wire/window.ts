import type { Clock } from '../base/clock.ts'
import type { Sequence } from '../model/sequence.ts'
import { Wake } from '../base/wake.ts'

export const windowBytesMin = 256 * 1024
/** How long what is in flight may keep a live change waiting, beyond the way there and back. */
export const windowMs = 50
/** Rates are measured over at least so long, and the best of the last ten seconds counts. */
const measuredMsMin = 100
const rateMemoryMs = 10_000
/** How often the way is emptied to see how short it is: behind a full window it looks ever longer. */
const probeEveryMs = 30_000

interface Sent {
  readonly last: Sequence
  readonly bytes: number
  readonly at: number
}

/**
 * How much bulk may be unacknowledged. A live change queues behind all that is in flight, so that is kept at what the
 * way takes in its shortest delay and `windowMs` more: less would starve a long line, more would delay the live.
 */
export class Window {
  readonly #clock: Clock
  readonly #sent: Sent[] = []
  readonly #changed = new Wake()
  #inFlightBytes = 0
  #bytesMax = windowBytesMin
  /** Since when something has been in flight without a break, or since the last acknowledgement. */
  #busySince = 0
  #measuring = { bytes: 0, busyMs: 0 }
  #rates: readonly { readonly at: number; readonly bytesPerMs: number }[] = []
  #shortestMs = Number.POSITIVE_INFINITY
  /** Bulk waits for the way to be empty; then the delay of what is sent next counts afresh. */
  #probe: 'emptying' | { readonly last: Sequence } | undefined
  #probedAt: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#probedAt = clock.monotonicMs()
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  /** Resolves when one more bulk batch may go. A batch larger than the window goes alone. */
  async room(signal: AbortSignal): Promise<void> {
    if (this.#clock.monotonicMs() - this.#probedAt > probeEveryMs) this.#probe ??= 'emptying'
    await this.#changed.until(() => (this.#hasRoom() ? true : undefined), signal)
  }

  #hasRoom(): boolean {
    return this.#probe === undefined ? this.#inFlightBytes < this.#bytesMax : this.#inFlightBytes === 0
  }

  sent(last: Sequence, bytes: number): void {
    const at = this.#clock.monotonicMs()
    if (this.#sent.length === 0) {
      this.#busySince = at
      if (this.#probe) this.#probe = { last }
    }
    this.#sent.push({ last, bytes, at })
    this.#inFlightBytes += bytes
  }

  acknowledged(durable: Sequence): void {
    const now = this.#clock.monotonicMs()
    if (this.#sent.length === 0) return
    while (this.#sent[0] && this.#sent[0].last <= durable) {
      const { last, bytes, at } = this.#sent.shift() as Sent
      this.#inFlightBytes -= bytes
      this.#measuring.bytes += bytes
      this.#delayed(now, now - at, last)
    }
    this.#measuring.busyMs += now - this.#busySince
    this.#busySince = now
    if (this.#measuring.busyMs >= measuredMsMin && this.#measuring.bytes > 0) this.#measured(now)
    this.#changed.wake()
  }

  #delayed(now: number, delayMs: number, last: Sequence): void {
    if (typeof this.#probe === 'object' && this.#probe.last === last) {
      this.#probe = undefined
      this.#probedAt = now
      this.#shortestMs = delayMs
    }
    this.#shortestMs = Math.min(this.#shortestMs, delayMs)
  }

  #measured(at: number): void {
    const { bytes, busyMs } = this.#measuring
    this.#measuring = { bytes: 0, busyMs: 0 }
    const remembered = this.#rates.filter((rate) => at - rate.at <= rateMemoryMs)
    this.#rates = [...remembered, { at, bytesPerMs: bytes / busyMs }]
    const rate = Math.max(...this.#rates.map(({ bytesPerMs }) => bytesPerMs))
    this.#bytesMax = Math.max(windowBytesMin, rate * (this.#shortestMs + windowMs))
  }
}
