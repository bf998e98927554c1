import type { Clock } from '../../base/clock.ts'
import type { Wake } from '../../base/wake.ts'
import type { Journal } from './journal.ts'

/** Between two looks at the time, which may be set. */
const lookMs = 60_000

export interface ComparisonsParts {
  readonly journal: Journal
  readonly clock: Clock
  /** From the beginning of one to that of the next. */
  readonly everyMs: number
  readonly wanted: { isEverything: boolean }
  readonly changed: Wake
}

/** Has everything compared with the volume again and again, also over restarts: the cursor knows when it was last begun. */
export async function compareOnSchedule(parts: ComparisonsParts, signal: AbortSignal): Promise<void> {
  const { journal, clock, everyMs, wanted, changed } = parts
  for (;;) {
    const { copy, compared } = journal.place
    const dueMs = (compared - clock.now()) / 1000 + everyMs
    if (dueMs <= 0 && copy === undefined && !wanted.isEverything) {
      wanted.isEverything = true
      changed.wake()
    }
    await clock.sleep(Math.min(lookMs, dueMs <= 0 ? lookMs : dueMs), signal)
  }
}
