import { type ByteReader, type ByteWriter, Malformed } from '../../base/bytes.ts'
import { unreachable } from '../../base/assert.ts'
import { type Lsn, lsn, timeline } from '../../model/lsn.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { RecordPlace, TransactionEnd, WalEvent, WalRecord } from './events.ts'

/**
 * Reads what is told of in events out of the records of two resource managers, XLOG and transactions, byte by byte as they come:
 * it keeps the fields it needs and passes over lists (subtransactions, dropped files, invalidations) by their counts, so that a
 * record of any length takes `keptBytesMax` of memory.
 *
 *   body         (253 u16 origin)? (252 u32 xid of the parent)? (255 u8 length | 254 u32 length) main data
 *   commit, abort, commit-prepared, abort-prepared
 *                i64 time, u32 what follows (only with 0x80 in the record's flags), then as its bits say
 *                0x1 u32 database, u32 tablespace   0x2 u32 n, n x 4 subtransactions   0x4 u32 n, n x 12 dropped files
 *                0x100 u32 n, n x 12 (16 from 18) dropped statistics, from 15   0x8 u32 n, n x 16 invalidations, not of aborts
 *                0x10 u32 xid of the prepared transaction, with 0x80 its name and a zero
 *   prepare      u32 magic, u32 length, u32 xid, u32 database, i64 time, u32 owner, u32 subtransactions, 2 (4 from 15) x u32 counts,
 *                u32 count, u8, u8 nothing, u16 length of the name with its zero, u64, u64; then the name
 *   checkpoint   u64 redo, u32 timeline, u32 timeline before, 48 other bytes, i64 time (seconds since 1970)
 *   parameter-change   u32 connections, worker processes, senders, prepared transactions, locks, wal_level; u8 hints, u8 commit times
 *   restore-point      i64 time, 64 bytes of name filled with zeros
 *   end-of-recovery    i64 time, u32 timeline, u32 timeline before
 *   overwrite-contrecord   u64 overwritten, i64 time
 *
 * Other times are microseconds since 2000-01-01.
 */
const operations = [
  'commit',
  'abort',
  'commit-prepared',
  'abort-prepared',
  'prepare',
  'checkpoint-shutdown',
  'checkpoint-online',
  'segment-switch',
  'parameter-change',
  'restore-point',
  'end-of-recovery',
  'overwrite-contrecord',
] as const

export type Operation = (typeof operations)[number]

const xlogManager = 0
const transactionManager = 1
/** Records of resource managers above this one are never looked into. */
export const readManagerMax = transactionManager

const xlogOperations = new Map<number, Operation>([
  [0x00, 'checkpoint-shutdown'],
  [0x10, 'checkpoint-online'],
  [0x40, 'segment-switch'],
  [0x60, 'parameter-change'],
  [0x70, 'restore-point'],
  [0x90, 'end-of-recovery'],
  [0xd0, 'overwrite-contrecord'],
])

const transactionOperations = new Map<number, Operation>([
  [0x00, 'commit'],
  [0x10, 'prepare'],
  [0x20, 'abort'],
  [0x30, 'commit-prepared'],
  [0x40, 'abort-prepared'],
])

/** What a record is about, where it is told of. */
export function operationOf(manager: number, flags: number): Operation | undefined {
  if (manager === xlogManager) return xlogOperations.get(flags & 0xf0)
  if (manager === transactionManager) return transactionOperations.get(flags & 0x70)
  return undefined
}

const hasContents = 0x80
const contents = {
  database: 0x1,
  subtransactions: 0x2,
  files: 0x4,
  invalidations: 0x8,
  prepared: 0x10,
  gid: 0x80,
  statistics: 0x100,
}
/** In the order they stand in a record. */
const sections = [
  contents.database,
  contents.subtransactions,
  contents.files,
  contents.statistics,
  contents.invalidations,
  contents.prepared,
]

/** The longest name of a prepared transaction, with its zero. */
const gidBytesMax = 200
const restorePointBytes = 64
const checkpointBytes = 72
/** The most that is ever kept of a record. */
const keptBytesMax = 72 + gidBytesMax

const microsecondsTo2000 = 946_684_800_000_000

const steps = [
  'marker',
  'short length',
  'long length',
  'main data',
  'transaction',
  'database',
  'list',
  'prepared',
  'done',
] as const
type Step = (typeof steps)[number]

export class RecordBody {
  #operation: Operation = 'commit'
  #major = 0
  #xid = 0
  #flags = 0
  #step: Step = 'done'
  /** Bytes to pass over before the next that is kept. */
  #skip = 0
  /** Bytes of the main data that no step has asked for yet. */
  #unread = 0
  readonly #kept = Buffer.alloc(keptBytesMax)
  #have = 0
  #want = 0
  #time = 0 as Moment
  #contents = 0
  /** The place in `sections` that is being read. */
  #section = 0
  #database: number | undefined = undefined
  #subtransactions = 0

  get operation(): Operation {
    return this.#operation
  }

  begin(operation: Operation, { major, xid, flags }: { major: number; xid: number; flags: number }): void {
    this.#operation = operation
    this.#major = major
    this.#xid = xid
    this.#flags = flags
    this.#skip = 0
    this.#unread = 0
    this.#time = 0 as Moment
    this.#contents = 0
    this.#section = -1
    this.#database = undefined
    this.#subtransactions = 0
    this.#have = 0
    if (operation === 'segment-switch') this.#step = 'done'
    else this.#ask('marker', 1)
  }

  /** The record's bytes behind its header, in pieces. `Malformed` where they are not as above. */
  feed(bytes: Uint8Array, start: number, end: number): void {
    let at = start
    while (this.#step !== 'done') {
      const passed = Math.min(this.#skip, end - at)
      this.#skip -= passed
      at += passed
      const count = Math.min(this.#want - this.#have, end - at)
      this.#kept.set(bytes.subarray(at, at + count), this.#have)
      this.#have += count
      at += count
      if (this.#skip > 0 || this.#have < this.#want) return
      this.#next()
    }
  }

  /** What the record says, once all of it was fed. */
  finish(place: RecordPlace): WalEvent {
    if (this.#step !== 'done') throw new Malformed(`${this.#operation} ends in its ${this.#step}`)
    return { ...place, ...this.#record() }
  }

  #record(): WalRecord {
    const operation = this.#operation
    const kept = this.#kept
    switch (operation) {
      case 'commit':
      case 'abort':
        return { kind: operation, ...this.#transactionEnd() }
      case 'commit-prepared':
      case 'abort-prepared':
        if ((this.#contents & contents.prepared) === 0)
          throw new Malformed(`${operation} without a prepared transaction`)
        return {
          kind: operation,
          ...this.#transactionEnd(),
          xid: kept.readUInt32LE(0),
          ...((this.#contents & contents.gid) === 0 ? {} : { gid: this.#name(4, this.#have) }),
        }
      case 'prepare':
        return this.#prepare()
      case 'restore-point':
        return { kind: operation, name: this.#name(8, 8 + restorePointBytes), time: this.#momentAt(0) }
      case 'checkpoint-shutdown':
      case 'checkpoint-online':
        return {
          kind: 'checkpoint',
          shutdown: operation === 'checkpoint-shutdown',
          redo: this.#lsnAt(0),
          timeline: timeline(kept.readUInt32LE(8)),
          previousTimeline: timeline(kept.readUInt32LE(12)),
          time: moment(Number(kept.readBigInt64LE(64)) * 1_000_000),
        }
      case 'end-of-recovery':
        return {
          kind: operation,
          timeline: timeline(kept.readUInt32LE(8)),
          previousTimeline: timeline(kept.readUInt32LE(12)),
          time: this.#momentAt(0),
        }
      case 'parameter-change':
        return this.#parameters()
      case 'overwrite-contrecord':
        return { kind: operation, overwritten: this.#lsnAt(0), time: this.#momentAt(8) }
      case 'segment-switch':
        return { kind: operation }
      default:
        return unreachable(operation)
    }
  }

  #transactionEnd(): TransactionEnd {
    return {
      xid: this.#xid,
      subtransactions: this.#subtransactions,
      time: this.#time,
      ...(this.#database === undefined ? {} : { database: this.#database }),
    }
  }

  #prepare(): WalRecord {
    const nameAt = this.#prepareHeaderBytes()
    const kept = this.#kept
    const nameBytes = kept.readUInt16LE(nameAt - 18)
    if (nameBytes > gidBytesMax || nameAt + nameBytes > this.#have)
      throw new Malformed(`prepare with a name of ${nameBytes} bytes`)
    return {
      kind: 'prepare',
      xid: kept.readUInt32LE(8),
      subtransactions: kept.readUInt32LE(28),
      time: this.#momentAt(16),
      database: kept.readUInt32LE(12),
      gid: this.#name(nameAt, nameAt + nameBytes),
    }
  }

  #parameters(): WalRecord {
    const kept = this.#kept
    const walLevel = (['minimal', 'replica', 'logical'] as const)[kept.readUInt32LE(20)]
    if (walLevel === undefined) throw new Malformed(`wal_level ${kept.readUInt32LE(20)}`)
    return {
      kind: 'parameter-change',
      walLevel,
      maxConnections: kept.readInt32LE(0),
      maxWorkerProcesses: kept.readInt32LE(4),
      maxWalSenders: kept.readInt32LE(8),
      maxPreparedTransactions: kept.readInt32LE(12),
      maxLocksPerTransaction: kept.readInt32LE(16),
      walLogHints: kept[24] !== 0,
      trackCommitTimestamp: kept[25] !== 0,
    }
  }

  /** The bytes the step wanted are there. */
  #next(): void {
    const kept = this.#kept
    switch (this.#step) {
      case 'marker':
        return this.#readMarker(kept[0] as number)
      case 'short length':
        return this.#readMainData(kept[0] as number)
      case 'long length':
        return this.#readMainData(kept.readUInt32LE(0))
      case 'transaction':
        this.#time = this.#momentAt(0)
        this.#contents = this.#want > 8 ? kept.readUInt32LE(8) : 0
        return this.#readSection()
      case 'database':
        this.#database = kept.readUInt32LE(0)
        return this.#readSection()
      case 'list':
        return this.#passList(kept.readUInt32LE(0))
      case 'main data':
      case 'prepared':
        this.#step = 'done'
        return
      case 'done':
        return
      default:
        return unreachable(this.#step)
    }
  }

  #readMarker(marker: number): void {
    switch (marker) {
      case 255:
        return this.#ask('short length', 1)
      case 254:
        return this.#ask('long length', 4)
      case 253:
        this.#skip = 2
        return this.#ask('marker', 1)
      case 252:
        this.#skip = 4
        return this.#ask('marker', 1)
      default:
        throw new Malformed(`part ${marker} of a ${this.#operation}`)
    }
  }

  #readMainData(length: number): void {
    this.#unread = length
    switch (this.#operation) {
      case 'commit':
      case 'abort':
      case 'commit-prepared':
      case 'abort-prepared':
        return this.#take('transaction', (this.#flags & hasContents) === 0 ? 8 : 12)
      case 'prepare': {
        const headerBytes = this.#prepareHeaderBytes()
        return this.#take('main data', Math.max(headerBytes, Math.min(length, headerBytes + gidBytesMax)))
      }
      case 'checkpoint-shutdown':
      case 'checkpoint-online':
        return this.#take('main data', checkpointBytes)
      case 'parameter-change':
        return this.#take('main data', 26)
      case 'restore-point':
        return this.#take('main data', 8 + restorePointBytes)
      case 'end-of-recovery':
      case 'overwrite-contrecord':
        return this.#take('main data', 16)
      case 'segment-switch':
        return
      default:
        return unreachable(this.#operation)
    }
  }

  #readSection(): void {
    do this.#section++
    while (this.#section < sections.length && !this.#contains(sections[this.#section] as number))
    const section = sections[this.#section]
    if (section === undefined) this.#step = 'done'
    else if (section === contents.database) this.#take('database', 8)
    else if (section === contents.prepared) this.#take('prepared', this.#preparedBytes())
    else this.#take('list', 4)
  }

  #contains(section: number): boolean {
    if ((this.#contents & section) === 0) return false
    if (section === contents.statistics) return this.#major >= 15
    if (section === contents.invalidations) return this.#operation === 'commit' || this.#operation === 'commit-prepared'
    return true
  }

  #preparedBytes(): number {
    if ((this.#contents & contents.gid) === 0) return 4
    return Math.max(5, Math.min(this.#unread, 4 + gidBytesMax))
  }

  #passList(count: number): void {
    const section = sections[this.#section] as number
    if (section === contents.subtransactions) this.#subtransactions = count
    const bytes = count * this.#itemBytes(section)
    this.#claim(bytes)
    this.#readSection()
    this.#skip += bytes
  }

  #itemBytes(section: number): number {
    if (section === contents.subtransactions) return 4
    if (section === contents.files) return 12
    if (section === contents.invalidations) return 16
    return this.#major >= 18 ? 16 : 12
  }

  #prepareHeaderBytes(): number {
    return this.#major >= 15 ? 72 : 64
  }

  /** Asks for bytes of the main data. */
  #take(step: Step, count: number): void {
    this.#claim(count)
    this.#ask(step, count)
  }

  #claim(count: number): void {
    if (count > this.#unread)
      throw new Malformed(`${this.#operation} of ${this.#unread} bytes where ${count} are wanted`)
    this.#unread -= count
  }

  #ask(step: Step, count: number): void {
    this.#step = step
    this.#have = 0
    this.#want = count
  }

  #name(start: number, end: number): string {
    const zero = this.#kept.indexOf(0, start)
    if (zero < 0 || zero >= end) throw new Malformed(`${this.#operation} with a name that does not end`)
    return this.#kept.toString('utf8', start, zero)
  }

  #momentAt(at: number): Moment {
    return moment(Number(this.#kept.readBigInt64LE(at)) + microsecondsTo2000)
  }

  #lsnAt(at: number): Lsn {
    return lsn(Number(this.#kept.readBigUInt64LE(at)))
  }

  write(writer: ByteWriter): void {
    writer.u8(operations.indexOf(this.#operation)).u8(this.#major).u32(this.#xid).u8(this.#flags)
    writer.u8(steps.indexOf(this.#step)).varint(this.#skip).varint(this.#unread).varint(this.#want)
    writer.bytes(this.#kept.subarray(0, this.#have))
    writer
      .varint(this.#time)
      .u32(this.#contents)
      .u8(this.#section + 1)
    writer.varint(this.#database === undefined ? 0 : this.#database + 1).u32(this.#subtransactions)
  }

  read(reader: ByteReader): void {
    const operation = operations[reader.u8()]
    if (operation === undefined) throw new Malformed('operation of a record')
    this.begin(operation, { major: reader.u8(), xid: reader.u32(), flags: reader.u8() })
    const step = steps[reader.u8()]
    if (step === undefined) throw new Malformed('step of a record')
    this.#step = step
    this.#skip = reader.varint()
    this.#unread = reader.varint()
    this.#want = reader.varint()
    if (this.#want > keptBytesMax) throw new Malformed(`${this.#want} bytes wanted of a record`)
    const kept = reader.bytes(this.#want)
    this.#kept.set(kept)
    this.#have = kept.length
    this.#time = moment(reader.varint())
    this.#contents = reader.u32()
    this.#section = reader.u8() - 1
    if (this.#section > sections.length) throw new Malformed('section of a record')
    const database = reader.varint()
    this.#database = database === 0 ? undefined : database - 1
    this.#subtransactions = reader.u32()
  }
}
