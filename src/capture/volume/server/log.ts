import { assert } from '../../../base/assert.ts'
import type { Random } from '../../../base/random.ts'
import { Wake } from '../../../base/wake.ts'
import {
  encodeRecords,
  encodeSegmentHeader,
  formatSegmentName,
  type RecordDraft,
  recordBytes,
  recordHeaderBytes,
  type RecordNumber,
  seedOf,
  segmentHeaderBytes,
} from '../../../format/volume-log.ts'
import { SegmentReader } from '../../../format/volume-log-reader.ts'
import type { Moment } from '../../../model/moment.ts'
import type { Id } from '../../../model/source.ts'
import type { LogAddress } from './block-layer.ts'
import type { LogFile, LogFolder } from './files.ts'
import { SegmentRegions } from './regions.ts'
import { isNoRoom, noRoom, orNoRoom, writeWhole } from './room.ts'

/** Addresses of two segments are so far apart; no segment is larger. */
const addressesOfSegment = 128 * 1024 ** 2
const spareName = 'spare'

export interface Segment {
  readonly index: number
  readonly first: RecordNumber
  readonly file: LogFile
  /** Absent: its records have not been looked at since the server started. */
  regions: SegmentRegions | undefined
  isSynced: boolean
  /** Reads that are under way. */
  reads: number
}

/** The one that is written. */
interface CurrentSegment {
  readonly segment: Segment
  readonly seed: number
  end: number
  isFull: boolean
}

export interface VolumeLogParts {
  readonly folder: LogFolder
  readonly volume: Id
  readonly random: Random
  readonly segmentBytes: number
}

export interface Appended {
  /** How many of the drafts are in the log; for the rest there is no room before there is a spare segment. */
  readonly count: number
  /** Where the payloads of writes are; of the others no use is made. */
  readonly addresses: readonly LogAddress[]
}

/**
 * The segments of a volume log, and the one that is written. Appending is synchronous and never waits for room: the next segment is
 * made ahead, as a spare file with its room set aside.
 */
export class VolumeLog {
  readonly #parts: VolumeLogParts
  readonly #segments: Segment[] = []
  readonly #byIndex = new Map<number, Segment>()
  #nextIndex = 1
  #spare: LogFile | undefined
  #current: CurrentSegment | undefined
  #last = 0
  #synced = 0
  #appendedBytes = 0
  #areNamesSynced = true
  readonly #syncEnded = new Wake()
  readonly #closing = new AbortController()

  constructor(parts: VolumeLogParts) {
    assert(parts.segmentBytes <= addressesOfSegment, 'segments are at most as large as the addresses they have')
    this.#parts = parts
  }

  get folder(): LogFolder {
    return this.#parts.folder
  }

  /** After the segments that were there have been adopted: `last` is the record before the next one, and durable. */
  goOnAfter(last: number): void {
    assert(this.#current === undefined, 'it is told once where a log goes on')
    this.#last = last
    this.#synced = last
  }

  get last(): RecordNumber {
    return this.#last as RecordNumber
  }

  /** Up to here it is durable. */
  get synced(): RecordNumber {
    return this.#synced as RecordNumber
  }

  /** Of the records that were written since the log was opened. */
  get appendedBytes(): number {
    return this.#appendedBytes
  }

  get segments(): readonly Segment[] {
    return this.#segments
  }

  get hasSpare(): boolean {
    return this.#spare !== undefined
  }

  get bytes(): number {
    return this.#segments.reduce((sum, { file }) => sum + file.bytes, this.#spare?.bytes ?? 0)
  }

  /** A segment that was there before: it is only read. */
  adopt(first: RecordNumber, file: LogFile, regions: SegmentRegions | undefined): Segment {
    return this.#add({ first, file, regions, isSynced: true })
  }

  /** The segment adopted last is none of them after all. */
  disown(): void {
    const segment = this.#segments.pop()
    if (segment !== undefined) this.#byIndex.delete(segment.index)
  }

  #add(facts: Omit<Segment, 'index' | 'reads'>): Segment {
    const segment = { ...facts, index: this.#nextIndex++, reads: 0 }
    this.#segments.push(segment)
    this.#byIndex.set(segment.index, segment)
    return segment
  }

  /** The last record of a segment. */
  lastOf(segment: Segment): number {
    const next = this.#segments[this.#segments.indexOf(segment) + 1]
    return next === undefined ? this.#last : next.first - 1
  }

  static addressOf(segment: Segment, position: number): LogAddress {
    return segment.index * addressesOfSegment + position
  }

  place(address: LogAddress): { readonly segment: Segment; readonly position: number } {
    const index = Math.floor(address / addressesOfSegment)
    const segment = this.#byIndex.get(index)
    assert(segment !== undefined, 'a segment stays while blocks of it are pending')
    return { segment, position: address - index * addressesOfSegment }
  }

  append(drafts: readonly RecordDraft[], place: { readonly epoch: number; readonly moment: Moment }): Appended {
    const addresses: LogAddress[] = []
    let count = 0
    while (count < drafts.length) {
      const current = this.#current
      const fits = current === undefined ? count : fitting(current, drafts, count)
      if (current !== undefined && fits > count) {
        count += this.#write(current, drafts.slice(count, fits), place.moment, addresses)
        // There is less room than was set aside: the same place is tried again later.
        if (count < fits && !current.isFull) break
      } else if (!this.#beginSegment(place.epoch)) {
        break
      }
    }
    return { count, addresses }
  }

  #write(current: CurrentSegment, drafts: readonly RecordDraft[], moment: Moment, addresses: LogAddress[]): number {
    const { segment, seed, end } = current
    const parts = encodeRecords(drafts, { seed, number: this.#last + 1, moment, synced: this.#synced })
    segment.isSynced = false
    const written = segment.file.write(parts, end)
    let count = 0
    for (const draft of drafts) {
      const bytes = recordBytes(draft)
      if (current.end + bytes > end + written) break
      addresses.push(VolumeLog.addressOf(segment, current.end + recordHeaderBytes))
      segment.regions?.add(draft)
      current.end += bytes
      count++
    }
    // The room had been set aside; a file system may break its word. Records that are whole count, the rest goes to the next segment;
    // not before there is a record in this one, since the next one would have its name.
    if (count < drafts.length) current.isFull = current.end > segmentHeaderBytes
    this.#last += count
    this.#appendedBytes += current.end - end
    return count
  }

  #beginSegment(epoch: number): boolean {
    const file = this.#spare
    if (file === undefined) return false
    const { volume, random } = this.#parts
    const first = (this.#last + 1) as RecordNumber
    const header = { volume, epoch, first, salt: random.bytes(16) }
    if (file.write([encodeSegmentHeader(header)], 0) < segmentHeaderBytes) return false
    if (!this.#renamed(spareName, formatSegmentName(first))) return false
    this.#spare = undefined
    this.#current?.segment.regions?.seal()
    const segment = this.#add({ first, file, regions: new SegmentRegions(), isSynced: false })
    this.#current = { segment, seed: seedOf(header), end: segmentHeaderBytes, isFull: false }
    return true
  }

  /** False where there is no room: on some file systems a name takes some, too. */
  #renamed(from: string, to: string): boolean {
    try {
      this.#parts.folder.rename(from, to)
    } catch (error) {
      if (isNoRoom(error)) return false
      throw error
    }
    this.#areNamesSynced = false
    return true
  }

  /** Makes durable what is in the log now. An error is final: what the system has dropped is not written by another try. */
  async sync(): Promise<void> {
    const target = this.#last
    const unsynced = this.#segments.filter(({ isSynced }) => !isSynced)
    for (const segment of unsynced) segment.isSynced = true
    const areNamesSynced = this.#areNamesSynced
    this.#areNamesSynced = true
    for (const { file } of unsynced) await file.sync()
    if (!areNamesSynced) await this.#parts.folder.syncNames()
    this.#synced = target
    this.#syncEnded.wake()
  }

  /** Resolves when who syncs has come so far. */
  async untilSynced(number: number): Promise<void> {
    while (this.#synced < number) await this.#syncEnded.wait(this.#closing.signal)
  }

  /**
   * Takes the spare file over that is there, if one is and it is as large as they are now. It may have been a segment whose name a power
   * cut took back: of the same first number as the next one perhaps, so its header goes before it is used.
   */
  async adoptSpare(): Promise<void> {
    const file = await this.#parts.folder.open(spareName)
    if (file?.bytes === this.#parts.segmentBytes) {
      writeWhole(file, Buffer.alloc(segmentHeaderBytes), 0)
      await orNoRoom(() => file.sync())
      this.#spare = file
    } else if (file !== undefined) {
      await file.close()
      await this.#parts.folder.remove(spareName)
    }
  }

  /** Makes a spare file. False where there is no room for it. */
  async makeSpare(): Promise<boolean> {
    assert(this.#spare === undefined, 'there is one spare segment')
    try {
      this.#spare = await this.#parts.folder.create(spareName, this.#parts.segmentBytes)
      return true
    } catch (error) {
      if (isNoRoom(error)) return false
      throw error
    }
  }

  /**
   * Lets the oldest segment go if all its records are at most `upTo`, which has been noted durably. Its file becomes the spare one, so
   * that the room stays with the log, or is removed where there is a spare one; `no-space` where it finds no room for its new name.
   */
  async recycle(upTo: number): Promise<boolean> {
    const oldest = this.#segments[0]
    if (oldest === undefined || oldest === this.#current?.segment || oldest.reads > 0) return false
    if (this.lastOf(oldest) > upTo || !oldest.isSynced) return false
    const name = formatSegmentName(oldest.first)
    const isSpare = this.#spare === undefined && oldest.file.bytes === this.#parts.segmentBytes
    if (isSpare && !this.#renamed(name, spareName)) throw noRoom()
    this.#segments.shift()
    this.#byIndex.delete(oldest.index)
    if (isSpare) {
      this.#spare = oldest.file
    } else {
      await oldest.file.close()
      await orNoRoom(() => this.#parts.folder.remove(name))
    }
    return true
  }

  /** Looks into a segment for the regions that it changed; it stays meanwhile. Damage in it throws. */
  async learnRegions(segment: Segment): Promise<void> {
    segment.reads++
    try {
      segment.regions = await this.#readRegions(segment)
    } finally {
      segment.reads--
    }
  }

  async #readRegions(segment: Segment): Promise<SegmentRegions> {
    const last = this.lastOf(segment)
    const reader = await SegmentReader.open(this.#parts.folder, segment.first)
    assert(reader !== undefined, 'a segment stays while it is read')
    await using open = reader
    const regions = new SegmentRegions()
    for (let next: number = segment.first; next <= last;) {
      const records = await open.read(next, last)
      for (const record of records) regions.add(record)
      if (records.length === 0) throw open.damaged(`record ${next} does not verify`)
      next += records.length
    }
    regions.seal()
    return regions
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the log is closed'))
    for (const { file } of this.#segments) await file.close()
    await this.#spare?.close()
  }
}

/** The draft before which the segment is full. */
function fitting({ segment, end, isFull }: CurrentSegment, drafts: readonly RecordDraft[], from: number): number {
  if (isFull) return from
  let room = segment.file.bytes - end
  let index = from
  for (; index < drafts.length; index++) {
    room -= recordBytes(drafts[index] as RecordDraft)
    if (room < 0) break
  }
  return index
}
