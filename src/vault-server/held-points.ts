import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'

/** A point is held for so long; whoever goes on reading it asks again before. */
export const heldMs = 600_000
/** By all holders. */
const pointsMax = 1024

interface HeldPoint {
  readonly source: Id
  readonly moment: Moment
  readonly untilMs: number
}

/**
 * Points that somebody reads: a moment that is open, a restore that is under way. Retention forgets nothing that they need, although
 * it has left the window. In memory alone: whoever holds a point asks again sooner than retention looks after a start of the vault.
 */
export class HeldPoints {
  readonly #clock: Clock
  readonly #points = new Map<string, HeldPoint>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether this holder is new. */
  hold(source: Id, holder: string, moment: Moment): boolean {
    this.#letGo()
    const key = `${source} ${holder}`
    const isNew = !this.#points.has(key)
    if (isNew && this.#points.size >= pointsMax) throw tooMany()
    this.#points.set(key, { source, moment, untilMs: this.#clock.monotonicMs() + heldMs })
    return isNew
  }

  get count(): number {
    this.#letGo()
    return this.#points.size
  }

  /** The earliest of a source. */
  earliest(source: Id): Moment | undefined {
    this.#letGo()
    const moments = [...this.#points.values()].filter((point) => point.source === source).map(({ moment }) => moment)
    return moments.length === 0 ? undefined : moments.reduce((one, other) => (other < one ? other : one))
  }

  #letGo(): void {
    const now = this.#clock.monotonicMs()
    for (const [key, { untilMs }] of this.#points) if (untilMs <= now) this.#points.delete(key)
  }
}

const tooMany = (): TidemarkError =>
  new TidemarkError('in-use', {
    message: `${pointsMax} points are being read already`,
    hint: 'end some of the "tidemark open" and restores that run, and try again some minutes later',
  })
