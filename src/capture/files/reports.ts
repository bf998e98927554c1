import type { Clock } from '../../base/clock.ts'
import type { CaptureReport, CaptureState } from '../../model/report.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Anchors } from './anchors.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import type { Comparisons } from './comparisons.ts'
import type { Coverage } from './coverage.ts'
import type { DirtyCapture } from './dirty-capture.ts'
import type { Problems } from './problems.ts'
import type { Watching } from './watching.ts'

/** While batches go out, reports are at least so far apart. */
const everyMsMin = 100

export interface ReportsParts {
  readonly everyMs: number
  readonly clock: Clock
  readonly batches: CatalogBatches
  readonly coverage: Coverage
  readonly hearing: { readonly hintsLost: number }
  readonly dirtyCapture: DirtyCapture
  readonly comparisons: Comparisons
  readonly anchors: Anchors
  readonly watching: Watching
  readonly problems: Problems
  hand(report: CaptureReport): void
}

/** Reports how the capture is, at intervals and whenever that is another state than before. */
export class Reports {
  readonly #parts: ReportsParts
  #reportedMs = -Infinity
  #reportedUpTo: Sequence | undefined
  #reportedState: CaptureState | undefined

  constructor(parts: ReportsParts) {
    this.#parts = parts
  }

  /** What went out since the last report counts at the vault once a report says what it covers. */
  get dueMs(): number {
    const { everyMs, batches } = this.#parts
    const hasNews = this.#reportedUpTo !== batches.sequence
    return this.#reportedMs + (hasNews ? Math.min(everyMsMin, everyMs) : everyMs)
  }

  report(): void {
    const { clock, batches, coverage, hearing, dirtyCapture, comparisons, watching, problems, hand } = this.#parts
    const nowMs = clock.monotonicMs()
    const state = this.#state()
    const isOther = state !== this.#reportedState || problems.takeChanged()
    if (nowMs < this.dueMs && !isOther) return
    this.#reportedMs = nowMs
    this.#reportedUpTo = batches.sequence
    this.#reportedState = state
    coverage.cover()
    const { progress, compared } = comparisons
    hand({
      state,
      covered: coverage.covered,
      upTo: batches.sequence,
      dirty: dirtyCapture.size,
      ...(compared === 0 ? {} : { compared }),
      hintsLost: hearing.hintsLost,
      ...(progress === undefined ? {} : { progress }),
      watching: watching.names,
      problems: problems.list(),
    })
  }

  #state(): CaptureState {
    if (this.#parts.anchors.vanished.length > 0) return 'vanished'
    const why = this.#parts.comparisons.reason
    if (why === 'baseline') return 'baseline'
    return why === undefined || why === 'schedule' ? 'live' : 'reconciling'
  }
}
