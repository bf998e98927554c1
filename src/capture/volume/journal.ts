import { assert, unreachable } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { Chunk } from '../../format/block.ts'
import type { VolumeRecord } from '../../format/volume-log.ts'
import { diskPath } from '../../format/volume-tree.ts'
import { inlineBytesMax } from '../../model/batch.ts'
import type { Attributes, Change, Extent, Mark, Range, SuspectReason } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import { Acknowledgements } from '../acknowledgements.ts'
import { BatchBuilder, type Lane } from '../batch-builder.ts'
import type { CapturedBatch } from '../capture.ts'
import { type Copy, type Cursor, encodeCursor, type LogPlace, type Place } from './cursor.ts'
import { Healing } from './healing.ts'

/** Of one change, over its data. */
const changeBytes = 128
const markBytes = 8192

type WriteRecord = Extract<VolumeRecord, { kind: 'write' }>

export interface JournalParts {
  readonly cursor: Cursor
  readonly sequence: Sequence
  /** At random. */
  readonly session: number
  readonly clock: Clock
  readonly hand: (batch: CapturedBatch) => void
}

/** What replaces a part of the disk. */
export interface Patch {
  readonly extents: Extent[]
  readonly zeros: Range[]
  readonly chunks: readonly Chunk[]
}

/**
 * The journal's end as the capture writes it: what its disk holds so far, and the batch that is being made. A change has the
 * moment of its record; what is no record (copied regions, marks of ours) has the newest moment up to which all records are
 * in the journal, so that records which follow keep theirs.
 */
export class Journal {
  readonly acknowledgements = new Acknowledgements<LogPlace>()
  readonly healing = new Healing()
  readonly #clock: Clock
  readonly #builder: BatchBuilder
  #place: Place | undefined
  /** Stamps the changes that are being written. */
  #at: Moment
  #coveredUpTo: Moment
  #isWithinRecord = false

  constructor({ cursor, sequence, session, clock, hand }: JournalParts) {
    this.#clock = clock
    this.#place = cursor.place
    this.#at = cursor.moment
    this.#coveredUpTo = cursor.moment
    if (this.#place !== undefined) this.acknowledgements.handed(sequence, placeOf(this.#place))
    this.#builder = new BatchBuilder({
      clock: { now: () => this.#at },
      sequence,
      moment: cursor.moment,
      cursor: (at) => encodeCursor({ moment: at, session, place: this.#place }),
      hand: (batch) => {
        if (this.#place !== undefined) this.acknowledgements.handed(batch.last, placeOf(this.#place))
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

  get hasBegun(): boolean {
    return this.#place !== undefined
  }

  get place(): Place {
    assert(this.#place !== undefined, 'a journal has been begun')
    return this.#place
  }

  /** The last record of which anything is in the journal. */
  get number(): number {
    return this.place.number + (this.#isWithinRecord ? 1 : 0)
  }

  get isWithinRecord(): boolean {
    return this.#isWithinRecord
  }

  /** The disk in it is the volume as it stood after the last record. */
  get isExact(): boolean {
    return this.#place !== undefined && this.#place.suspect === undefined && this.#place.awaySince === 0
  }

  /** Every record with an earlier moment is in the journal. */
  covered(upTo: Moment): void {
    this.#coveredUpTo = upTo
  }

  // The log

  /** The first changes of a journal: a disk of zeros, onto which the volume is to be copied. */
  begin(at: LogPlace, bytes: number): void {
    assert(this.#place === undefined, 'a journal is begun once')
    this.#coveredUpTo = moment(Math.max(this.#clock.now(), this.#coveredUpTo))
    this.#builder.begin('live', { changes: 2, bytes: markBytes })
    const copy = { at: 0, isOntoZeros: true }
    const compared = moment(this.#clock.now())
    this.#place = { ...at, bytes, suspect: 'baseline', copy, compared, recorded: moment(0), awaySince: moment(0) }
    const content = { type: 'file', bytes, extents: [] } as const
    this.#write('live', { kind: 'put', path: diskPath, attributes: this.#attributes(), content })
    this.#mark({ type: 'suspect', reason: 'baseline' })
    this.#builder.close(false)
  }

  /** What happened from `since` on until the log that is left begins is not in the journal, but in the volume. */
  gap(at: LogPlace, lost: { readonly since: Moment; readonly why: string; readonly isAllInDoubt: boolean }): void {
    const { copy, bytes, compared, awaySince } = this.place
    assert(!this.#isWithinRecord, 'a gap lies between two records')
    const from = lost.isAllInDoubt ? 0 : copy?.at
    const reason: SuspectReason = lost.isAllInDoubt ? 'start' : 'spool-full'
    this.#builder.begin('live', { changes: 2, bytes: 2 * markBytes })
    this.#place = {
      ...at,
      bytes,
      suspect: this.place.suspect ?? reason,
      copy: from === undefined ? undefined : { at: from, isOntoZeros: false },
      compared: lost.isAllInDoubt ? moment(this.#clock.now()) : compared,
      recorded: moment(0),
      awaySince,
    }
    this.#mark({ type: 'hole', since: lost.since, reason: lost.why })
    this.#mark({ type: 'suspect', reason })
    this.#builder.close(false)
  }

  /** All but the last change of a write that is longer than one may be. The cursor stays before the record until `take`. */
  *pieces({ at, data, moment: when }: WriteRecord): Generator<void> {
    const end = data.length - lastPieceBytes(data.length)
    for (let from = 0; from < end; from += inlineBytesMax) {
      this.#isWithinRecord = true
      const piece = data.subarray(from, from + inlineBytesMax)
      this.#write('live', { kind: 'write', path: diskPath, at: at + from, data: piece }, when)
      yield
    }
  }

  /** The record that follows the last one; of a long write, what `pieces` has left. `isAsked`: who asked for the mark waits for it. */
  take(record: VolumeRecord, isAsked = false): void {
    const { moment: when } = record
    assert(record.number === this.place.number + 1, `record ${record.number} follows ${this.place.number}`)
    switch (record.kind) {
      case 'write': {
        const data = record.data.subarray(record.data.length - lastPieceBytes(record.data.length))
        const at = record.at + record.data.length - data.length
        this.#step(record, { changes: 2, bytes: data.length + 2 * changeBytes })
        this.#write('live', { kind: 'write', path: diskPath, at, data }, when)
        return record.isForced ? this.#mark({ type: 'flush' }, when) : undefined
      }
      case 'zero':
      case 'trim':
        this.#step(record, { changes: 2, bytes: 2 * changeBytes })
        this.#write('live', { kind: 'zero', path: diskPath, at: record.at, bytes: record.bytes }, when)
        return record.isForced ? this.#mark({ type: 'flush' }, when) : undefined
      case 'flush':
        this.#step(record, { changes: 1, bytes: changeBytes })
        return this.#mark({ type: 'flush' }, when)
      case 'mark':
        this.#step(record, { changes: 1, bytes: markBytes })
        if (!isAsked) return this.#mark({ type: 'user', label: record.label }, when)
        this.#at = when
        return this.#builder.userMark(record.tag, record.label)
      case 'resize':
        this.#step(record, { changes: 2, bytes: markBytes })
        return this.#grow(record.bytes)
      default:
        return unreachable(record)
    }
  }

  /** What is left of a record that was begun is not to come in this conversation: it is begun again. */
  interrupted(): void {
    this.#isWithinRecord = false
  }

  /** What the volume has grown by is to be copied: it may hold anything. It never shrinks. */
  #grow(bytes: number): void {
    const { bytes: before, copy, suspect } = this.place
    if (bytes <= before) return
    const grown: Copy = copy ?? { at: before, isOntoZeros: true }
    this.#place = { ...this.place, bytes, copy: grown, suspect: suspect ?? 'start' }
    this.#write('live', { kind: 'truncate', path: diskPath, bytes })
    if (suspect === undefined) this.#mark({ type: 'suspect', reason: 'start' })
  }

  /** The volume is found to be so large. */
  grownTo(bytes: number): void {
    if (bytes <= this.place.bytes) return
    this.#builder.begin('live', { changes: 2, bytes: markBytes })
    this.#grow(bytes)
    this.#builder.close(false)
  }

  #step({ number, moment: recorded }: VolumeRecord, needed: { changes: number; bytes: number }): void {
    this.#builder.begin('live', needed)
    this.#place = { ...this.place, number, recorded }
    this.#isWithinRecord = false
  }

  // Copies

  /** Everything is to be copied, whatever the journal holds. */
  beginCopy(): void {
    this.#builder.close(false)
    const compared = moment(this.#clock.now())
    this.#place = { ...this.place, copy: { at: 0, isOntoZeros: false }, compared }
  }

  /** `upTo`: the copy of the whole volume has come so far with it. */
  patch({ extents, zeros, chunks }: Patch, upTo: number | undefined): void {
    const { bytes } = this.place
    this.#builder.begin('bulk', { changes: 1, bytes: changeBytes + extents.length * 64 + zeros.length * 32 })
    if (upTo !== undefined) this.copiedTo(upTo)
    const change: Change = { kind: 'patch', path: diskPath, attributes: this.#attributes(), bytes, extents, zeros }
    this.#write('bulk', change, this.#coveredUpTo, chunks)
  }

  /** The copy has come so far with what is written already. */
  copiedTo(upTo: number): void {
    const { copy } = this.place
    if (copy !== undefined) this.#place = { ...this.place, copy: { ...copy, at: upTo } }
  }

  /** All that was in doubt has been copied. `isSettled` where no more is known of the volume. */
  complete(isSettled: boolean): void {
    assert(!this.#isWithinRecord, 'a journal is complete between two records')
    const { suspect, copy } = this.place
    if (suspect === undefined && copy === undefined) return this.#builder.close(isSettled)
    this.#builder.begin('live', { changes: 1, bytes: markBytes })
    this.#place = { ...this.place, suspect: undefined, copy: undefined }
    // What a mirror has written elsewhere is still to come.
    if (this.place.awaySince === 0) this.#mark({ type: 'complete', reason: suspect ?? 'request' })
    this.#builder.close(isSettled && this.isExact)
  }

  // Mirrors

  /** The mirror that the volume is a leg of goes on without it: what is in the journal from here on is behind the mirror. */
  legWent(since: Moment): void {
    this.#builder.begin('live', { changes: 1, bytes: markBytes })
    this.#place = { ...this.place, awaySince: since }
    this.#mark({ type: 'suspect', reason: 'mirror' })
    this.#builder.close(false)
  }

  /** The leg has all that the mirror had written up to `at`, and so has the journal; in between the volume was in states that the mirror never had. */
  legCame(at: Moment, isSettled: boolean): void {
    assert(!this.#isWithinRecord, 'a leg is whole between two records')
    const { awaySince, suspect } = this.place
    this.#builder.begin('live', { changes: 2, bytes: 2 * markBytes })
    this.#place = { ...this.place, awaySince: moment(0) }
    this.#mark({ type: 'hole', since: awaySince, reason: 'the mirror went on without this leg' }, at)
    if (suspect === undefined) this.#mark({ type: 'complete', reason: 'mirror' }, at)
    this.#builder.close(isSettled && this.isExact)
  }

  // Marks

  /** The agent lost what it had been given. The log is taken again from before that, so that only moments are inexact. */
  hole(since: Moment, reason: string): void {
    this.#mark({ type: 'hole', since, reason })
    if (this.isExact) this.#mark({ type: 'complete', reason: 'spool-full' })
    this.#builder.close(false)
  }

  /** `isSettled` where no more is known of the volume. */
  close(isSettled: boolean): void {
    this.#builder.close(isSettled && this.isExact && !this.#isWithinRecord)
  }

  #write(lane: Lane, change: Change, at = this.#coveredUpTo, chunks: readonly Chunk[] = []): void {
    this.#at = at
    this.#builder.write(lane, change, chunks)
  }

  #mark(mark: Mark, at?: Moment): void {
    this.#write('live', { kind: 'mark', mark }, at)
  }

  #attributes(): Attributes {
    return { mode: 0o600, uid: 0, gid: 0, modifiedNs: BigInt(this.#coveredUpTo) * 1000n, xattrs: [] }
  }
}

const lastPieceBytes = (bytes: number): number => bytes % inlineBytesMax || Math.min(bytes, inlineBytesMax)
const placeOf = ({ epoch, number }: Place): LogPlace => ({ epoch, number })
