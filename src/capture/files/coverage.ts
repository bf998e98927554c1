import type { Clock } from '../../base/clock.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Anchors } from './anchors.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import type { Comparisons } from './comparisons.ts'
import type { DirtyCapture } from './dirty-capture.ts'
import type { FileCapture } from './file-capture.ts'
import type { Hearing } from './hearing.ts'
import type { Watching } from './watching.ts'

/** While nothing changes, how often it is noted that everything is captured. */
const noteEveryMs = 1000

export interface CoverageParts {
  readonly clock: Clock
  readonly batches: CatalogBatches
  readonly writer: BatchWriter
  readonly hearing: Hearing
  readonly dirtyCapture: DirtyCapture
  readonly files: FileCapture
  readonly comparisons: Comparisons
  readonly anchors: Anchors
  readonly watching: Watching
  /** What was covered when the session began. */
  readonly covered: Moment
}

/** Up to when the journal has everything. */
export class Coverage {
  readonly #parts: CoverageParts
  #covered: Moment
  /** Where the catalog was when it was last noted up to when all is captured. */
  #noted: Sequence | undefined
  #nextNoteMs = 0

  constructor(parts: CoverageParts) {
    this.#parts = parts
    this.#covered = parts.covered
  }

  /** Nothing is known that is not in the journal. */
  isSettled(): boolean {
    const { hearing, dirtyCapture, files, comparisons, anchors } = this.#parts
    hearing.drain()
    return (
      dirtyCapture.size === 0 && comparisons.reason === undefined && !files.isPending && anchors.vanished.length === 0
    )
  }

  /** Whether something that changed until then may not be written yet. */
  isBehind(wanted: Moment): boolean {
    const { hearing, dirtyCapture, files } = this.#parts
    const oldest = dirtyCapture.oldest()
    return hearing.upTo < wanted || files.isPending || (oldest !== undefined && oldest <= wanted)
  }

  /** Undefined while that is not known: while all is compared because something may have been missed. */
  #capturedUpTo(): Moment | undefined {
    const { hearing, dirtyCapture, files, comparisons, watching } = this.#parts
    if (comparisons.isSuspect || files.isPending) return undefined
    // Where the clock was set back, what was noticed before is not in the future.
    const captured = moment(Math.min(dirtyCapture.oldest() ?? hearing.upTo, hearing.upTo))
    return watching.hasGaps && comparisons.compared < captured ? comparisons.compared : captured
  }

  /** Of the report: goes back with the clock only. */
  get covered(): Moment {
    return this.#covered
  }

  cover(): void {
    const captured = this.#capturedUpTo()
    const isAhead = this.#covered > this.#parts.hearing.upTo
    if (captured !== undefined && (captured > this.#covered || isAhead)) this.#covered = captured
  }

  /** For the next start, which has to compare what came later, and to tell of a gap from there on. */
  note(): void {
    const { clock, batches } = this.#parts
    if (this.#noted === batches.sequence && clock.monotonicMs() < this.#nextNoteMs) return
    this.noteNow()
  }

  noteNow(): void {
    const { clock, batches, writer, anchors } = this.#parts
    if (!writer.isEmpty || anchors.vanished.length > 0) return
    const captured = this.#capturedUpTo()
    if (captured === undefined) return
    this.#noted = batches.sequence
    this.#nextNoteMs = clock.monotonicMs() + noteEveryMs
    batches.noteDrained(captured)
  }
}
