import type { Clock } from '../base/clock.ts'
import { batchName, type TellBatch } from '../base/tell.ts'
import type { CapturedBatch } from '../capture/capture.ts'
import { isoMoment, type Moment, moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { ShippedBatch } from '../wire/ship.ts'

export interface TrafficParts {
  readonly source: Id
  readonly clock: Clock
  /** Told how long after its last byte was sent a batch was acknowledged. */
  readonly acknowledged?: ((ms: number) => void) | undefined
  readonly tellBatch?: TellBatch | undefined
}

/** Since the process began. */
export interface TrafficTotals {
  readonly capturedChanges: number
  /** Connections for the journal: more than one is a line that was cut. */
  readonly sessions: number
  readonly sentBatches: number
  readonly sentBytes: number
}

interface Sent {
  readonly first: Sequence
  readonly last: Sequence
  readonly bytes: number
  readonly captured: Moment | undefined
  readonly sent: Moment
  readonly sentMs: number
}

/** What one source brings onto the line. */
export class Traffic {
  readonly #parts: TrafficParts
  readonly #totals = { capturedChanges: 0, sessions: 0, sentBatches: 0, sentBytes: 0 }
  /** As many as the vault lets be under way. */
  #underWay: Sent[] = []

  constructor(parts: TrafficParts) {
    this.#parts = parts
  }

  get totals(): TrafficTotals {
    return this.#totals
  }

  captured({ first, last }: CapturedBatch): void {
    this.#totals.capturedChanges += last - first + 1
  }

  /** What was under way in the session before is sent again. */
  began(): void {
    this.#totals.sessions++
    this.#underWay = []
  }

  sent({ first, last, blocks, bytes: { length }, moment: captured }: ShippedBatch): void {
    const { clock } = this.#parts
    const bytes = blocks.reduce((sum, block) => sum + block.length, length)
    this.#totals.sentBatches++
    this.#totals.sentBytes += bytes
    this.#underWay.push({ first, last, bytes, captured, sent: moment(clock.now()), sentMs: clock.monotonicMs() })
  }

  acknowledged(durable: Sequence): void {
    const { clock, source, acknowledged, tellBatch } = this.#parts
    const nowMs = clock.monotonicMs()
    while (this.#underWay[0] && this.#underWay[0].last <= durable) {
      const { first, last, bytes, captured, sent, sentMs } = this.#underWay.shift() as Sent
      acknowledged?.(nowMs - sentMs)
      tellBatch?.({
        batch: batchName(source, first),
        source,
        first,
        last,
        bytes,
        ...(captured === undefined ? {} : { captured: isoMoment(captured) }),
        sent: isoMoment(sent),
        acknowledged: isoMoment(moment(clock.now())),
      })
    }
  }
}
