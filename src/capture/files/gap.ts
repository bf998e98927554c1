import { decodeBatch } from '../../format/batch.ts'
import type { Change } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import { isWithin, stagingName, type TreePath } from '../../model/path.ts'
import type { CapturedBatch } from '../capture.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import type { ProtectedPaths } from './protected-paths.ts'

export interface GapParts {
  readonly batches: CatalogBatches
  readonly protectedPaths: ProtectedPaths
  /** Up to then everything was captured; undefined where nothing has to be told, as before the end of a baseline. */
  readonly since: Moment | undefined
}

/**
 * The time between two captures of one source, in which nobody listened. If the comparison at the start finds nothing
 * changed, then nothing was missed; otherwise the journal is told of a hole. Whether something captured during that comparison was
 * changed before the start or after cannot be known, so it counts as well.
 *
 * That there is something to tell is noted before the batch that shows it is handed out, so that no kill forgets it.
 */
export class Gap {
  readonly #parts: GapParts
  #since: Moment | undefined
  #isFound: boolean

  constructor(parts: GapParts) {
    this.#parts = parts
    this.#since = parts.since === undefined ? undefined : (parts.batches.gap ?? parts.since)
    this.#isFound = parts.batches.gap !== undefined
  }

  /** Tells the journal of a hole where there is one to tell of: once it is handed out, it is told. */
  tell(writer: BatchWriter): void {
    const since = this.#since
    if (since === undefined || !this.#isFound) return
    writer.write('live', { kind: 'mark', mark: { type: 'hole', since, reason: 'the agent was not watching' } })
    writer.close(false)
  }

  /** A batch is about to be handed out; its changes are in the catalog. */
  judge({ bytes }: CapturedBatch): void {
    const since = this.#since
    if (since === undefined) return
    const { changes } = decodeBatch(bytes)
    if (changes.some(({ change }) => isHole(change, since))) this.#over()
    else if (changes.some(({ change }) => this.#isOfSource(change))) this.#noteFound(since)
  }

  /** Something has changed that is not in the journal yet: a start after a kill would find it again. */
  found(): void {
    this.#isFound = this.#since !== undefined
  }

  /** The comparison is complete, and what it found has been told. */
  compared(): void {
    if (!this.#isFound) this.#over()
  }

  #noteFound(since: Moment): void {
    this.#isFound = true
    this.#parts.batches.noteGap(since)
  }

  #over(): void {
    this.#since = undefined
    this.#isFound = false
    this.#parts.batches.noteGap(undefined)
  }

  /** Not the directories above the source, nor what is built and not whole yet. */
  #isOfSource(change: Change): boolean {
    if (change.kind === 'mark') return false
    return this.#parts.protectedPaths.of(change.path) !== undefined && !isWithin(change.path, stagingName as TreePath)
  }
}

const isHole = (change: Change, since: Moment): boolean =>
  change.kind === 'mark' && change.mark.type === 'hole' && change.mark.since <= since
