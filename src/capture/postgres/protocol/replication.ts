import { Malformed } from '../../../base/bytes.ts'
import { TidemarkError } from '../../../base/errors.ts'
import { parseTimelineHistory, type TimelineFork } from '../../../format/postgres-wire/timeline-history.ts'
import { type Lsn, parseLsn, parseTimeline, type Timeline } from '../../../model/lsn.ts'
import type { AnswerSink, Connection, ResultSet } from './connection.ts'
import { readRow } from './messages.ts'

/** The commands of a replication connection that are answered in one go. WAL is in wal-stream.ts, base backups in base-backup.ts. */
export interface SystemIdentity {
  /** A number of 64 bits, as text: made by initdb, equal in all members of a cluster. */
  readonly systemId: string
  /** The newest one of the server, which need not be the one that was followed so far. */
  readonly timeline: Timeline
  /** End of the WAL that the server has flushed, or, of a standby, replayed. */
  readonly flushed: Lsn
}

export async function identifySystem(connection: Connection): Promise<SystemIdentity> {
  const [systemId, timeline, flushed] = await oneRow(connection, 'IDENTIFY_SYSTEM')
  if (!/^\d{1,20}$/.test(systemId ?? '')) throw unexpected(connection, 'IDENTIFY_SYSTEM')
  return read(connection, 'IDENTIFY_SYSTEM', () => ({
    systemId: systemId as string,
    timeline: parseTimeline(timeline ?? ''),
    flushed: parseLsn(flushed ?? ''),
  }))
}

/** A setting, as SHOW writes it: `16MB`, `1min`, `on`. On connections of both purposes. */
export async function show(connection: Connection, name: string): Promise<string> {
  if (!/^[a-z_][a-z0-9_.]*$/i.test(name)) throw new Malformed(`setting ${name}`)
  const [value] = await oneRow(connection, `SHOW ${name}`)
  return value ?? ''
}

/** Bytes of a WAL segment, a power of two. */
export async function walSegmentBytes(connection: Connection): Promise<number> {
  const text = await show(connection, 'wal_segment_size')
  const parts = /^(\d{1,4})(MB|GB)$/.exec(text)
  if (!parts) throw unexpected(connection, 'SHOW wal_segment_size')
  return Number(parts[1]) * (parts[2] === 'GB' ? 1024 : 1) * 1024 * 1024
}

/** WAL is kept for it from the last checkpoint's beginning on. A slot of that name that is there is `already-exists`. */
export async function createPhysicalSlot(connection: Connection, slot: string): Promise<void> {
  await run(connection, `CREATE_REPLICATION_SLOT ${quotedSlot(slot)} PHYSICAL RESERVE_WAL`, `creating the slot ${slot}`)
}

export interface SlotState {
  /** WAL from here on is kept. Undefined for a slot that never kept any, or whose WAL was given up. */
  readonly restart: Lsn | undefined
}

/**
 * Undefined where there is no such slot. A replication connection answers from version 15 on; one for SQL (`database`)
 * always. A slot for logical decoding is not one for us: `database-refused`.
 */
export async function readSlot(connection: Connection, slot: string): Promise<SlotState | undefined> {
  if (connection.purpose === 'database') return await readSlotBySql(connection, slot)
  if (connection.serverMajor < 15) {
    throw new TidemarkError('database-precondition', {
      message: `${connection.where} is of version ${connection.serverMajor}, where a slot is read by SQL only`,
      hint: 'use a connection with the purpose "database"',
    })
  }
  const [type, restart] = await oneRow(connection, `READ_REPLICATION_SLOT ${quotedSlot(slot)}`)
  if (type === null) return undefined
  return read(connection, 'READ_REPLICATION_SLOT', () => ({ restart: restart ? parseLsn(restart) : undefined }))
}

async function readSlotBySql(connection: Connection, slot: string): Promise<SlotState | undefined> {
  const name = quotedSlot(slot).replaceAll('"', "'")
  const text = `SELECT slot_type, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = ${name}`
  const [type, restart] = (await run(connection, text, `reading the slot ${slot}`))[0]?.rows[0] ?? []
  if (type === undefined) return undefined
  if (type !== 'physical') {
    throw new TidemarkError('database-refused', {
      message: `the slot ${slot} of ${connection.where} is not a physical one`,
      hint: 'choose another name for the slot',
    })
  }
  return read(connection, 'pg_replication_slots', () => ({ restart: restart ? parseLsn(restart) : undefined }))
}

/** One that is not there is `not-found`. With `wait`, the end of the receiver that uses it is waited for. */
export async function dropSlot(connection: Connection, slot: string, { wait = false } = {}): Promise<void> {
  await run(connection, `DROP_REPLICATION_SLOT ${quotedSlot(slot)}${wait ? ' WAIT' : ''}`, `dropping the slot ${slot}`)
}

export interface TimelineHistory {
  /** `00000002.history` */
  readonly fileName: string
  /** The file's bytes, as they are at the server. */
  readonly content: Buffer
  readonly forks: readonly TimelineFork[]
}

/** Of a timeline after the first: the first one has no history. */
export async function timelineHistory(connection: Connection, timeline: Timeline): Promise<TimelineHistory> {
  const rows: (Buffer | null)[][] = []
  const sink: AnswerSink = {
    columns: () => {},
    row: (body) => void rows.push(readRow(Buffer.from(body))),
    complete: () => {},
  }
  await connection.exchange(`TIMELINE_HISTORY ${timeline}`, sink, `reading the history of timeline ${timeline}`)
  const [fileName, content] = rows[0] ?? []
  if (!fileName || !content) throw unexpected(connection, 'TIMELINE_HISTORY')
  return read(connection, 'TIMELINE_HISTORY', () => ({
    fileName: fileName.toString('utf8'),
    content,
    forks: parseTimelineHistory(content),
  }))
}

/** Slots have names of lower case letters, digits and underscores; anything else would be refused by the server. */
export function quotedSlot(slot: string): string {
  if (/^[a-z0-9_]{1,63}$/.test(slot)) return `"${slot}"`
  throw new TidemarkError('bad-request', {
    message: `"${slot}" is no name for a replication slot`,
    hint: 'use up to 63 lower case letters, digits and underscores',
  })
}

async function run(connection: Connection, command: string, attempted: string): Promise<readonly ResultSet[]> {
  return await connection.query(command, undefined, `${attempted} at ${connection.where}`)
}

async function oneRow(connection: Connection, command: string): Promise<readonly (string | null)[]> {
  const row = (await connection.query(command, undefined, `${command} at ${connection.where}`))[0]?.rows[0]
  if (row === undefined) throw unexpected(connection, command)
  return row
}

/** What the server says is not of the form it must have: it is not the server that it says it is. */
function read<T>(connection: Connection, command: string, reading: () => T): T {
  try {
    return reading()
  } catch (error) {
    throw error instanceof Malformed ? unexpected(connection, command, error) : error
  }
}

const unexpected = (connection: Connection, command: string, cause?: unknown): TidemarkError =>
  new TidemarkError('protocol-violation', { message: `${connection.where} has no proper answer to ${command}`, cause })
