import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import { assert } from '../base/assert.ts'
import { type Lsn, lsn, type Timeline, timeline, walSegmentName, walSegmentStart } from '../model/lsn.ts'
import { moment } from '../model/moment.ts'
import type { WalEvent } from './wal/events.ts'

/**
 * A commit list: what of one WAL segment PostgreSQL can be recovered to. It stands beside the WAL in the tree of a journal, as
 * `commits/<name of the WAL segment>`, grows with it, and holds the commits, prepares and restore points whose last byte is in
 * that segment, in the order of the WAL. Told at length in docs/formats/commits.md.
 *
 *    0  8  magic "TIDECMT1"; the last character is the version
 *    8  8  system identifier of the cluster
 *   16  4  timeline
 *   20  4  bytes of a WAL segment
 *   24  8  LSN at which the WAL segment starts
 *   32  2  major version of the server
 *   34  2  check
 *   36  …  entries:
 *
 *   varint  length of the body, 1 to 1023
 *   body    u8  0-1 kind: 0 commit, 1 commit-prepared, 2 prepare, 3 restore-point   0x04 a database, which is told
 *               0x08 a database, the one told last   0x10 subtransactions   0x20 a name   0x40 time goes back
 *               0x80 starts before what it is counted from
 *           varint  start, counted from the end of the entry before; of the first from the start of the WAL segment
 *           varint  bytes from its start to its end
 *           varint  time, counted from the entry before; of the first from 1970-01-01, microseconds
 *           varint  xid, counted from the entry before modulo 2^32, of the first from 0; n >= 0 as 2n, n < 0 as -2n - 1. Not of a restore point
 *           varint  oid of the database (0x04)
 *           varint  count of subtransactions (0x10)
 *           …       name of the restore point or prepared transaction, UTF-8, to the end of the body (0x20)
 *   u16 check
 *
 * Numbers are big-endian. A check is the lower half of the CRC-32C of all bytes of the file before it. Entries count up to the first
 * that is cut short or whose check is wrong: there the file was being written.
 */
const magic = 'TIDECMT1'
export const commitListHeaderBytes = 36
const checkBytes = 2
/** A name of 200 bytes that is no UTF-8 becomes three times as long. */
const entryBodyBytesMax = 1023
const kinds = ['commit', 'commit-prepared', 'prepare', 'restore-point'] as const
const flag = {
  kind: 0x03,
  database: 0x04,
  sameDatabase: 0x08,
  subtransactions: 0x10,
  name: 0x20,
  timeBack: 0x40,
  startsBefore: 0x80,
}

export interface CommitListHeader {
  readonly major: number
  readonly systemIdentifier: bigint
  readonly timeline: Timeline
  readonly segmentBytes: number
  /** Of the WAL segment that the list is about. */
  readonly segmentStart: Lsn
}

/** What PostgreSQL can be recovered to by name. */
export type CommitListEntry = Extract<WalEvent, { kind: (typeof kinds)[number] }>

export const isCommitListEntry = (event: WalEvent): event is CommitListEntry =>
  (kinds as readonly string[]).includes(event.kind)

/** The start of the WAL segment whose commit list holds an entry: the one of its last byte. */
export const commitListOf = (entry: CommitListEntry, segmentBytes: number): Lsn =>
  walSegmentStart(lsn(entry.end - 1), segmentBytes)

export const commitListPath = (on: Timeline, at: Lsn, segmentBytes: number): string =>
  `commits/${walSegmentName(on, at, segmentBytes)}`

/** What the next entry is counted from. */
interface Before {
  end: number
  time: number
  xid: number
  database: number
}

const beforeFirst = ({ segmentStart }: CommitListHeader): Before => ({
  end: segmentStart,
  time: 0,
  xid: 0,
  database: 0,
})

/** Makes the bytes of one list, piece by piece; somebody else appends them to the file. */
export class CommitListWriter {
  readonly header: CommitListHeader
  #before: Before
  #length = 0
  #checksum = 0

  constructor(header: CommitListHeader) {
    this.header = header
    this.#before = beforeFirst(header)
  }

  /** How long the file is with all that was made. */
  get length(): number {
    return this.#length
  }

  /** The bytes that follow those made before: of these entries, in the order of the WAL, and of the header if it is yet to come. */
  append(entries: readonly CommitListEntry[]): Buffer {
    const pieces = this.#length === 0 ? [this.#checked(encodeHeader(this.header))] : []
    for (const entry of entries) {
      assert(
        commitListOf(entry, this.header.segmentBytes) === this.header.segmentStart,
        'an entry is in the list of its segment',
      )
      const body = encodeEntry(entry, this.#before)
      pieces.push(this.#checked(new ByteWriter(body.length + 2).bytes(body).finish()))
    }
    return Buffer.concat(pieces)
  }

  #checked(bytes: Buffer): Buffer {
    const check = Buffer.alloc(checkBytes)
    this.#checksum = crc32c(bytes, 0, bytes.length, this.#checksum)
    check.writeUInt16BE(this.#checksum & 0xffff)
    this.#checksum = crc32c(check, 0, checkBytes, this.#checksum)
    this.#length += bytes.length + checkBytes
    return Buffer.concat([bytes, check])
  }

  /** All that is needed to go on: the header of the file, then varint length, u32 checksum, varint end, varint time, u32 xid, u32 database. */
  snapshot(): Uint8Array {
    const { end, time, xid, database } = this.#before
    return new ByteWriter(80)
      .raw(encodeHeader(this.header))
      .varint(this.#length)
      .u32(this.#checksum)
      .varint(end)
      .varint(time)
      .u32(xid)
      .u32(database)
      .finish()
  }

  /** The writer again whose `snapshot` this is; `Malformed` for what is none. */
  static resume(snapshot: Uint8Array): CommitListWriter {
    const reader = new ByteReader(snapshot)
    const writer = new CommitListWriter(decodeHeader(reader))
    writer.#length = reader.varint()
    writer.#checksum = reader.u32()
    writer.#before = { end: reader.varint(), time: reader.varint(), xid: reader.u32(), database: reader.u32() }
    reader.end()
    return writer
  }
}

/** The entries of one list, in their order; `Malformed` where the file is no commit list. */
export class CommitListReader implements Iterable<CommitListEntry> {
  readonly header: CommitListHeader
  readonly #bytes: Uint8Array
  readonly #before: Before
  #at: number
  #checksum: number

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.header = decodeHeader(new ByteReader(bytes))
    const checkAt = commitListHeaderBytes - checkBytes
    if (!this.#checkIsRight(crc32c(bytes, 0, checkAt), checkAt)) throw new Malformed('header of a commit list')
    this.#before = beforeFirst(this.header)
    this.#at = commitListHeaderBytes
    this.#checksum = crc32c(bytes, 0, commitListHeaderBytes)
  }

  /** Where the next entry starts; once all were read, where the file ends or its torn tail starts. */
  get validBytes(): number {
    return this.#at
  }

  /** Undefined once no more entries count. */
  next(): CommitListEntry | undefined {
    const bytes = this.#bytes
    const first = bytes[this.#at] ?? 0
    const bodyAt = this.#at + (first < 0x80 ? 1 : 2)
    const bodyBytes = first < 0x80 ? first : (first & 0x7f) | ((bytes[this.#at + 1] ?? 0) << 7)
    const checkAt = bodyAt + bodyBytes
    if (bodyBytes === 0 || bodyBytes > entryBodyBytesMax || checkAt + checkBytes > bytes.length) return undefined
    const checksum = crc32c(bytes, this.#at, checkAt, this.#checksum)
    if (!this.#checkIsRight(checksum, checkAt)) return undefined
    const entry = decodeEntry(new ByteReader(bytes, bodyAt, checkAt), this.#before)
    if (commitListOf(entry, this.header.segmentBytes) !== this.header.segmentStart) {
      throw new Malformed(`entry that ends at ${entry.end} in the list of another segment`)
    }
    this.#at = checkAt + checkBytes
    this.#checksum = crc32c(bytes, checkAt, this.#at, checksum)
    return entry
  }

  *[Symbol.iterator](): Generator<CommitListEntry> {
    for (let entry = this.next(); entry !== undefined; entry = this.next()) yield entry
  }

  #checkIsRight(checksum: number, checkAt: number): boolean {
    return (((this.#bytes[checkAt] as number) << 8) | (this.#bytes[checkAt + 1] as number)) === (checksum & 0xffff)
  }
}

function encodeHeader({ systemIdentifier, timeline: on, segmentBytes, segmentStart, major }: CommitListHeader): Buffer {
  const writer = new ByteWriter(commitListHeaderBytes).raw(Buffer.from(magic, 'latin1'))
  return writer.i64(BigInt.asIntN(64, systemIdentifier)).u32(on).u32(segmentBytes).u64(segmentStart).u16(major).finish()
}

function decodeHeader(reader: ByteReader): CommitListHeader {
  if (reader.remaining < commitListHeaderBytes) throw new Malformed('header of a commit list that is cut short')
  const found = reader.raw(magic.length).toString('latin1')
  if (found !== magic) throw new Malformed(`magic ${JSON.stringify(found)} of a commit list`)
  const systemIdentifier = BigInt.asUintN(64, reader.i64())
  const on = timeline(reader.u32())
  const segmentBytes = reader.u32()
  const segmentStart = lsn(reader.u64())
  if (segmentBytes === 0 || segmentStart % segmentBytes !== 0)
    throw new Malformed(`WAL segments of ${segmentBytes} bytes`)
  return { systemIdentifier, timeline: on, segmentBytes, segmentStart, major: reader.u16() }
}

/** The body of an entry; `before` becomes what the next one is counted from. */
function encodeEntry(entry: CommitListEntry, before: Before): Buffer {
  const transaction = entry.kind === 'restore-point' ? undefined : entry
  const database = transaction?.database
  const subtransactions = transaction?.subtransactions ?? 0
  const name = nameOf(entry)
  const writer = new ByteWriter(64)
  writer.u8(
    kinds.indexOf(entry.kind) |
      (database === undefined ? 0 : database === before.database ? flag.sameDatabase : flag.database) |
      (subtransactions > 0 ? flag.subtransactions : 0) |
      (name === undefined ? 0 : flag.name) |
      (entry.time < before.time ? flag.timeBack : 0) |
      (entry.start < before.end ? flag.startsBefore : 0),
  )
  writer
    .varint(Math.abs(entry.start - before.end))
    .varint(entry.end - entry.start)
    .varint(Math.abs(entry.time - before.time))
  if (transaction !== undefined) writer.varint(zigzag((transaction.xid - before.xid) | 0))
  if (database !== undefined && database !== before.database) writer.varint(database)
  if (subtransactions > 0) writer.varint(subtransactions)
  if (name !== undefined) writer.raw(Buffer.from(name, 'utf8'))
  const body = writer.finish()
  if (body.length > entryBodyBytesMax) throw new Malformed(`name of ${name?.length} characters in a commit list`)
  goOn(before, entry)
  return body
}

function decodeEntry(reader: ByteReader, before: Before): CommitListEntry {
  const flags = reader.u8()
  const kind = kinds[flags & flag.kind] as (typeof kinds)[number]
  const start = lsn(before.end + ((flags & flag.startsBefore) === 0 ? 1 : -1) * reader.varint())
  const end = lsn(start + reader.varint())
  if (end <= start || end <= before.end) throw new Malformed(`entry from ${start} to ${end} after ${before.end}`)
  const time = moment(before.time + ((flags & flag.timeBack) === 0 ? 1 : -1) * reader.varint())
  if (kind === 'restore-point') {
    if ((flags & flag.name) === 0) throw new Malformed('restore point without a name')
    return goOn(before, { kind, start, end, time, name: readName(reader) })
  }
  const xid = (before.xid + unzigzag(reader.varint())) >>> 0
  const database = readDatabase(reader, flags, before)
  const subtransactions = (flags & flag.subtransactions) === 0 ? 0 : reader.varint()
  const told = { start, end, xid, subtransactions, time, ...(database === undefined ? {} : { database }) }
  const gid = (flags & flag.name) === 0 ? undefined : readName(reader)
  reader.end()
  switch (kind) {
    case 'commit':
      if (gid !== undefined) throw new Malformed('commit with a name')
      return goOn(before, { kind, ...told })
    case 'commit-prepared':
      return goOn(before, { kind, ...told, ...(gid === undefined ? {} : { gid }) })
    case 'prepare':
      if (gid === undefined) throw new Malformed('prepare without a name')
      return goOn(before, { kind, ...told, gid })
  }
}

function goOn(before: Before, entry: CommitListEntry): CommitListEntry {
  before.end = entry.end
  before.time = entry.time
  if (entry.kind === 'restore-point') return entry
  before.xid = entry.xid
  before.database = entry.database ?? before.database
  return entry
}

function readDatabase(reader: ByteReader, flags: number, before: Before): number | undefined {
  if ((flags & flag.database) !== 0) return reader.varint()
  return (flags & flag.sameDatabase) === 0 ? undefined : before.database
}

const readName = (reader: ByteReader): string => reader.raw(reader.remaining).toString('utf8')

function nameOf(entry: CommitListEntry): string | undefined {
  if (entry.kind === 'restore-point') return entry.name
  return entry.kind === 'commit' ? undefined : entry.gid
}

const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value)
const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2)
