import { type Clock, systemClock } from '../../src/base/clock.ts'

/** The machine's clock, which a test moves ahead: whoever sleeps until a moment that is then over wakes up. */
export class JumpingClock implements Clock {
  #aheadMs = 0
  readonly #sleeping = new Set<() => void>()

  readonly now = (): number => systemClock.now() + this.#aheadMs * 1000
  readonly monotonicMs = (): number => systemClock.monotonicMs() + this.#aheadMs

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const endMs = this.monotonicMs() + ms
    while (this.monotonicMs() < endMs) {
      const jump = Promise.withResolvers<void>()
      this.#sleeping.add(jump.resolve)
      const inside = new AbortController()
      const joined = signal === undefined ? inside.signal : AbortSignal.any([signal, inside.signal])
      const waited = systemClock.sleep(Math.max(0, endMs - this.monotonicMs()), joined)
      try {
        await Promise.race([waited, jump.promise])
      } finally {
        this.#sleeping.delete(jump.resolve)
        inside.abort()
        waited.catch(() => undefined)
      }
    }
    signal?.throwIfAborted()
  }

  jump(ms: number): void {
    this.#aheadMs += ms
    for (const wake of this.#sleeping) wake()
  }
}
