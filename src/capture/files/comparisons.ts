import type { Clock } from '../../base/clock.ts'
import type { SuspectReason } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import type { CaptureReport } from '../../model/report.ts'
import type { Lane } from '../batch-builder.ts'
import type { CatalogBatches } from './catalog-batches.ts'
import type { NodeId } from './catalog-tree.ts'
import { type DirtySet, reason } from './dirty-set.ts'
import { type Flow, slice, sliceMs } from './flow.ts'
import type { Gap } from './gap.ts'
import type { LargeFiles } from './large-files.ts'
import type { Offers } from './offers.ts'
import { listDirectory, Scan, type ScanParts, type ScanRequest } from './scan.ts'
import { earliestNsAfter } from './stat.ts'

/** Where nobody tells of changes, everything is compared this often. */
const scanEveryMs = 60_000
/** While everything is compared anyway, a crowd of new names is left to that. */
const dirtyNamesManyMax = 20_000

export interface ComparisonsParts extends ScanParts {
  readonly clock: Clock
  readonly batches: CatalogBatches
  readonly offers: Offers
  readonly dirty: DirtySet
  readonly largeFiles: LargeFiles
  readonly gap: Gap
  readonly flow: Flow
  /** By schedule. */
  readonly everyMs: number
  /** Up to then everything was captured when the session began. */
  readonly compared: Moment
}

/** Compares everything with the catalog, whenever there is a reason to, one comparison after the other. */
export class Comparisons {
  readonly #parts: ComparisonsParts
  readonly #waiting: ScanRequest[] = []
  #scan: Scan | undefined
  #isScanned = false
  #scanBegan: Moment
  #filesTotal = 0
  #compared: Moment
  /** When a comparison by schedule was last begun. */
  #scheduledMs: number

  constructor(parts: ComparisonsParts) {
    this.#parts = parts
    this.#compared = parts.compared
    this.#scanBegan = parts.hearing.upTo
    this.#scheduledMs = parts.clock.monotonicMs()
  }

  request(
    why: SuspectReason,
    paths: readonly TreePath[] = this.#parts.protectedPaths.all.map(({ path }) => path),
  ): void {
    const trustedBeforeNs = earliestNsAfter(this.#noticedSince(why))
    if (this.#waiting.some((waiting) => waiting.reason === why && waiting.paths.length === paths.length)) return
    this.#waiting.push({ reason: why, paths, trustedBeforeNs })
    if (why !== 'schedule') this.#markSuspect(why)
  }

  /** What changed later may have been missed though its times are as known. */
  #noticedSince(why: SuspectReason): Moment {
    const { watching, hearing, batches } = this.#parts
    if (watching.hasGaps) return this.#compared
    return why === 'schedule' || why === 'request' ? hearing.upTo : batches.drained
  }

  #markSuspect(why: SuspectReason): void {
    this.#parts.writer.write('bulk', { kind: 'mark', mark: { type: 'suspect', reason: why } })
  }

  requestIfDue(): void {
    const { clock, watching, flow, everyMs } = this.#parts
    const nowMs = clock.monotonicMs()
    const dueMs = this.#scheduledMs + Math.min(everyMs, watching.hasGaps ? scanEveryMs : Infinity)
    if (nowMs < dueMs || this.#scan !== undefined || !flow.isLineUp()) return
    this.#scheduledMs = nowMs
    this.request('schedule')
  }

  // --- at work

  /** Compares for a slice; without a line to the vault nothing is compared. */
  step(): void {
    const { writer, offers, clock, flow } = this.#parts
    if (!flow.isLineUp()) return
    this.#scan ??= this.#begin()
    const scan = this.#scan
    if (scan === undefined) return
    if (!this.#isScanned) {
      const isTime = slice(clock, sliceMs.bulk)
      if (this.#hasRoom) this.#isScanned = scan.step(() => isTime() || !this.#hasRoom) === 'done'
      if (this.#isScanned) offers.flush('bulk')
    }
    writer.close(false)
    if (this.#isScanned) this.#finish(scan)
  }

  get #hasRoom(): boolean {
    const { offers, flow, largeFiles } = this.#parts
    return offers.hasRoom('bulk') && flow.hasRoom('bulk') && largeFiles.size < 2
  }

  #begin(): Scan | undefined {
    const { hearing, tree, writer } = this.#parts
    const request = this.#waiting.shift()
    if (request === undefined) return undefined
    this.#isScanned = false
    this.#scanBegan = hearing.upTo
    this.#filesTotal = request.reason === 'baseline' ? 0 : tree.nodes
    // Only what turns out to differ makes the tree suspect.
    if (request.reason === 'schedule') writer.beforeBulk(() => this.#markSuspect('schedule'))
    return new Scan(this.#parts, request)
  }

  /** Complete is what has been captured as well: all that was found and is not being written all the time. */
  #finish({ request }: Scan): void {
    const { reason: why } = request
    const { offers, largeFiles, dirty, clock, writer, gap, anchors } = this.#parts
    if (!offers.isEmpty('bulk') || !offers.isEmpty('live') || largeFiles.size > 0) return
    if (dirty.dueInMs(clock.monotonicMs()) === 0) return
    this.#scan = undefined
    if (why !== 'vanished') this.#compared = this.#scanBegan
    const foundNothing = why === 'schedule' && writer.takeBeforeBulk()
    if (foundNothing) return
    gap.tell(writer)
    if (anchors.vanished.length === 0) gap.compared()
    if (why === 'baseline' || why === 'start') writer.baselineComplete()
    writer.write('bulk', { kind: 'mark', mark: { type: 'complete', reason: why } })
  }

  /** A directory that is new, or of which everything below has to be compared. */
  compareBelow(lane: Lane, directory: NodeId, path: TreePath): void {
    const { dirty, problems, tree, source, hearing } = this.#parts
    const isMany = lane === 'bulk' || dirty.size > dirtyNamesManyMax
    if (this.#scan !== undefined && !this.#isScanned && isMany) return this.#scan.push(directory)
    const names = new Set(listDirectory(path, problems))
    const at = tree.nameOf(directory)
    if (at !== undefined && !source.stands(directory)) {
      hearing.notice(at, reason.entry | reason.below)
      return
    }
    for (const { name } of tree.children(directory)) names.add(name)
    for (const name of names) hearing.notice({ directory, name }, reason.entry | reason.below)
    // What came into it before it was followed changed its times without a word.
    hearing.directory(directory)
  }

  // --- where it stands

  /** What changed before has been found, by comparing where nobody tells of changes. */
  get compared(): Moment {
    return this.#compared
  }

  /** Why everything is being compared, or will be as soon as it can be. */
  get reason(): SuspectReason | undefined {
    return this.#scan?.request.reason ?? this.#waiting[0]?.reason
  }

  /** All is compared because something may have been missed. */
  get isSuspect(): boolean {
    return this.#waiting.length > 0 || (this.#scan !== undefined && this.#scan.request.reason !== 'schedule')
  }

  /** Whether a step would get on. */
  get isReady(): boolean {
    const { flow, offers } = this.#parts
    return (
      this.reason !== undefined && flow.isLineUp() && flow.hasRoom('bulk') && offers.hasRoom('bulk') && !this.#isScanned
    )
  }

  get progress(): CaptureReport['progress'] {
    if (this.#scan === undefined) return undefined
    const { entries, bytes } = this.#scan
    return { files: entries, filesTotal: this.#filesTotal, bytes, bytesTotal: 0 }
  }
}
