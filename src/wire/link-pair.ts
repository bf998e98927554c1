import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Link } from './link.ts'
import { Wake } from '../base/wake.ts'

/** What a simulated line does to the bytes on it. */
export interface LineBehaviour {
  /** Bytes are delivered in pieces of 1 to this many. */
  readonly pieceBytesMax: number
  /** Each piece takes up to this long. */
  readonly delayMsMax: number
  /** The line is cut, both ways, once so many bytes were delivered, counting both ways. */
  readonly cutAfterBytes?: number
  /** What one way holds before the sender has to wait. */
  readonly roomBytes: number
}

export const goodLine: LineBehaviour = { pieceBytesMax: 64 * 1024, delayMsMax: 0, roomBytes: 256 * 1024 }

export interface LinkPair {
  readonly ends: readonly [Link, Link]
  /** Both ends see the connection gone; what was under way is lost. */
  cut(): void
}

/** Two ends of a connection within one process, behaving as a clock and a seed say. */
export function linkPair(behaviour: LineBehaviour, clock: Clock, random: Random): LinkPair {
  const cut = (): void => {
    there.cut()
    back.cut()
  }
  let left = behaviour.cutAfterBytes ?? Number.POSITIVE_INFINITY
  const delivered = (bytes: number): void => {
    left -= bytes
    if (left <= 0) cut()
  }
  const there = new Way(behaviour, clock, random, delivered)
  const back = new Way(behaviour, clock, random, delivered)
  const end = (out: Way, into: Way): Link => ({
    send: (parts) => out.send(parts),
    received: into.pieces(),
    destroy: cut,
    [Symbol.asyncDispose]: async () => out.finish(),
  })
  return { ends: [end(there, back), end(back, there)], cut }
}

class Way {
  readonly #behaviour: LineBehaviour
  readonly #clock: Clock
  readonly #random: Random
  readonly #delivered: (bytes: number) => void
  readonly #parts: Uint8Array[] = []
  readonly #changed = new Wake()
  readonly #never = new AbortController().signal
  #bytes = 0
  #state: 'open' | 'finished' | 'cut' = 'open'

  constructor(behaviour: LineBehaviour, clock: Clock, random: Random, delivered: (bytes: number) => void) {
    this.#behaviour = behaviour
    this.#clock = clock
    this.#random = random
    this.#delivered = delivered
  }

  async send(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#state !== 'open') throw gone()
    for (const part of parts) {
      if (part.length === 0) continue
      this.#parts.push(part)
      this.#bytes += part.length
    }
    this.#changed.wake()
    await this.#changed.until(() => {
      if (this.#state === 'cut') throw gone()
      return this.#bytes < this.#behaviour.roomBytes ? true : undefined
    }, this.#never)
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const part = await this.#changed.until(() => {
        if (this.#state === 'cut') throw gone()
        return this.#parts.shift() ?? (this.#state === 'finished' ? null : undefined)
      }, this.#never)
      if (part === null) return
      const bytes = Math.min(part.length, 1 + Math.floor(this.#random.fraction() * this.#behaviour.pieceBytesMax))
      if (bytes < part.length) this.#parts.unshift(part.subarray(bytes))
      if (this.#behaviour.delayMsMax > 0) {
        await this.#clock.sleep(this.#random.fraction() * this.#behaviour.delayMsMax)
      }
      if (this.#isCut()) throw gone()
      this.#bytes -= bytes
      this.#changed.wake()
      // Memory of its own, as what comes from a network has.
      yield Uint8Array.from(part.subarray(0, bytes))
      this.#delivered(bytes)
    }
  }

  finish(): void {
    if (this.#state === 'open') this.#state = 'finished'
    this.#changed.wake()
  }

  cut(): void {
    this.#state = 'cut'
    this.#changed.wake()
  }

  #isCut(): boolean {
    return this.#state === 'cut'
  }
}

const gone = (): TidemarkError => new TidemarkError('unreachable', { message: 'the connection is gone' })
