import { type Moment, moment } from '../../../model/moment.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import type { History } from './history.ts'
import { describeUnprotected } from './zero-loss.ts'

export interface UnprotectedParts {
  readonly history: History
  /** Puts a mark into the log, and tells its number as it stands there. */
  readonly mark: (label: string, marked: (number: RecordNumber) => void) => void
  readonly failed: (error: unknown) => void
}

/**
 * The span in which flushes have not waited for the vault, until the vault knows of it: its beginning stands in the place before the first
 * such flush is answered; when it is over a mark tells it in the log; and once the vault has that, the place forgets it. Who
 * starts with one in the place begins by telling it: flushes wait again from then on. A mark that is given up with its epoch is made anew.
 */
export class UnprotectedSpan {
  readonly #parts: UnprotectedParts
  #told: { readonly label: string; readonly number: RecordNumber } | undefined

  constructor(parts: UnprotectedParts) {
    this.#parts = parts
  }

  /**
   * Noted durably once it resolves with its beginning: that of the one before, where the vault does not know of that yet. Undefined where the
   * vault has spoken meanwhile.
   */
  async begins(now: Moment, isStillSilent: () => boolean): Promise<Moment | undefined> {
    const { history } = this.#parts
    const told = this.#told
    const before = history.unprotectedSince
    const since = before === 0 ? now : before
    this.#told = undefined
    await history.noteUnprotected(since)
    if (isStillSilent()) return since
    this.#told = told
    await history.noteUnprotected(before)
    return undefined
  }

  over(until: Moment): void {
    const since = this.#parts.history.unprotectedSince
    if (since !== 0) this.#tell(describeUnprotected({ since, until }))
  }

  #tell(label: string): void {
    this.#parts.mark(label, (number) => (this.#told = { label, number }))
  }

  epochBegan(): void {
    const told = this.#told
    if (told === undefined || told.number >= this.#parts.history.first) return
    this.#told = undefined
    this.#tell(told.label)
  }

  acknowledged(): void {
    const { history, failed } = this.#parts
    const told = this.#told
    if (told === undefined || told.number < history.first || told.number > history.acknowledgedNumber) return
    this.#told = undefined
    history.noteUnprotected(moment(0)).catch(failed)
  }
}
