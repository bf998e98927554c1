import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { crc32c } from '../../base/crc32c.ts'
import type { Chunk } from '../../format/block.ts'
import {
  type Baseline,
  baselineFolder,
  baselinesPath,
  commitsFolder,
  encodeBaseline,
  historyPath,
  walFolder,
  walPath,
} from '../../format/postgres-tree.ts'
import { commitListPath } from '../../format/commits.ts'
import { inlineBytesMax } from '../../model/batch.ts'
import type { Attributes, Change, Extent } from '../../model/change.ts'
import { advanceLsn, type Lsn, type Timeline, walSegmentStart } from '../../model/lsn.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { advance, type Sequence } from '../../model/sequence.ts'
import { Acknowledgements } from '../acknowledgements.ts'
import { BatchBuilder } from '../batch-builder.ts'
import type { CapturedBatch } from '../capture.ts'
import { type BaselinesState, type Cursor, encodeCursor, type LogState, type Stretch, stretchesMax } from './cursor.ts'
import type { TimelineHistory } from './protocol/replication.ts'
import { WalAppender } from './wal-appender.ts'

/** What the log is of. */
export type LogIdentity = Pick<LogState, 'systemId' | 'segmentBytes' | 'version'>

/** WAL in one batch. With the commits in it, a batch stays well below its limit. */
export const walBytesPerBatch = 1024 * 1024
const batchBytesOfWal = 1536 * 1024
const changesOfWal = 64
/** Files removed in one batch. */
const removalsPerBatch = 1000

type Log = Omit<LogState, 'stretches' | 'scanner' | 'list'> & {
  readonly stretches: readonly Stretch[]
  readonly appender: WalAppender
}

export interface JournalParts {
  readonly cursor: Cursor
  readonly sequence: Sequence
  /** At random. */
  readonly session: number
  readonly clock: Clock
  readonly hand: (batch: CapturedBatch) => void
}

/** The journal's end as the capture writes it: what its tree holds so far, and the batch that is being made. */
export class Journal {
  readonly acknowledgements = new Acknowledgements<Lsn>()
  readonly #clock: Clock
  readonly #builder: BatchBuilder
  #baselines: BaselinesState
  #log: Log | undefined

  constructor({ cursor, sequence, session, clock, hand }: JournalParts) {
    this.#clock = clock
    this.#baselines = cursor.baselines
    this.#log = cursor.log && resumedLog(cursor.log)
    if (this.position !== undefined) this.acknowledgements.handed(sequence, this.position)
    this.#builder = new BatchBuilder({
      clock,
      sequence,
      moment: cursor.moment,
      cursor: (at) => encodeCursor({ moment: at, session, baselines: this.#baselines, log: this.#logState() }),
      hand: (batch) => {
        if (this.position !== undefined) this.acknowledgements.handed(batch.last, this.position)
        hand(batch)
      },
    })
  }

  get sequence(): Sequence {
    return this.#builder.sequence
  }

  get moment(): Moment {
    return this.#builder.moment
  }

  get log(): Omit<Log, 'appender'> | undefined {
    return this.#log
  }

  get baselines(): BaselinesState {
    return this.#baselines
  }

  /** Where the next byte of WAL goes. */
  get position(): Lsn | undefined {
    return this.#log?.stretches.at(-1)?.end
  }

  get timeline(): Timeline | undefined {
    return this.#log?.stretches.at(-1)?.timeline
  }

  /** There is a complete baseline, and all the log since. */
  get isRestorable(): boolean {
    return this.#baselines.complete > 0 && this.#log?.isUnbroken === true
  }

  /** Of the lists of commits. */
  get damage(): string | undefined {
    return this.#log?.appender.damage
  }

  // The log

  /** The first stretch of a journal. `history` is that of its timeline; the first one has none. */
  begin(identity: LogIdentity, on: Timeline, start: Lsn, history: TimelineHistory | undefined): void {
    assert(this.#log === undefined, 'a journal is begun once')
    for (const path of [walFolder, commitsFolder]) {
      this.#builder.write('live', { kind: 'put', path, attributes: this.#attributes(0o700), content: folder })
    }
    this.#builder.write('live', { kind: 'mark', mark: { type: 'suspect', reason: 'baseline' } })
    this.#builder.close(false)
    const log = { ...identity, historyCheck: 0, isUnbroken: false, entriesFrom: start, stretches: [] }
    this.#beginStretch(log, on, start, history)
  }

  /** Goes on in another place: on another timeline, or after a hole. */
  beginStretch(on: Timeline, start: Lsn, entriesFrom: Lsn, history: TimelineHistory | undefined): void {
    const log = this.#log
    assert(log !== undefined, 'a journal has been begun')
    this.#builder.close(false)
    this.#forgetFrom(log, on, start)
    this.#beginStretch({ ...log, stretches: this.#log?.stretches ?? [], entriesFrom }, on, start, history)
  }

  #beginStretch(log: Omit<Log, 'appender'>, on: Timeline, start: Lsn, history: TimelineHistory | undefined): void {
    if (history) this.#builder.write('live', this.#historyFile(on, history))
    const historyCheck = history ? checkOf(history) : 0
    const stretches = [...log.stretches, { timeline: on, first: start, end: start }].slice(-stretchesMax)
    const appender = WalAppender.begin({ ...log, timeline: on, start })
    this.#log = { ...log, historyCheck, stretches, appender }
    this.acknowledgements.beginAnew()
    this.#builder.close(false)
  }

  /** What stands where other WAL of this timeline will be written. */
  #forgetFrom(log: Log, on: Timeline, start: Lsn): void {
    for (const stretch of log.stretches) {
      if (stretch.timeline !== on || stretch.end <= start) continue
      const from = stretch.first > start ? stretch.first : start
      for (const change of removals(log, { ...stretch, first: from })) this.#builder.write('live', change)
    }
    this.#builder.close(false)
    const stretches = log.stretches
      .map((stretch) => (stretch.timeline === on && stretch.end > start ? { ...stretch, end: start } : stretch))
      .filter(({ first, end }) => end > first)
    this.#log = { ...log, stretches: stretches.length > 0 ? stretches : log.stretches }
  }

  /** One batch, of at most `walBytesPerBatch`. `isSettled` is asked with the position after it. */
  append(bytes: Uint8Array, isSettled: (position: Lsn) => boolean): void {
    const log = this.#log
    const stretch = log?.stretches.at(-1)
    assert(log !== undefined && stretch !== undefined, 'WAL belongs to a stretch')
    assert(bytes.length <= walBytesPerBatch, 'WAL comes in pieces')
    this.#builder.begin('live', { changes: changesOfWal, bytes: batchBytesOfWal })
    const changes = log.appender.append(bytes)
    const end = advanceLsn(stretch.end, bytes.length)
    this.#log = { ...log, stretches: [...log.stretches.slice(0, -1), { ...stretch, end }] }
    for (const change of changes) this.#builder.write('live', change)
    this.#builder.close(this.isRestorable && isSettled(end))
  }

  /** Changes of the source since a moment are not in the log, and no baseline covers what follows yet. */
  gap(since: Moment, reason: string): void {
    if (this.#log) this.#log = { ...this.#log, isUnbroken: false }
    this.#builder.write('live', { kind: 'mark', mark: { type: 'hole', since, reason } })
    this.#builder.write('live', { kind: 'mark', mark: { type: 'suspect', reason: 'baseline' } })
    this.#builder.close(false)
  }

  /** The agent lost what it had been given. The log is taken again from before that, so that only moments are inexact. */
  hole(since: Moment, reason: string): void {
    this.#builder.write('live', { kind: 'mark', mark: { type: 'hole', since, reason } })
    if (this.isRestorable) {
      this.#builder.write('live', { kind: 'mark', mark: { type: 'complete', reason: 'spool-full' } })
    }
    this.#builder.close(false)
  }

  userMark(tag: number, label: string): void {
    this.#builder.userMark(tag, label)
    this.#builder.close(false)
  }

  /** A mark nobody waits for. */
  note(label: string): void {
    this.#builder.write('live', { kind: 'mark', mark: { type: 'user', label } })
    this.#builder.close(false)
  }

  // Baselines

  /** The number of the baseline that begins. */
  beginBaseline(): number {
    this.#abandonBaseline()
    const { next } = this.#baselines
    this.#baselines = { ...this.#baselines, next: next + 1, underWay: next }
    return next
  }

  bulk(change: Change, chunks: readonly Chunk[]): void {
    this.#builder.write('bulk', change, chunks)
  }

  closeBatch(): void {
    this.#builder.close(false)
  }

  /** What there is of a baseline that does not go on. */
  #abandonBaseline(): void {
    const { underWay } = this.#baselines
    if (underWay === 0) return
    this.#builder.write('bulk', { kind: 'remove', path: baselineFolder(underWay) })
    this.#baselines = { ...this.#baselines, underWay: 0 }
    this.#builder.close(false)
  }

  /** The log has reached the end of the baseline under way. */
  completeBaseline(told: Omit<Baseline, 'number' | 'sequence' | 'systemId' | 'version' | 'segmentBytes'>): void {
    const log = this.#log
    const { underWay: number, complete, fileBytes } = this.#baselines
    assert(log !== undefined && number > 0, 'a baseline under way belongs to a log')
    this.#builder.close(false)
    const { version, segmentBytes } = log
    const sequence = advance(this.#builder.sequence, 1)
    const line = encodeBaseline({ number, sequence, systemId: `${log.systemId}`, version, segmentBytes, ...told })
    this.#baselines = {
      ...this.#baselines,
      underWay: 0,
      complete: number,
      obsolete: complete,
      timeline: told.timeline,
      start: told.start as Lsn,
      completedAt: moment(this.#clock.now()),
      fileBytes: fileBytes + line.length,
    }
    this.#log = { ...log, isUnbroken: true }
    for (let at = 0; at < line.length; at += inlineBytesMax) {
      const data = line.subarray(at, at + inlineBytesMax)
      this.#builder.write('live', { kind: 'write', path: baselinesPath, at: fileBytes + at, data })
    }
    this.#builder.write('live', { kind: 'mark', mark: { type: 'complete', reason: 'baseline' } })
    this.#builder.close(false)
  }

  /** One batch of removals of what only an older baseline needed; false where nothing is left to remove. */
  tidy(): boolean {
    const log = this.#log
    const { obsolete } = this.#baselines
    if (log === undefined || this.#baselines.complete === 0) return false
    if (obsolete > 0) {
      this.#builder.write('bulk', { kind: 'remove', path: baselineFolder(obsolete) })
      this.#baselines = { ...this.#baselines, obsolete: 0 }
      this.#builder.close(false)
      return true
    }
    const removable = this.#removableStretch(log)
    if (removable === undefined) return false
    const { stretch, end } = removable
    const stop = Math.min(end, stretch.first + removalsPerBatch * log.segmentBytes) as Lsn
    this.#builder.begin('bulk', { changes: 2 * removalsPerBatch, bytes: 200 * removalsPerBatch })
    for (const change of removals(log, { ...stretch, end: stop })) this.#builder.write('bulk', change)
    this.#log = {
      ...log,
      stretches: log.stretches.flatMap((one) =>
        one !== stretch ? [one] : stop >= one.end ? [] : [{ ...one, first: stop }],
      ),
    }
    this.#builder.close(false)
    return true
  }

  /** The first stretch with files that lie before the complete baseline, and up to where. */
  #removableStretch({ stretches, segmentBytes }: Log): { stretch: Stretch; end: Lsn } | undefined {
    const { timeline: on, start } = this.#baselines
    const needed = stretches.findLastIndex((one) => one.timeline === on && one.first <= start)
    const first = stretches[0]
    if (needed < 0 || first === undefined) return undefined
    const end = needed > 0 ? first.end : walSegmentStart(start, segmentBytes)
    return end > first.first ? { stretch: first, end } : undefined
  }

  #historyFile(of: Timeline, { content }: TimelineHistory): Change {
    const extents: Extent[] = []
    for (let at = 0; at < content.length; at += inlineBytesMax) {
      const data = content.subarray(at, at + inlineBytesMax)
      extents.push({ at, bytes: data.length, data })
    }
    return {
      kind: 'put',
      path: historyPath(of),
      attributes: this.#attributes(0o600),
      content: { type: 'file', bytes: content.length, extents },
    }
  }

  #attributes(mode: number): Attributes {
    return { mode, uid: 0, gid: 0, modifiedNs: BigInt(this.#clock.now()) * 1000n, xattrs: [] }
  }

  #logState(): LogState | undefined {
    if (this.#log === undefined) return undefined
    const { appender, ...log } = this.#log
    return { ...log, ...appender.snapshot() }
  }
}

const folder = { type: 'directory' } as const

export const checkOf = ({ content }: TimelineHistory): number => crc32c(content, 0, content.length)

function resumedLog({ scanner, list, ...log }: LogState): Log {
  const last = log.stretches.at(-1)
  assert(last !== undefined, 'a log has a stretch')
  const place = { ...log, timeline: last.timeline, start: last.first }
  return { ...log, appender: WalAppender.resume(place, last.end, { scanner, list }) }
}

/** Of the segments that a stretch has, and of the lists of their commits. */
function* removals(
  { segmentBytes }: { segmentBytes: number },
  { timeline: on, first, end }: Stretch,
): Generator<Change> {
  for (let at = first; at < end; at = advanceLsn(at, segmentBytes)) {
    yield { kind: 'remove', path: walPath(on, at, segmentBytes) }
    yield { kind: 'remove', path: commitListPath(on, at, segmentBytes) as TreePath }
  }
}
