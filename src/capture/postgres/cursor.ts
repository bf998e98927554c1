import { assert } from '../../base/assert.ts'
import { ByteReader, ByteWriter, Malformed } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { cursorBytesMax } from '../../model/batch.ts'
import { type Lsn, lsn, noLsn, type Timeline, timeline } from '../../model/lsn.ts'
import { type Moment, moment } from '../../model/moment.ts'

/**
 * What a batch of kind `postgres` says of where the capture stood: all it takes to go on, on any machine.
 *
 *   u8 version 1
 *   varint moment of the last change
 *   u32 session, at random: two batches of different content never have the same cursor
 *   varint next number of a baseline, varint number of the one under way, of the complete one, of the one that is to be removed; 0 none
 *   u32 timeline, varint start of the complete one, varint moment of its completion; 0 none
 *   varint bytes of the file `baselines`
 *   u8 1 where something follows: the log has been begun
 *   i64 system identifier, u32 bytes of a WAL segment, u32 server_version_num, u32 CRC-32C of the history file of the timeline, 0 of the first
 *   u8 1 where the log has no gap since the complete baseline
 *   varint count of stretches; each u32 timeline, varint first, varint bytes from there to its end
 *   varint LSN from which on commits are listed
 *   bytes snapshot of the scanner, bytes snapshot of the commit list; empty where there is none
 */
export interface Cursor {
  readonly moment: Moment
  readonly session: number
  readonly baselines: BaselinesState
  readonly log: LogState | undefined
}

export interface BaselinesState {
  readonly next: number
  readonly underWay: number
  readonly complete: number
  readonly obsolete: number
  readonly timeline: number
  readonly start: Lsn
  readonly completedAt: Moment
  readonly fileBytes: number
}

export interface LogState {
  readonly systemId: bigint
  readonly segmentBytes: number
  readonly version: number
  readonly historyCheck: number
  readonly isUnbroken: boolean
  /** What the tree holds, in the order it came; the log goes on at the end of the last one. */
  readonly stretches: readonly Stretch[]
  readonly entriesFrom: Lsn
  readonly scanner: Uint8Array
  readonly list: Uint8Array
}

/** WAL without a gap, from the start of a segment on. */
export interface Stretch {
  readonly timeline: Timeline
  readonly first: Lsn
  readonly end: Lsn
}

/** The oldest is no longer kept in mind, and its files stay, where timelines change so often between two baselines. */
export const stretchesMax = 64
const version = 1

export const beginning: Cursor = {
  moment: moment(0),
  session: 0,
  baselines: {
    next: 1,
    underWay: 0,
    complete: 0,
    obsolete: 0,
    timeline: 0,
    start: noLsn,
    completedAt: moment(0),
    fileBytes: 0,
  },
  log: undefined,
}

export function encodeCursor({ moment: at, session, baselines, log }: Cursor): Buffer {
  const writer = new ByteWriter(1024).u8(version).varint(at).u32(session)
  writer.varint(baselines.next).varint(baselines.underWay).varint(baselines.complete).varint(baselines.obsolete)
  writer.u32(baselines.timeline).varint(baselines.start).varint(baselines.completedAt).varint(baselines.fileBytes)
  writer.u8(log === undefined ? 0 : 1)
  if (log !== undefined) encodeLog(writer, log)
  const bytes = writer.finish()
  assert(bytes.length <= cursorBytesMax, 'a cursor is short')
  return bytes
}

function encodeLog(writer: ByteWriter, log: LogState): void {
  writer.i64(BigInt.asIntN(64, log.systemId)).u32(log.segmentBytes).u32(log.version).u32(log.historyCheck)
  writer.u8(log.isUnbroken ? 1 : 0).varint(log.stretches.length)
  for (const { timeline: on, first, end } of log.stretches)
    writer
      .u32(on)
      .varint(first)
      .varint(end - first)
  writer.varint(log.entriesFrom).bytes(log.scanner).bytes(log.list)
}

/** Without bytes, the beginning of a journal. Bytes that are no cursor are refused: going on elsewhere would make a gap. */
export function decodeCursor(bytes: Uint8Array): Cursor {
  if (bytes.length === 0) return beginning
  try {
    return read(new ByteReader(bytes))
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError('unsupported-format', {
      message: `the journal does not say where its log of PostgreSQL goes on: ${error.message}`,
      hint: 'run the version of this program that wrote it, or a newer one',
      cause: error,
    })
  }
}

function read(reader: ByteReader): Cursor {
  const found = reader.u8()
  if (found !== version) throw new Malformed(`cursor version ${found}`)
  const at = moment(reader.varint())
  const session = reader.u32()
  const baselines: BaselinesState = {
    next: reader.varint(),
    underWay: reader.varint(),
    complete: reader.varint(),
    obsolete: reader.varint(),
    timeline: reader.u32(),
    start: lsn(reader.varint()),
    completedAt: moment(reader.varint()),
    fileBytes: reader.varint(),
  }
  const log = reader.u8() === 0 ? undefined : readLog(reader)
  reader.end()
  return { moment: at, session, baselines, log }
}

function readLog(reader: ByteReader): LogState {
  const systemId = BigInt.asUintN(64, reader.i64())
  const segmentBytes = reader.u32()
  const serverVersion = reader.u32()
  const historyCheck = reader.u32()
  const isUnbroken = reader.u8() === 1
  const count = reader.varint()
  if (count < 1 || count > stretchesMax) throw new Malformed(`${count} stretches of log`)
  const stretches: Stretch[] = []
  for (let index = 0; index < count; index++) {
    const on = timeline(reader.u32())
    const first = lsn(reader.varint())
    stretches.push({ timeline: on, first, end: lsn(first + reader.varint()) })
  }
  return {
    systemId,
    segmentBytes,
    version: serverVersion,
    historyCheck,
    isUnbroken,
    stretches,
    entriesFrom: lsn(reader.varint()),
    scanner: Buffer.from(reader.bytes(cursorBytesMax)),
    list: Buffer.from(reader.bytes(cursorBytesMax)),
  }
}
