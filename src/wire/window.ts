import type { Clock } from '../base/clock.ts'
import type { Sequence } from '../model/sequence.ts'
import { Wake } from './wake.ts'

export const windowBytesMin = 256 * 1024
/** How long what is in flight may keep a live change waiting, beyond the way there and back. */
export const windowMs = 50
/** Rate and delay are remembered for so long. */
const memoryMs = 10_000
const samplesMax = 256

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
  #samples: { at: number; bytesPerMs: number; delayMs: number }[] = []
  #inFlightBytes = 0
  #measuredFrom = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get bytesMax(): number {
    const rate = Math.max(0, ...this.#samples.map(({ bytesPerMs }) => bytesPerMs))
    const delayMs = Math.min(...this.#samples.map((sample) => sample.delayMs))
    return this.#samples.length === 0 ? windowBytesMin : Math.max(windowBytesMin, rate * (delayMs + windowMs))
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  /** Resolves when one more bulk batch may go. A batch larger than the window goes alone. */
  async room(signal: AbortSignal): Promise<void> {
    await this.#changed.until(() => (this.#inFlightBytes < this.bytesMax ? true : undefined), signal)
  }

  sent(last: Sequence, bytes: number): void {
    const at = this.#clock.monotonicMs()
    if (this.#sent.length === 0) this.#measuredFrom = at
    this.#sent.push({ last, bytes, at })
    this.#inFlightBytes += bytes
  }

  acknowledged(durable: Sequence): void {
    const now = this.#clock.monotonicMs()
    let bytes = 0
    let delayMs = 0
    while (this.#sent[0] && this.#sent[0].last <= durable) {
      const done = this.#sent.shift() as Sent
      bytes += done.bytes
      delayMs = now - done.at
    }
    if (bytes === 0) return
    this.#inFlightBytes -= bytes
    this.#samples.push({ at: now, bytesPerMs: bytes / Math.max(1, now - this.#measuredFrom), delayMs })
    this.#samples = this.#samples.filter(({ at }) => now - at <= memoryMs).slice(-samplesMax)
    this.#measuredFrom = now
    this.#changed.wake()
  }
}
