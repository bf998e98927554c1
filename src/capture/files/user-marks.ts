import type { Clock } from '../../base/clock.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { Coverage } from './coverage.ts'
import type { DirtySet } from './dirty-set.ts'

/** A user's mark waits for what was dirty when it was asked for, but not longer. */
const waitMsMax = 30_000

export interface UserMarksParts {
  readonly clock: Clock
  readonly writer: BatchWriter
  readonly dirty: DirtySet
  readonly coverage: Coverage
}

/** The marks that users have asked for, each put once what changed before it is in the journal. */
export class UserMarks {
  readonly #parts: UserMarksParts
  readonly #waiting: { tag: number; label: string; askedAt: Moment; untilMs: number }[] = []

  constructor(parts: UserMarksParts) {
    this.#parts = parts
  }

  ask(tag: number, label: string): void {
    const { clock } = this.#parts
    this.#waiting.push({ tag, label, askedAt: moment(clock.now()), untilMs: clock.monotonicMs() + waitMsMax })
  }

  put(): void {
    const { clock, writer, dirty, coverage } = this.#parts
    const nowMs = clock.monotonicMs()
    while (this.#waiting[0] !== undefined) {
      const { tag, label, askedAt, untilMs } = this.#waiting[0]
      if (nowMs < untilMs && coverage.isBehind(askedAt)) return dirty.hurry(askedAt)
      this.#waiting.shift()
      writer.userMark(tag, label)
    }
  }
}
