import type { Clock } from '../../base/clock.ts'
import type { SuspectReason } from '../../model/change.ts'
import { displayName, joinPath, nameOf, parentOf, type TreePath } from '../../model/path.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { CaptureState } from '../../model/report.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { CaptureOutput } from '../capture.ts'
import { Anchors } from './anchors.ts'
import { BatchWriter, type Lane } from './batch-writer.ts'
import type { Catalog } from './catalog.ts'
import type { NodeId } from './catalog-tree.ts'
import { ContentReader } from './content-reader.ts'
import { decodeCursor } from './cursor.ts'
import { type DirtyKey, dirtyKey, type DirtyName, DirtySet, reason } from './dirty-set.ts'
import { EntryCapture, type Outcome, type Place, type Subject } from './entry-capture.ts'
import { Filesystems } from './filesystems.ts'
import { Gap } from './gap.ts'
import { LargeFile } from './large-file.ts'
import type { EngineRequest } from './messages.ts'
import { mountPaths, readMounts } from './mounts.ts'
import { Offers } from './offers.ts'
import { Pace } from './pace.ts'
import type { Problems } from './problems.ts'
import { ProtectedPaths } from './protected-paths.ts'
import { listDirectory, Scan, type ScanRequest } from './scan.ts'
import { Staging } from './staging.ts'
import { inodeOf } from './stat.ts'
import type { Noticed } from './watch.ts'
import { Watching } from './watching.ts'

/** How long a turn works on one thing before it looks around. */
const sliceMs = { live: 50, large: 20, bulk: 20 }
/** A file that was made or written and not closed is given this long before it is looked at. */
const openDelayMs = 150
/** Between looks at what no event tells of: mounts, protected paths that are gone. */
const lookEveryMs = 1000
/** While batches go out, reports are at least so far apart. */
const reportMsMin = 100
/** While nothing changes, how often it is noted that everything is captured. */
const noteEveryMs = 1000
const gapReason = 'the agent was not watching'
/** Where nobody tells of changes, everything is compared this often. */
const scanEveryMs = 60_000
/** While everything is compared anyway, a crowd of new names is left to that. */
const dirtyNamesManyMax = 20_000
/** Files written one after the other under one name, of which the other names are looked for. */
const writtenMax = 8
const tornRetriesMax = 5
const retryMs = { first: 20, max: 30_000, unreadable: 10_000, moved: 50 }
/** A user's mark waits for what was dirty when it was asked for, but not longer. */
const markWaitMsMax = 30_000
/** The kernel sets the times of a file before it copies the bytes, and its clock may be coarse. */
const granularityNs = 2_000_000_000n

export interface LiveParts {
  readonly reportEveryMs: number
  readonly clock: Clock
  /** Drawn anew at each start. */
  readonly session: string
  readonly hand: (output: CaptureOutput) => void
  readonly problems: Problems
  isLineUp(): boolean
  hasRoom(lane: Lane): boolean
}

/** The engine once it has a catalog. */
export class LiveEngine implements Disposable, Noticed {
  readonly #parts: LiveParts
  readonly #request: EngineRequest
  readonly #catalog: Catalog
  readonly #dirty = new DirtySet()
  readonly #pace = new Pace()
  readonly #watching: Watching
  readonly #filesystems: Filesystems
  readonly #protected: ProtectedPaths
  readonly #anchors: Anchors
  readonly #gap: Gap
  readonly #writer: BatchWriter
  readonly #offers: Offers
  readonly #staging: Staging
  readonly #content: ContentReader
  readonly #entries: EntryCapture
  readonly #large = new Map<DirtyKey, { file: LargeFile; dirty: DirtyName }>()
  /** Named as problems and tried again later; they hold nothing up. */
  readonly #unreadable = new Map<DirtyKey, { dirty: DirtyName; retryAtMs: number }>()
  readonly #scans: ScanRequest[] = []
  #scan: Scan | undefined
  #scanWasFinished = false
  /** The name that is being captured. */
  #current: DirtyName | undefined
  readonly #marks: { tag: number; label: string; askedAt: Moment; untilMs: number }[] = []
  /** When the last drain began: what changed before has been noticed. */
  #heard: Moment
  #heardBefore: Moment
  /** Of the report: goes back with the clock only. */
  #covered: Moment
  #overflowed = false
  #mounts = ''
  #nextLookMs = 0
  #nextNoteMs = 0
  /** Where the catalog was when it was last noted up to when all is captured. */
  #noted: Sequence | undefined
  #reportedMs = -Infinity
  #reportedUpTo: Sequence | undefined
  /** When a comparison by schedule was last begun. */
  #scheduledMs: number
  /** What changed before has been found, by comparing where nobody tells of changes. */
  #compared: Moment
  #scanBegan: Moment
  #filesTotal = 0
  #lastState: CaptureState | undefined

  constructor(request: EngineRequest, catalog: Catalog, parts: LiveParts) {
    this.#parts = parts
    this.#request = request
    this.#catalog = catalog
    const cursor = decodeCursor(request.cursor)
    const { clock, problems } = parts
    const hand = (output: CaptureOutput): void => {
      if (output.kind === 'batch') this.#gap.judge(output)
      parts.hand(output)
    }
    this.#covered = cursor.moment
    this.#heard = moment(clock.now())
    this.#heardBefore = this.#heard
    this.#protected = new ProtectedPaths({
      paths: request.source.paths,
      exclude: request.source.exclude,
      never: [request.stateDirectory, ...request.never],
    })
    const since = cursor.baseline === 'complete' ? moment(Math.min(catalog.batches.drained, this.#heard)) : undefined
    this.#gap = new Gap({ batches: catalog.batches, protectedPaths: this.#protected, since })
    this.#watching = new Watching(request.watching, problems)
    this.#filesystems = new Filesystems(catalog.filesystemNumbers, (mounted, path) =>
      this.#watching.found(mounted, path),
    )
    this.#anchors = new Anchors({ tree: catalog.tree, filesystems: this.#filesystems, protectedPaths: this.#protected })
    this.#writer = new BatchWriter({
      batches: catalog.batches,
      clock,
      cursor: { ...cursor, session: parts.session },
      hand,
    })
    this.#offers = new Offers({ writer: this.#writer, hand })
    this.#staging = new Staging({ tree: catalog.tree, writer: this.#writer })
    this.#content = new ContentReader({ chunkKey: request.chunkKey, fingerprintSeed: catalog.fingerprintSeed })
    this.#entries = new EntryCapture({
      tree: catalog.tree,
      writer: this.#writer,
      offers: this.#offers,
      filesystems: this.#filesystems,
      watching: this.#watching,
      anchors: this.#anchors,
      protectedPaths: this.#protected,
      problems,
      staging: this.#staging,
      reader: { content: this.#content, filesystems: this.#filesystems },
      directories: { compareBelow: (lane, directory, path) => this.#compareBelow(lane, directory, path) },
      listeningSinceNs: BigInt(this.#heard) * 1000n - granularityNs,
      writes: (key) => this.#writes(key),
      again: (directory, name, reasons) => void this.#dirty.notice(directory, name, reasons, this.#heardBefore, 0),
      againNode: (inode) => this.inode(inode, reason.content),
      vanished: (anchor) => this.#vanished(anchor),
      isBeingRead: (inode, except) =>
        [...this.#large].some(([key, { file }]) => key !== except && inodeOf(file.place.look.stat) === inode),
      isLineUp: parts.isLineUp,
    })
    this.#scheduledMs = clock.monotonicMs()
    this.#compared = cursor.moment
    this.#scanBegan = this.#heard
    this.#mounts = readMounts()
    this.requestScan(cursor.baseline === 'complete' ? 'start' : 'baseline')
    this.#staging.clear()
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
    if (!this.#parts.isLineUp()) return
    this.#writer.forgetChunks()
    this.#offers.askAgain()
  }

  mark(tag: number, label: string): void {
    const askedAt = moment(this.#parts.clock.now())
    this.#marks.push({ tag, label, askedAt, untilMs: this.#parts.clock.monotonicMs() + markWaitMsMax })
  }

  hole(since: Moment, why: string): void {
    this.#writer.write('bulk', { kind: 'mark', mark: { type: 'hole', since, reason: why } })
    this.requestScan('spool-full')
  }

  requestScan(why: SuspectReason, paths: readonly TreePath[] = this.#protected.all.map(({ path }) => path)): void {
    const trustedBeforeNs = this.#trustedBeforeNs(why)
    if (this.#scans.some((waiting) => waiting.reason === why && waiting.paths.length === paths.length)) return
    this.#scans.push({ reason: why, paths, trustedBeforeNs })
    if (why !== 'schedule') this.#writer.write('bulk', { kind: 'mark', mark: { type: 'suspect', reason: why } })
  }

  /** What changed at this time or shortly before may have been missed though its times are as known. */
  #trustedBeforeNs(why: SuspectReason): bigint {
    const isListening = (why === 'schedule' || why === 'request') && !this.#watching.hasGaps
    const since = isListening ? this.#heard : this.#watching.hasGaps ? this.#compared : this.#catalog.batches.drained
    return BigInt(since) * 1000n - granularityNs
  }

  // --- a turn

  turn(): number {
    this.#drain()
    this.#look()
    this.#writeAnswered()
    this.#captureDirty()
    this.#putMarks()
    this.#readLarge()
    this.#compareAll()
    this.#tellGap()
    this.#noteCaptured()
    this.#report()
    return this.#restMs()
  }

  #drain(): void {
    this.#heardBefore = this.#heard
    const now = moment(this.#parts.clock.now())
    this.#watching.drain(this)
    this.#heard = now
    if (this.#dirty.isFull) this.#overflowed = true
    if (!this.#overflowed) return
    this.#overflowed = false
    if (this.#dirty.isFull) this.#dirty.clear()
    this.requestScan('overflow')
  }

  /** About once a second: are the anchors there, is something mounted or unmounted, is a scan due. */
  #look(): void {
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs < this.#nextLookMs) return
    this.#nextLookMs = nowMs + lookEveryMs
    const mounts = readMounts()
    if (mounts !== this.#mounts) {
      this.#mounts = mounts
      this.#filesystems.forgetDevices()
      this.#noticeMounts(mounts)
    }
    for (const anchor of this.#anchors.all()) {
      const isGone = this.#anchors.hasFallen(anchor)
      if (isGone) this.#vanished(anchor)
      else if (this.#anchors.vanished.includes(anchor)) this.#returned(anchor)
    }
    for (const [key, { dirty, retryAtMs }] of this.#unreadable) {
      const path = this.#pathOf(dirty)
      if (path === undefined || !this.#parts.problems.has(path)) this.#unreadable.delete(key)
      if (retryAtMs > nowMs || !this.#unreadable.has(key)) continue
      this.#unreadable.delete(key)
      this.#dirty.notice(dirty.directory, dirty.name, dirty.reasons | reason.below, this.#heardBefore, 0)
    }
    const everyMs = Math.min(this.#request.source.policy.reconcileMs, this.#watching.hasGaps ? scanEveryMs : Infinity)
    if (nowMs >= this.#scheduledMs + everyMs && this.#scan === undefined && this.#parts.isLineUp()) {
      this.#scheduledMs = nowMs
      this.requestScan('schedule')
    }
  }

  #writeAnswered(): void {
    if (!this.#parts.isLineUp()) this.#offers.assumeMissing()
    while (this.#parts.hasRoom('live') && this.#offers.writeNext('live'));
    while (this.#parts.hasRoom('bulk') && this.#offers.writeNext('bulk'));
  }

  #captureDirty(): void {
    const { clock, hasRoom } = this.#parts
    const until = clock.monotonicMs() + sliceMs.live
    while (hasRoom('live') && this.#offers.hasRoom('live')) {
      const nowMs = clock.monotonicMs()
      if (nowMs > until) break
      const dirty = this.#dirty.next(nowMs)
      if (dirty === undefined) break
      this.#captureName(dirty)
    }
    this.#offers.flush('live')
    if (!this.#writer.isEmpty) this.#writer.close(this.#isSettled())
  }

  /** Where something has been moved from is looked at after where it has been moved to. */
  #captureName(dirty: DirtyName): void {
    const target = dirty.movedTo && this.#dirty.take(dirtyKey(dirty.movedTo.directory, dirty.movedTo.name))
    if (target !== undefined) this.#captureName(target)
    const key = dirtyKey(dirty.directory, dirty.name)
    if (this.#large.has(key)) return this.#dirty.putBack(dirty, this.#parts.clock.monotonicMs() + sliceMs.large * 10)
    this.#unreadable.delete(key)
    const beganMs = this.#parts.clock.monotonicMs()
    this.#current = dirty
    const outcome = this.#entries.capture(dirty, 'live')
    this.#current = undefined
    const nowMs = this.#parts.clock.monotonicMs()
    if (outcome !== 'done') return this.#unsettled(dirty, outcome, 'live')
    this.#pace.captured(key, nowMs, nowMs - beganMs)
    this.#lookElsewhere(dirty)
  }

  /** What was written under a name that means something else by now may have another name. */
  #lookElsewhere({ directory, name, written }: DirtyName): void {
    if (written.length === 0) return
    const node = this.#catalog.tree.child(directory, name)
    const here = node === undefined ? undefined : inodeOf(node.stat)
    for (const inode of written) if (inode !== here) this.inode(inode, reason.content)
  }

  #unsettled(dirty: DirtyName, outcome: Exclude<Outcome, 'done'>, lane: Lane): void {
    const nowMs = this.#parts.clock.monotonicMs()
    if (outcome === 'vanished') return
    if (outcome === 'unreadable') {
      const key = dirtyKey(dirty.directory, dirty.name)
      this.#unreadable.set(key, { dirty, retryAtMs: nowMs + retryMs.unreadable })
      return
    }
    if (outcome === 'moved') {
      dirty.failures++
      return this.#dirty.putBack(dirty, dirty.failures <= 2 ? 0 : nowMs + retryMs.moved)
    }
    if (outcome === 'torn') return this.#torn(dirty, nowMs)
    this.#begin(outcome.large, dirty, lane)
  }

  #torn(dirty: DirtyName, nowMs: number): void {
    dirty.failures++
    dirty.reasons |= reason.content
    if (dirty.failures === tornRetriesMax) {
      const path = this.#pathOf(dirty)
      if (path !== undefined) this.#writer.write('live', { kind: 'mark', mark: { type: 'torn', path } })
    }
    this.#dirty.putBack(dirty, nowMs + Math.min(retryMs.max, retryMs.first * 2 ** (dirty.failures - 1)))
  }

  // --- large files

  #begin(place: Place, dirty: DirtyName, lane: Lane): void {
    const key = dirtyKey(dirty.directory, dirty.name)
    if (this.#large.has(key)) return
    const held = { ...dirty }
    const file = new LargeFile(
      { ...place, lane },
      {
        tree: this.#catalog.tree,
        writer: this.#writer,
        offers: this.#offers,
        staging: this.#staging,
        entries: this.#entries,
        reader: { content: this.#content, filesystems: this.#filesystems, writes: () => this.#writes(key) },
        beginPass: () => void this.#dirty.take(key),
      },
    )
    this.#large.set(key, { file, dirty: held })
  }

  /** One after the other in each lane: the first is finished before the next is begun. */
  #readLarge(): void {
    for (const lane of ['live', 'bulk'] as const) {
      for (const [key, { file, dirty }] of this.#large) {
        if (file.place.lane !== lane) continue
        if (!this.#parts.hasRoom(lane) || (lane === 'bulk' && !this.#parts.isLineUp())) break
        const beganMs = this.#parts.clock.monotonicMs()
        const progress = file.step(this.#until(sliceMs.large))
        const nowMs = this.#parts.clock.monotonicMs()
        file.costMs += nowMs - beganMs
        if (progress === 'more' || progress === 'waiting') break
        this.#large.delete(key)
        if (lane === 'live') this.#pace.captured(key, nowMs, file.costMs)
        if (progress !== 'done') this.#unsettled(dirty, progress, lane)
        break
      }
    }
    this.#offers.flush('live')
    if (!this.#writer.isEmpty) this.#writer.close(this.#isSettled())
  }

  // --- comparing everything

  #compareAll(): void {
    if (!this.#parts.isLineUp()) return
    this.#scan ??= this.#nextScan()
    const scan = this.#scan
    if (scan === undefined) return
    if (!this.#scanWasFinished) {
      const isTime = this.#until(sliceMs.bulk)
      const hasRoom = () => this.#offers.hasRoom('bulk') && this.#parts.hasRoom('bulk') && this.#large.size < 2
      if (hasRoom()) this.#scanWasFinished = scan.step(() => isTime() || !hasRoom()) === 'done'
      if (this.#scanWasFinished) this.#offers.flush('bulk')
    }
    this.#writer.close(false)
    if (this.#scanWasFinished) this.#finishScan(scan)
  }

  #nextScan(): Scan | undefined {
    const request = this.#scans.shift()
    if (request === undefined) return undefined
    this.#scanWasFinished = false
    this.#scanBegan = this.#heard
    this.#filesTotal = request.reason === 'baseline' ? 0 : this.#catalog.tree.nodes
    if (request.reason === 'schedule') {
      // Only what turns out to differ makes the tree suspect.
      this.#writer.beforeBulk(() =>
        this.#writer.write('bulk', { kind: 'mark', mark: { type: 'suspect', reason: 'schedule' } }),
      )
    }
    return new Scan(
      {
        tree: this.#catalog.tree,
        writer: this.#writer,
        filesystems: this.#filesystems,
        watching: this.#watching,
        anchors: this.#anchors,
        protectedPaths: this.#protected,
        problems: this.#parts.problems,
        entries: this.#entries,
        touched: (directory) => this.directory(directory),
        unsettled: (subject, outcome) => {
          if (outcome === 'done') return
          if (outcome === 'torn' || outcome === 'moved') this.#gap.found()
          this.#unsettled(this.#dirtyOf(subject), outcome, 'bulk')
        },
      },
      request,
    )
  }

  /** Complete is what has been captured as well: all that was found and is not being written all the time. */
  #finishScan(scan: Scan): void {
    const { reason: why } = scan.request
    if (!this.#offers.isEmpty('bulk') || !this.#offers.isEmpty('live') || this.#large.size > 0) return
    if (this.#dirty.dueInMs(this.#parts.clock.monotonicMs()) === 0) return
    this.#scan = undefined
    if (why !== 'vanished') this.#compared = this.#scanBegan
    const foundNothing = why === 'schedule' && this.#writer.takeBeforeBulk()
    if (foundNothing) return
    this.#tellGap()
    if (this.#anchors.vanished.length === 0) this.#gap.compared()
    if (why === 'baseline' || why === 'start') this.#writer.baselineComplete()
    this.#writer.write('bulk', { kind: 'mark', mark: { type: 'complete', reason: why } })
    this.#writer.close(this.#isSettled())
  }

  #compareBelow(lane: Lane, directory: NodeId, path: TreePath): void {
    if (
      this.#scan !== undefined &&
      !this.#scanWasFinished &&
      (lane === 'bulk' || this.#dirty.size > dirtyNamesManyMax)
    ) {
      return this.#scan.push(directory)
    }
    const names = new Set(listDirectory(path, this.#parts.problems))
    const at = this.#catalog.tree.nameOf(directory)
    if (at !== undefined && !this.#entries.stands(directory)) {
      this.#dirty.notice(at.parent, at.name, reason.entry | reason.below, this.#heardBefore, 0)
      return
    }
    for (const { name } of this.#catalog.tree.children(directory)) names.add(name)
    for (const name of names) {
      this.#dirty.notice(directory, name, reason.entry | reason.below, this.#heardBefore, 0)
    }
    // What came into it before it was followed changed its times without a word.
    this.directory(directory)
  }

  #pathOf({ directory, name }: DirtyName): TreePath | undefined {
    const parent = this.#catalog.tree.pathOf(directory)
    return parent === undefined ? undefined : joinPath(parent, name)
  }

  #dirtyOf({ directory, name, reasons }: Subject): DirtyName {
    return {
      directory,
      name,
      reasons,
      // A scan finds that something has changed and not when: at any time since all was captured.
      since: this.#covered,
      movedTo: undefined,
      written: [],
      writes: 0,
      notBeforeMs: 0,
      failures: 0,
    }
  }

  // --- what the watcher tells

  entry(directory: NodeId, name: string, reasons: number, closed: boolean, inode?: bigint): void {
    const nowMs = this.#parts.clock.monotonicMs()
    const restUntilMs = this.#pace.restUntilMs(dirtyKey(directory, name))
    const notBeforeMs = Math.max(closed ? 0 : nowMs + openDelayMs, restUntilMs > nowMs ? restUntilMs : 0)
    const { written } = this.#dirty.notice(directory, name, reasons, this.#heardBefore, notBeforeMs)
    if (inode !== undefined && written.length < writtenMax && !written.includes(inode)) written.push(inode)
    if ((reasons & reason.entry) !== 0) this.directory(directory)
  }

  /** Its times change with every name that comes or goes, so it comes after them. */
  directory(directory: NodeId): void {
    const at = this.#catalog.tree.nameOf(directory)
    const path = this.#catalog.tree.pathOf(directory)
    // What is above the protected paths is looked at only when everything is.
    if (path === undefined || this.#protected.of(path) === undefined) return
    if (at !== undefined) this.#dirty.noticeLast(at.parent, at.name, reason.attributes, this.#heardBefore)
  }

  moved(from: { directory: NodeId; name: string }, to: { directory: NodeId; name: string }): void {
    const source = this.#dirty.notice(from.directory, from.name, reason.entry, this.#heardBefore, 0)
    source.movedTo = to
    // What is still to be captured of it goes with it, also what is being tried at this moment.
    const isCurrent = this.#current?.directory === from.directory && this.#current.name === from.name
    const reasons = (source.reasons | (isCurrent ? (this.#current?.reasons ?? 0) : 0)) & reason.content
    this.#dirty.notice(to.directory, to.name, reason.entry | reasons, this.#heardBefore, 0)
    this.directory(from.directory)
    this.directory(to.directory)
  }

  inode(inode: bigint, reasons: number): void {
    for (const node of this.#catalog.tree.withInode(inode)) {
      for (const { parent, name } of this.#catalog.tree.names(node.id)) {
        this.#dirty.notice(parent, name, reasons, this.#heardBefore, 0)
      }
    }
  }

  lost(): void {
    this.#overflowed = true
  }

  #writes(key: DirtyKey): number {
    this.#drain()
    return this.#dirty.get(key)?.writes ?? 0
  }

  #noticeMounts(mounts: string): void {
    for (const path of mountPaths(mounts)) {
      if (path === '' || this.#protected.of(path) === undefined) continue
      const parent = this.#catalog.tree.idAt(parentOf(path))
      if (parent === undefined) continue
      this.#dirty.notice(parent, nameOf(path), reason.entry | reason.below, this.#heardBefore, 0)
    }
  }

  // --- vanished and back

  #vanished(anchor: TreePath): void {
    if (this.#anchors.isVanished(anchor)) return
    this.#anchors.setVanished(anchor)
    this.#writer.write('live', { kind: 'mark', mark: { type: 'vanished', path: anchor } })
    this.#parts.problems.set(`vanished ${anchor}`, {
      code: 'source-vanished',
      message: `/${displayName(anchor)} is not there, or is an empty directory where there was none; nothing is taken as deleted`,
      hint: 'mount it or bring it back; if it is meant to be gone, take it out of the source',
    })
  }

  #returned(anchor: TreePath): void {
    this.#anchors.setReturned(anchor)
    this.#parts.problems.clear(`vanished ${anchor}`)
    this.requestScan('vanished', [anchor])
  }

  // --- where it stands

  /** Nothing is known that is not in the journal. */
  #isSettled(): boolean {
    this.#drain()
    return this.#isIdle()
  }

  #isIdle(): boolean {
    return (
      this.#dirty.size === 0 &&
      this.#large.size === 0 &&
      this.#unreadable.size === 0 &&
      this.#scan === undefined &&
      this.#scans.length === 0 &&
      !this.#entries.isPending &&
      this.#anchors.vanished.length === 0
    )
  }

  #putMarks(): void {
    if (this.#marks.length === 0) return
    const nowMs = this.#parts.clock.monotonicMs()
    const oldest = this.#oldestUncaptured()
    while (this.#marks[0] !== undefined) {
      const { tag, label, askedAt, untilMs } = this.#marks[0]
      const isBehind = this.#heard < askedAt || this.#entries.isPending || (oldest !== undefined && oldest <= askedAt)
      if (isBehind && nowMs < untilMs) return this.#dirty.hurry(askedAt)
      this.#marks.shift()
      this.#writer.userMark(tag, label)
    }
    this.#writer.close(this.#isSettled())
  }

  #oldestUncaptured(): Moment | undefined {
    let oldest = this.#dirty.oldest()
    for (const { dirty } of this.#large.values()) if (oldest === undefined || dirty.since < oldest) oldest = dirty.since
    return oldest
  }

  #tellGap(): void {
    const since = this.#gap.untold
    if (since === undefined) return
    this.#writer.write('live', { kind: 'mark', mark: { type: 'hole', since, reason: gapReason } })
    this.#writer.close(false)
  }

  /** Undefined while that is not known: while all is compared because something may have been missed. */
  #capturedUpTo(): Moment | undefined {
    const isSuspect = this.#scans.length > 0 || (this.#scan !== undefined && this.#scan.request.reason !== 'schedule')
    if (isSuspect || this.#entries.isPending) return undefined
    // Where the clock was set back, what was noticed before is not in the future.
    const captured = moment(Math.min(this.#oldestUncaptured() ?? this.#heard, this.#heard))
    return this.#watching.hasGaps && this.#compared < captured ? this.#compared : captured
  }

  /** For the next start, which has to compare what came later, and to tell of a gap from there on. */
  #noteCaptured(): void {
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#noted === this.#catalog.batches.sequence && nowMs < this.#nextNoteMs) return
    if (!this.#writer.isEmpty || this.#anchors.vanished.length > 0) return
    const captured = this.#capturedUpTo()
    if (captured === undefined) return
    this.#noted = this.#catalog.batches.sequence
    this.#nextNoteMs = nowMs + noteEveryMs
    this.#catalog.batches.noteDrained(captured)
  }

  #report(): void {
    const nowMs = this.#parts.clock.monotonicMs()
    const state = this.#state()
    const isOther = state !== this.#lastState || this.#parts.problems.takeChanged()
    if (nowMs < this.#reportDueMs && !isOther) return
    this.#reportedMs = nowMs
    this.#reportedUpTo = this.#catalog.batches.sequence
    this.#lastState = state
    const captured = this.#capturedUpTo()
    if (captured !== undefined && (captured > this.#covered || this.#covered > this.#heard)) this.#covered = captured
    const progress =
      this.#scan === undefined
        ? {}
        : {
            progress: {
              files: this.#scan.entries,
              filesTotal: this.#filesTotal,
              bytes: this.#scan.bytes,
              bytesTotal: 0,
            },
          }
    this.#parts.hand({
      kind: 'report',
      report: {
        state,
        covered: this.#covered,
        upTo: this.#catalog.batches.sequence,
        dirty: this.#dirty.size + this.#large.size + this.#unreadable.size,
        ...progress,
        watching: this.#watching.names,
        problems: this.#parts.problems.list(),
      },
    })
  }

  /** What went out since the last report counts at the vault once a report says what it covers. */
  get #reportDueMs(): number {
    const { reportEveryMs } = this.#parts
    const hasNews = this.#reportedUpTo !== this.#catalog.batches.sequence
    return this.#reportedMs + (hasNews ? Math.min(reportMsMin, reportEveryMs) : reportEveryMs)
  }

  #state(): CaptureState {
    if (this.#anchors.vanished.length > 0) return 'vanished'
    const why = this.#scan?.request.reason ?? this.#scans[0]?.reason
    if (why === 'baseline') return 'baseline'
    return why === undefined || why === 'schedule' ? 'live' : 'reconciling'
  }

  #restMs(): number {
    const { clock, hasRoom, isLineUp } = this.#parts
    const nowMs = clock.monotonicMs()
    const due = Math.max(0, Math.min(this.#reportDueMs, this.#nextLookMs) - nowMs)
    const dirty = hasRoom('live') && this.#offers.hasRoom('live') ? this.#dirty.dueInMs(nowMs) : Infinity
    const canScan = isLineUp() && (this.#scan !== undefined || this.#scans.length > 0)
    const canBulk = canScan && hasRoom('bulk') && this.#offers.hasRoom('bulk') && !this.#scanWasFinished
    const canRead = [...this.#large.values()].some(
      ({ file }) => hasRoom(file.place.lane) && !file.isWaiting && (file.place.lane === 'live' || isLineUp()),
    )
    if (canBulk || canRead) return 0
    return Math.min(due, dirty, this.#offers.isAnswered ? 0 : Infinity)
  }

  #until(ms: number): () => boolean {
    const end = this.#parts.clock.monotonicMs() + ms
    return () => this.#parts.clock.monotonicMs() >= end
  }

  [Symbol.dispose](): void {
    for (const { file } of this.#large.values()) file.cancel()
    this.#writer.close(false)
    this.#nextNoteMs = 0
    this.#noteCaptured()
    this.#watching[Symbol.dispose]()
    this.#catalog[Symbol.dispose]()
  }
}
