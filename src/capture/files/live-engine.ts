import type { Clock } from '../../base/clock.ts'
import type { SuspectReason } from '../../model/change.ts'
import { nameOf, parentOf } from '../../model/path.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { CaptureOutput } from '../capture.ts'
import { Anchors } from './anchors.ts'
import { BatchWriter } from './batch-writer.ts'
import type { Catalog } from './catalog.ts'
import { Comparisons } from './comparisons.ts'
import { ContentReader } from './content-reader.ts'
import { Coverage } from './coverage.ts'
import { decodeCursor } from './cursor.ts'
import { DirtyCapture } from './dirty-capture.ts'
import { dirtyName, DirtySet, reason } from './dirty-set.ts'
import { EntryCapture } from './entry-capture.ts'
import { FileCapture } from './file-capture.ts'
import { Filesystems } from './filesystems.ts'
import type { Flow } from './flow.ts'
import { Gap } from './gap.ts'
import { Hearing } from './hearing.ts'
import { LargeFiles } from './large-files.ts'
import type { EngineRequest } from './messages.ts'
import { Mounts } from './mounts.ts'
import { Offers } from './offers.ts'
import { Pace } from './pace.ts'
import type { Problems } from './problems.ts'
import { ProtectedPaths } from './protected-paths.ts'
import { Reports } from './reports.ts'
import { SourceTree } from './source-tree.ts'
import { Staging } from './staging.ts'
import { earliestNsAfter } from './stat.ts'
import { TreeWriter } from './tree-writer.ts'
import { UserMarks } from './user-marks.ts'
import { Watching } from './watching.ts'

/** Between looks at what no event tells of: mounts, protected paths that are gone. */
const lookEveryMs = 1000

export interface LiveParts {
  readonly reportEveryMs: number
  readonly clock: Clock
  /** Drawn anew at each start. */
  readonly session: string
  readonly hand: (output: CaptureOutput) => void
  readonly problems: Problems
  readonly flow: Flow
}

/** The engine once it has a catalog. */
export class LiveEngine implements Disposable {
  readonly #clock: Clock
  readonly #flow: Flow
  readonly #catalog: Catalog
  readonly #protected: ProtectedPaths
  readonly #watching: Watching
  readonly #filesystems: Filesystems
  readonly #mounts = new Mounts()
  readonly #writer: BatchWriter
  readonly #offers: Offers
  readonly #gap: Gap
  readonly #anchors: Anchors
  readonly #hearing: Hearing
  readonly #largeFiles: LargeFiles
  readonly #dirtyCapture: DirtyCapture
  readonly #comparisons: Comparisons
  readonly #coverage: Coverage
  readonly #marks: UserMarks
  readonly #reports: Reports
  #nextLookMs = 0

  constructor(
    request: EngineRequest,
    catalog: Catalog,
    { clock, session, hand, problems, flow, reportEveryMs }: LiveParts,
  ) {
    const { tree, batches } = catalog
    const { paths, exclude, policy } = request.source
    const cursor = decodeCursor(request.cursor)
    this.#clock = clock
    this.#flow = flow
    this.#catalog = catalog

    // The source.
    const never = [request.stateDirectory, ...request.never]
    const protectedPaths = (this.#protected = new ProtectedPaths({ paths, exclude, never }))
    const watching = (this.#watching = new Watching(request.watching, problems))
    const found: Watching['found'] = (mounted, path) => watching.found(mounted, path)
    const filesystems = (this.#filesystems = new Filesystems(catalog.filesystemNumbers, found))
    const source = new SourceTree({ tree, filesystems, protectedPaths })
    const dirty = new DirtySet()
    const pace = new Pace()
    const overflowed = () => this.#comparisons.request('overflow')
    const hearing = (this.#hearing = new Hearing({ clock, watching, dirty, pace, tree, protectedPaths, overflowed }))
    const began = hearing.upTo

    // The journal.
    const since = cursor.baseline === 'complete' ? moment(Math.min(batches.drained, began)) : undefined
    const gap = (this.#gap = new Gap({ batches, protectedPaths, since }))
    const handJudged = (output: CaptureOutput): void => {
      if (output.kind === 'batch') gap.judge(output)
      hand(output)
    }
    const writer = (this.#writer = new BatchWriter({
      batches,
      clock,
      cursor: { ...cursor, session },
      hand: handJudged,
    }))
    const offers = (this.#offers = new Offers({ writer, hand: handJudged }))
    const staging = new Staging({ tree, writer })
    const treeWriter = new TreeWriter({ tree, writer, staging, watching })
    const anchors = (this.#anchors = new Anchors({ tree, source, protectedPaths, writer, problems }))

    // From one to the other.
    const content = new ContentReader({ chunkKey: request.chunkKey, fingerprintSeed: catalog.fingerprintSeed })
    const reader = { content, filesystems }
    const files = new FileCapture({ tree, source, writer, treeWriter, offers, anchors, hearing, reader, flow })
    const largeFiles = (this.#largeFiles = new LargeFiles({
      tree,
      writer,
      offers,
      staging,
      files,
      reader,
      clock,
      dirty,
      pace,
      hearing,
      flow,
    }))
    const entries = new EntryCapture({
      tree,
      source,
      treeWriter,
      filesystems,
      watching,
      hearing,
      anchors,
      protectedPaths,
      problems,
      files,
      largeFiles,
      listeningSinceNs: earliestNsAfter(began),
      compareBelow: (lane, directory, path) => this.#comparisons.compareBelow(lane, directory, path),
    })
    const dirtyCapture = (this.#dirtyCapture = new DirtyCapture({
      clock,
      dirty,
      pace,
      hearing,
      tree,
      writer,
      offers,
      entries,
      largeFiles,
      problems,
      flow,
    }))
    const comparisons = (this.#comparisons = new Comparisons({
      tree,
      source,
      writer,
      filesystems,
      watching,
      anchors,
      protectedPaths,
      problems,
      entries,
      hearing,
      clock,
      batches,
      offers,
      dirty,
      largeFiles,
      gap,
      flow,
      everyMs: policy.reconcileMs,
      compared: cursor.moment,
      unsettled: (subject, outcome) => {
        if (outcome === 'torn' || outcome === 'moved') gap.found()
        // A scan finds that something has changed and not when: at any time since all was captured.
        dirtyCapture.unsettled(dirtyName(subject, subject.reasons, this.#coverage.covered), outcome, 'bulk')
      },
    }))

    // How it stands.
    const coverage = (this.#coverage = new Coverage({
      clock,
      batches,
      writer,
      hearing,
      dirtyCapture,
      files,
      comparisons,
      anchors,
      watching,
      covered: cursor.moment,
    }))
    this.#marks = new UserMarks({ clock, writer, dirty, coverage })
    this.#reports = new Reports({
      everyMs: reportEveryMs,
      clock,
      batches,
      coverage,
      hearing,
      dirtyCapture,
      comparisons,
      anchors,
      watching,
      problems,
      hand: (report) => hand({ kind: 'report', report }),
    })
    comparisons.request(cursor.baseline === 'complete' ? 'start' : 'baseline')
    staging.clear()
  }

  get fds(): readonly number[] {
    return this.#watching.fds
  }

  // --- told from outside

  durable(sequence: Sequence): void {
    this.#catalog.batches.durable(sequence)
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#offers.answer(tag, missing)
  }

  lineChanged(): void {
    if (!this.#flow.isLineUp()) return
    this.#writer.forgetChunks()
    this.#offers.askAgain()
  }

  mark(tag: number, label: string): void {
    this.#marks.ask(tag, label)
  }

  hole(since: Moment, why: string): void {
    this.#writer.write('bulk', { kind: 'mark', mark: { type: 'hole', since, reason: why } })
    this.#comparisons.request('spool-full')
  }

  compare(why: SuspectReason): void {
    this.#comparisons.request(why)
  }

  // --- a turn

  /** Returns the milliseconds until there is something to do, if nothing happens before. */
  turn(): number {
    this.#hearing.drain()
    this.#look()
    this.#writeAnswered()
    this.#dirtyCapture.captureNames()
    this.#closeBatch()
    this.#marks.put()
    this.#closeBatch()
    this.#dirtyCapture.readLarge()
    this.#closeBatch()
    this.#comparisons.step()
    this.#closeBatch()
    this.#gap.tell(this.#writer)
    this.#coverage.note()
    this.#reports.report()
    return this.#restMs()
  }

  #closeBatch(): void {
    if (!this.#writer.isEmpty) this.#writer.close(this.#coverage.isSettled())
  }

  /** About once a second: are the anchors there, is something mounted or unmounted, is a comparison due. */
  #look(): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#nextLookMs) return
    this.#nextLookMs = nowMs + lookEveryMs
    this.#lookAtMounts()
    for (const anchor of this.#anchors.lookAgain()) this.#comparisons.request('vanished', [anchor])
    this.#dirtyCapture.retryUnreadable()
    this.#comparisons.requestIfDue()
  }

  #lookAtMounts(): void {
    const paths = this.#mounts.takeChanged()
    if (paths === undefined) return
    this.#filesystems.forgetDevices()
    for (const path of paths) {
      if (path === '' || this.#protected.of(path) === undefined) continue
      const directory = this.#catalog.tree.idAt(parentOf(path))
      if (directory === undefined) continue
      this.#hearing.notice({ directory, name: nameOf(path) }, reason.entry | reason.below)
    }
  }

  #writeAnswered(): void {
    if (!this.#flow.isLineUp()) this.#offers.assumeMissing()
    while (this.#flow.hasRoom('live') && this.#offers.writeNext('live'));
    while (this.#flow.hasRoom('bulk') && this.#offers.writeNext('bulk'));
  }

  #restMs(): number {
    if (this.#comparisons.isReady || this.#largeFiles.isReady) return 0
    const nowMs = this.#clock.monotonicMs()
    const due = Math.max(0, Math.min(this.#reports.dueMs, this.#nextLookMs) - nowMs)
    return Math.min(due, this.#dirtyCapture.dueInMs(nowMs), this.#offers.isAnswered ? 0 : Infinity)
  }

  [Symbol.dispose](): void {
    this.#largeFiles.cancel()
    this.#writer.close(false)
    this.#coverage.noteNow()
    this.#watching[Symbol.dispose]()
    this.#catalog[Symbol.dispose]()
  }
}
