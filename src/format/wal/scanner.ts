import { ByteReader, ByteWriter, Malformed } from '../../base/bytes.ts'
import { crc32c } from '../../base/crc32c.ts'
import { formatLsn, type Lsn, lsn } from '../../model/lsn.ts'
import type { WalEvent } from './events.ts'
import {
  continues,
  longHeader,
  longHeaderBytes,
  majorOfMagic,
  overwritesContinuation,
  pageBytes,
  pageFlags,
  recordBytesMax,
  recordChecksumAt,
  recordHeaderBytes,
  shortHeaderBytes,
} from './page.ts'
import { operationOf, readManagerMax, RecordBody } from './record-body.ts'

export interface WalScanStart {
  /** The LSN of the first byte that will be given. Records that began before it are passed over. */
  readonly start: Lsn
  /** A power of two, from 1 MiB to 1 GiB. */
  readonly segmentBytes: number
  /** A record is known to start at `start`; else what stands before the next page is passed over. */
  readonly startsRecord?: boolean
  /** The major version of the server; else what the first page says. */
  readonly major?: number
  /** The cluster whose WAL this is; else what the first segment that begins says. */
  readonly systemIdentifier?: bigint
  /** Whether the checksum of every record is verified, which costs more than all else. */
  readonly checksums?: boolean
}

/**
 * Why no more records follow:
 *   `exhausted`   the bytes given end where a record may start
 *   `unfinished`  the bytes given end inside a record
 *   `blank`       zeros: nothing has been written here yet
 *   `recycled`    what stands here is older WAL: a page of another place, or a record that does not follow the one before
 *   `torn`        a record does not go on where it should, as after a crash
 *   `foreign`     WAL of another cluster, version or segment size, or no WAL at all
 *   `damaged`     a record whose checksum is wrong, or that does not hold what records of its kind do
 */
export type WalEndReason = 'exhausted' | 'unfinished' | 'blank' | 'recycled' | 'torn' | 'foreign' | 'damaged'

export interface WalEnd {
  readonly reason: WalEndReason
  /** Where valid WAL ends: all records that start before have been read whole. */
  readonly end: Lsn
  /** Where it was seen. */
  readonly seen: Lsn
  /** A clause for a person: what was found. */
  readonly found: string
}

const snapshotVersion = 1
const flagBits = { synced: 1, inRecord: 2, known: 4, followed: 8, checksums: 16 }
const unknownPrevious = -1

/**
 * Finds the transactions in WAL as it streams by: hops from record to record by their lengths and looks inside only where
 * something is told. One scanner reads one timeline; a segment that a promotion has copied holds pages of the one before too.
 *
 * All bytes from `start` on are given to `push` in order, in pieces of any size. Memory is bounded whatever the bytes are: of a
 * record only its header and `RecordBody`'s few fields are kept. `snapshot` is the whole state.
 */
export class WalScanner {
  readonly #segmentBytes: number
  readonly #checksums: boolean
  #major: number
  #systemIdentifier: bigint
  #timeline = 0
  /** The LSN of the next byte. */
  #position: number
  /** Bytes before this LSN are passed over: padding, the rest of a switched segment, what stands before the first page. */
  #skipTo: number
  /** Whether it is known where records start. */
  #synced: boolean
  /** Where the last whole record started. */
  #previous = unknownPrevious
  #end: WalEnd | undefined = undefined

  /** A page header that was cut; as much as `#position` is inside the page. */
  readonly #page = Buffer.alloc(longHeaderBytes)
  readonly #pageView = viewOf(this.#page)

  /** The record that `#position` is inside of. */
  #inRecord = false
  #recordStart = 0
  /** False of a record that began before the scan: only how much of it is left is known. */
  #known = false
  /** Whether its body is read, not passed over. */
  #followed = false
  readonly #header = Buffer.alloc(recordHeaderBytes)
  readonly #headerView = viewOf(this.#header)
  #headerHave = 0
  #recordBytes = 0
  /** Bytes of it that are still to come. */
  #recordLeft = 0
  #checksum = 0
  readonly #body = new RecordBody()

  constructor({ start, segmentBytes, startsRecord, major, systemIdentifier, checksums }: WalScanStart) {
    if (!isSegmentBytes(segmentBytes)) throw new Malformed(`WAL segments of ${segmentBytes} bytes`)
    this.#segmentBytes = segmentBytes
    this.#checksums = checksums ?? false
    this.#major = major ?? 0
    this.#systemIdentifier = systemIdentifier ?? 0n
    this.#position = start
    const inPage = start % pageBytes
    this.#synced = startsRecord === true && inPage > 0
    if (this.#synced && (inPage < this.#pageHeaderBytes(start - inPage) || start % 8 !== 0)) {
      throw new Malformed(`no record starts at ${formatLsn(start)}`)
    }
    this.#skipTo = this.#synced || inPage === 0 ? start : start - inPage + pageBytes
  }

  /** The LSN that the next bytes have to have. */
  get position(): Lsn {
    return this.#position as Lsn
  }

  get segmentBytes(): number {
    return this.#segmentBytes
  }

  /** The major version of the server, once a page was seen or where it was given. */
  get major(): number | undefined {
    return this.#major === 0 ? undefined : this.#major
  }

  get systemIdentifier(): bigint | undefined {
    return this.#systemIdentifier === 0n ? undefined : this.#systemIdentifier
  }

  /** The timeline of the last page seen. */
  get timeline(): number | undefined {
    return this.#timeline === 0 ? undefined : this.#timeline
  }

  /** Set once what was given is no valid WAL any more; everything that follows is then ignored. */
  get ended(): WalEnd | undefined {
    return this.#end
  }

  /** Where valid WAL ends if nothing more comes. */
  ending(): WalEnd {
    if (this.#end !== undefined) return this.#end
    const seen = this.#position as Lsn
    const end = this.#validEnd()
    return this.#inRecord || !this.#synced
      ? { reason: 'unfinished', end, seen, found: 'the bytes end inside a record' }
      : { reason: 'exhausted', end, seen, found: 'no more bytes' }
  }

  /** The events of the records that end in these bytes. `Malformed` where the bytes do not follow the ones before. */
  push(bytes: Uint8Array, at: Lsn): WalEvent[] {
    const events: WalEvent[] = []
    if (this.#end !== undefined) return events
    if (at !== this.#position) {
      throw new Malformed(`WAL of ${formatLsn(at)} where ${formatLsn(this.position)} comes next`)
    }
    const view = viewOf(bytes)
    let index = 0
    while (index < bytes.length && this.#end === undefined) {
      const here = at + index
      if (here < this.#skipTo) {
        index += Math.min(this.#skipTo - here, bytes.length - index)
        continue
      }
      const inPage = here % pageBytes
      const headerBytes = this.#pageHeaderBytes(here - inPage)
      if (inPage < headerBytes) {
        index = this.#takePageHeader(bytes, view, index, { inPage, headerBytes, pageStart: here - inPage })
      } else {
        index = this.#takeRecords(bytes, view, index, Math.min(bytes.length, index + pageBytes - inPage), at, events)
      }
    }
    this.#position = at + bytes.length
    return events
  }

  #pageHeaderBytes(pageStart: number): number {
    return pageStart % this.#segmentBytes === 0 ? longHeaderBytes : shortHeaderBytes
  }

  #takePageHeader(
    bytes: Uint8Array,
    view: DataView,
    index: number,
    { inPage, headerBytes, pageStart }: { inPage: number; headerBytes: number; pageStart: number },
  ): number {
    const count = Math.min(headerBytes - inPage, bytes.length - index)
    if (count === headerBytes) this.#readPageHeader(view, index, headerBytes, pageStart)
    else {
      this.#page.set(bytes.subarray(index, index + count), inPage)
      if (inPage + count === headerBytes) this.#readPageHeader(this.#pageView, 0, headerBytes, pageStart)
    }
    return index + count
  }

  #readPageHeader(view: DataView, at: number, headerBytes: number, pageStart: number): void {
    const wrong = (reason: WalEndReason, found: string) =>
      this.#finish(reason, pageStart, `${found} in the page header`)
    const magic = view.getUint16(at, true)
    const flags = view.getUint16(at + 2, true)
    const timeline = view.getUint32(at + 4, true)
    if (magic === 0 && flags === 0 && timeline === 0) return wrong('blank', 'zeros')
    const major = majorOfMagic(magic)
    if (major === undefined) return wrong('foreign', `unknown magic ${magic.toString(16)}`)
    if (this.#major !== 0 && major !== this.#major) return wrong('foreign', `version ${major} after ${this.#major}`)
    const address = u64(view, at + 8)
    if (address !== pageStart) return wrong('recycled', `the address ${hex(address)}`)
    if ((flags & ~pageFlags) !== 0) return wrong('damaged', `flags ${flags.toString(16)}`)
    if (timeline < Math.max(1, this.#timeline)) return wrong('recycled', `timeline ${timeline} after ${this.#timeline}`)
    if (((flags & longHeader) !== 0) !== (headerBytes === longHeaderBytes)) {
      return wrong(
        'foreign',
        `the start of a segment where segments have ${this.#segmentBytes} bytes, or none where one starts`,
      )
    }
    if (headerBytes === longHeaderBytes && !this.#readLongHeader(view, at, wrong)) return
    this.#major = major
    this.#timeline = timeline
    this.#readContinuation(flags, view.getUint32(at + 16, true), wrong)
  }

  #readLongHeader(view: DataView, at: number, wrong: (reason: WalEndReason, found: string) => void): boolean {
    const cluster = view.getBigUint64(at + 24, true)
    const segmentBytes = view.getUint32(at + 32, true)
    const blockBytes = view.getUint32(at + 36, true)
    if (this.#systemIdentifier !== 0n && cluster !== this.#systemIdentifier) {
      wrong('foreign', `the system identifier ${cluster} instead of ${this.#systemIdentifier}`)
    } else if (segmentBytes !== this.#segmentBytes) wrong('foreign', `segments of ${segmentBytes} bytes`)
    else if (blockBytes !== pageBytes) wrong('foreign', `pages of ${blockBytes} bytes`)
    else {
      this.#systemIdentifier = cluster
      return true
    }
    return false
  }

  #readContinuation(flags: number, left: number, wrong: (reason: WalEndReason, found: string) => void): void {
    if ((flags & continues) === 0) {
      if (this.#inRecord && (flags & overwritesContinuation) === 0) return wrong('torn', 'no rest of the record before')
      this.#inRecord = false
      this.#synced = true
    } else if (left === 0 || left > recordBytesMax) wrong('damaged', `a rest of ${left} bytes`)
    else if (this.#inRecord) {
      if (left !== this.#recordLeft) wrong('torn', `a rest of ${left} bytes where ${this.#recordLeft} are missing`)
    } else if (this.#synced) wrong('torn', 'the rest of a record where none is open')
    else {
      this.#inRecord = true
      this.#known = false
      this.#followed = false
      this.#recordLeft = left
    }
  }

  /** Records and parts of records from `index` up to `stop`, which is the end of the page or of the piece. */
  #takeRecords(bytes: Uint8Array, view: DataView, start: number, stop: number, at: number, events: WalEvent[]): number {
    let index = start
    if (this.#inRecord) index = this.#continueRecord(bytes, index, stop, at, events)
    const checksums = this.#checksums
    let previous = this.#previous
    while (stop - index >= recordHeaderBytes && this.#end === undefined && at + index >= this.#skipTo) {
      const total = view.getUint32(index, true)
      if (total > stop - index) break
      const here = at + index
      if (!this.#checkHeader(view, index, here, total, previous)) return index
      const manager = bytes[index + 17] as number
      if (checksums || manager <= readManagerMax) {
        this.#previous = previous
        this.#beginRecord(here)
        index = this.#continueRecord(bytes, index, stop, at, events)
        previous = this.#previous
      } else {
        previous = here
        index += (total + 7) & ~7
      }
    }
    this.#previous = previous
    if (index > stop) {
      this.#skipTo = at + index
      return stop
    }
    if (index === stop || this.#end !== undefined || at + index < this.#skipTo) return index
    this.#beginRecord(at + index)
    return this.#continueRecord(bytes, index, stop, at, events)
  }

  #beginRecord(start: number): void {
    this.#inRecord = true
    this.#known = true
    this.#followed = false
    this.#recordStart = start
    this.#headerHave = 0
    this.#recordBytes = 0
    this.#recordLeft = recordHeaderBytes
    this.#checksum = 0
  }

  /** The next bytes of the open record. */
  #continueRecord(bytes: Uint8Array, start: number, stop: number, at: number, events: WalEvent[]): number {
    let index = start
    if (this.#known && this.#headerHave < recordHeaderBytes) {
      const count = Math.min(recordHeaderBytes - this.#headerHave, stop - index)
      for (let each = 0; each < count; each++) this.#header[this.#headerHave + each] = bytes[index + each] as number
      this.#headerHave += count
      index += count
      if (!this.#readRecordHeader()) return index
    }
    const count = Math.min(this.#recordLeft, stop - index)
    if (this.#known && this.#headerHave === recordHeaderBytes && count > 0)
      this.#followBody(bytes, index, index + count)
    if (this.#headerHave === recordHeaderBytes || !this.#known) {
      this.#recordLeft -= count
      index += count
      if (this.#recordLeft === 0 && this.#end === undefined) this.#finishRecord(at + index, events)
    }
    return index
  }

  /** What has come of the header; false where it is none. */
  #readRecordHeader(): boolean {
    if (this.#headerHave < 4) return true
    const view = this.#headerView
    const total = view.getUint32(0, true)
    if (this.#headerHave < recordHeaderBytes) {
      this.#recordBytes = total
      this.#recordLeft = total - this.#headerHave
      return this.#checkLength(total, this.#recordStart)
    }
    if (!this.#checkHeader(view, 0, this.#recordStart, total, this.#previous)) return false
    this.#recordBytes = total
    this.#recordLeft = total - recordHeaderBytes
    const flags = this.#header[16] as number
    const operation = operationOf(this.#header[17] as number, flags)
    this.#followed = operation !== undefined
    if (operation !== undefined)
      this.#body.begin(operation, { major: this.#major, xid: view.getUint32(4, true), flags })
    return true
  }

  #followBody(bytes: Uint8Array, start: number, end: number): void {
    if (this.#checksums) this.#checksum = crc32c(bytes, start, end, this.#checksum)
    if (!this.#followed) return
    try {
      this.#body.feed(bytes, start, end)
    } catch (error) {
      this.#finishMalformed(error)
    }
  }

  #finishRecord(end: number, events: WalEvent[]): void {
    const next = end + ((8 - (end % 8)) % 8)
    this.#skipTo = Math.max(this.#skipTo, next)
    if (!this.#known) {
      this.#inRecord = false
      this.#synced = true
      return
    }
    if (this.#checksums && !this.#checksumIsRight()) {
      return this.#finish('damaged', this.#recordStart, `a wrong checksum of the record of ${this.#recordBytes} bytes`)
    }
    if (this.#followed) {
      if (this.#body.operation === 'segment-switch') {
        this.#skipTo = Math.ceil(next / this.#segmentBytes) * this.#segmentBytes
      }
      try {
        events.push(this.#body.finish({ start: this.#recordStart as Lsn, end: this.#skipTo as Lsn }))
      } catch (error) {
        return this.#finishMalformed(error)
      }
    }
    this.#inRecord = false
    this.#previous = this.#recordStart
  }

  #checksumIsRight(): boolean {
    return (
      crc32c(this.#header, 0, recordChecksumAt, this.#checksum) === this.#headerView.getUint32(recordChecksumAt, true)
    )
  }

  #checkHeader(view: DataView, at: number, start: number, total: number, previous: number): boolean {
    if (total < recordHeaderBytes || total > recordBytesMax) return this.#checkLength(total, start)
    const link = view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * 0x1_0000_0000
    if (link === previous || (previous === unknownPrevious && link < start)) return true
    const expected = previous === unknownPrevious ? 'one before it' : hex(previous)
    this.#finish('recycled', start, `a record that follows the one at ${hex(link)} instead of ${expected}`)
    return false
  }

  #checkLength(total: number, start: number): boolean {
    if (total >= recordHeaderBytes && total <= recordBytesMax) return true
    if (total === 0) this.#finish('blank', start, 'zeros instead of a record')
    else this.#finish('recycled', start, `a record of ${total} bytes`)
    return false
  }

  #finishMalformed(error: unknown): void {
    if (!(error instanceof Malformed)) throw error
    this.#finish('damaged', this.#recordStart, error.message)
  }

  #finish(reason: WalEndReason, seen: number, found: string): void {
    this.#end = { reason, end: this.#validEnd(Math.max(seen, this.#skipTo)), seen: seen as Lsn, found }
  }

  #validEnd(seen = Math.max(this.#position, this.#skipTo)): Lsn {
    return (this.#inRecord && this.#known ? this.#recordStart : seen) as Lsn
  }

  /**
   * All that is needed to go on at `position` as if nothing had happened; below 1 KiB. Not of a scanner that has ended: `Malformed`.
   *
   *   u8 version 1, u8 flags (1 synced, 2 in a record, 4 its start was seen, 8 its body is read, 16 checksums)
   *   u8 major, u32 bytes of a segment, i64 system identifier, u32 timeline; 0 where not known
   *   varint position, varint LSN up to which bytes are passed over, varint start of the last whole record + 1, 0 where not known
   *   bytes what has come of a page header that is cut at the position
   *   in a record: varint bytes left; if its start was seen: varint start, bytes header, u32 checksum; if its body is read, RecordBody
   */
  snapshot(): Uint8Array {
    if (this.#end !== undefined) throw new Malformed('no snapshot of WAL that has ended')
    const writer = new ByteWriter()
    const flags =
      (this.#synced ? flagBits.synced : 0) |
      (this.#inRecord ? flagBits.inRecord : 0) |
      (this.#inRecord && this.#known ? flagBits.known : 0) |
      (this.#inRecord && this.#followed ? flagBits.followed : 0) |
      (this.#checksums ? flagBits.checksums : 0)
    writer.u8(snapshotVersion).u8(flags).u8(this.#major).u32(this.#segmentBytes)
    writer.i64(BigInt.asIntN(64, this.#systemIdentifier)).u32(this.#timeline)
    writer
      .varint(this.#position)
      .varint(this.#skipTo)
      .varint(this.#previous + 1)
    writer.bytes(this.#page.subarray(0, this.#pageHave()))
    if (this.#inRecord) {
      writer.varint(this.#recordLeft)
      if (this.#known) {
        writer.varint(this.#recordStart).bytes(this.#header.subarray(0, this.#headerHave)).u32(this.#checksum)
        if (this.#followed) this.#body.write(writer)
      }
    }
    return writer.finish()
  }

  /** The scanner again whose `snapshot` this is; `Malformed` for what is none. */
  static resume(snapshot: Uint8Array): WalScanner {
    const reader = new ByteReader(snapshot)
    const version = reader.u8()
    if (version !== snapshotVersion) throw new Malformed(`version ${version} of the state of a WAL scan`)
    const flags = reader.u8()
    const major = reader.u8()
    const scanner = new WalScanner({
      start: lsn(0),
      segmentBytes: reader.u32(),
      checksums: (flags & flagBits.checksums) !== 0,
    })
    scanner.#major = major
    scanner.#read(reader, flags)
    reader.end()
    return scanner
  }

  #read(reader: ByteReader, flags: number): void {
    this.#systemIdentifier = BigInt.asUintN(64, reader.i64())
    this.#timeline = reader.u32()
    this.#position = reader.varint()
    this.#skipTo = reader.varint()
    this.#previous = reader.varint() - 1
    this.#synced = (flags & flagBits.synced) !== 0
    this.#inRecord = (flags & flagBits.inRecord) !== 0
    this.#known = (flags & flagBits.known) !== 0
    this.#followed = (flags & flagBits.followed) !== 0
    const page = reader.bytes(longHeaderBytes)
    if (page.length !== this.#pageHave()) throw new Malformed(`${page.length} bytes of a page header`)
    this.#page.set(page)
    if (!this.#inRecord) return
    this.#recordLeft = reader.varint()
    if (!this.#known) return
    this.#recordStart = reader.varint()
    const header = reader.bytes(recordHeaderBytes)
    this.#header.set(header)
    this.#headerHave = header.length
    this.#recordBytes = this.#headerHave < 4 ? 0 : this.#headerView.getUint32(0, true)
    this.#checksum = reader.u32()
    if (this.#followed) this.#body.read(reader)
  }

  /** How much of a page header has come. */
  #pageHave(): number {
    const inPage = this.#position % pageBytes
    if (this.#position < this.#skipTo || inPage >= this.#pageHeaderBytes(this.#position - inPage)) return 0
    return inPage
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

const u64 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000

/** Of a number that may be no LSN. */
const hex = (value: number): string =>
  `${Math.floor(value / 2 ** 32).toString(16)}/${(value % 2 ** 32).toString(16)}`.toUpperCase()

const isSegmentBytes = (bytes: number): boolean =>
  Number.isInteger(bytes) && bytes >= 2 ** 20 && bytes <= 2 ** 30 && (bytes & (bytes - 1)) === 0
