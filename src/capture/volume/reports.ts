import type { Clock } from '../../base/clock.ts'
import { type CaptureReport, type CaptureState, problemsMax } from '../../model/report.ts'
import type { Problems } from '../problems.ts'
import type { Conversation } from './conversation.ts'
import type { Coverage } from './coverage.ts'
import type { Place } from './cursor.ts'
import type { Journal } from './journal.ts'
import { progressAt, stateAt } from './state.ts'

const reportMs = { usual: 1000, busy: 100 }

export interface ReportsParts {
  readonly clock: Clock
  readonly journal: Journal
  readonly coverage: Coverage
  readonly problems: Problems
  /** The present one. */
  readonly conversation: () => Conversation | undefined
  readonly hand: (report: CaptureReport) => void
}

/** What the agent is told of a capture: now and then, and soon where there is news. */
export class Reports {
  readonly #parts: ReportsParts
  /** The last conversation came to nothing. */
  isAway = false
  #toldAtMs = 0
  #told = ''

  constructor(parts: ReportsParts) {
    this.#parts = parts
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    for (;;) {
      await clock.sleep(reportMs.busy, signal)
      const isNews = this.#told !== this.#news
      const sinceMs = clock.monotonicMs() - this.#toldAtMs
      if (sinceMs >= (isNews ? reportMs.busy : reportMs.usual)) this.tell()
    }
  }

  tell(): void {
    const { clock, journal, coverage, problems, conversation, hand } = this.#parts
    this.#toldAtMs = clock.monotonicMs()
    this.#told = this.#news
    const { state } = conversation() ?? {}
    hand({
      state: this.#state,
      covered: coverage.covered,
      upTo: journal.sequence,
      dirty: this.#recordsLeft,
      uncapturedBytes: this.#recordsLeft === 0 ? 0 : (state?.unsentBytes ?? 0),
      ...progressAt(this.#place),
      ...(this.#place === undefined ? {} : { compared: this.#place.compared }),
      watching: 'volume-log',
      problems: [...problems.list(), ...(state?.problems ?? [])].slice(-problemsMax),
    })
  }

  /** There is more to capture than what is written now. */
  get isBusy(): boolean {
    return this.#recordsLeft > 0 || this.#state !== 'live'
  }

  get #news(): string {
    const { journal, coverage } = this.#parts
    return `${this.#state} ${journal.sequence} ${coverage.covered}`
  }

  /** Records that are durable at the server and not captured. */
  get #recordsLeft(): number {
    const { journal, conversation } = this.#parts
    if (!journal.hasBegun) return 0
    return Math.max(0, (conversation()?.durable ?? 0) - journal.place.number)
  }

  get #place(): Place | undefined {
    const { journal } = this.#parts
    return journal.hasBegun ? journal.place : undefined
  }

  get #state(): CaptureState {
    return this.isAway ? 'vanished' : stateAt(this.#place)
  }
}
