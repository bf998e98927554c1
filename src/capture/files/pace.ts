import type { DirtyKey } from './dirty-set.ts'

/** Captures that cost less than this may follow each other at once. */
const costMsMin = 5
/** A name is busy for at most one part in this many of the time. */
const restPerCost = 10
const restMsMax = 30_000
const namesMax = 10_000

/** Keeps names that are written all the time, and are costly to capture, from taking all the time. */
export class Pace {
  readonly #restUntilMs = new Map<DirtyKey, number>()

  captured(key: DirtyKey, nowMs: number, costMs: number): void {
    this.#restUntilMs.delete(key)
    if (costMs < costMsMin) return
    this.#restUntilMs.set(key, nowMs + Math.min(restMsMax, costMs * restPerCost))
    if (this.#restUntilMs.size > namesMax)
      for (const oldest of this.#restUntilMs.keys()) return void this.#restUntilMs.delete(oldest)
  }

  /** Monotonic milliseconds before which the name is left alone; 0 where it may be captured at once. */
  restUntilMs(key: DirtyKey): number {
    return this.#restUntilMs.get(key) ?? 0
  }
}
