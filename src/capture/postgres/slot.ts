import { type Lsn, parseLsn } from '../../model/lsn.ts'
import { createPhysicalSlot, dropSlot, readSlot } from './protocol/replication.ts'
import type { Server } from './server.ts'

/** Of a source: the slot that keeps its log at the server, and what pg_stat_replication shows. */
export const slotOf = ({ id }: { readonly id: string }): string => `tidemark_${id.slice(0, 16)}`

/**
 * Makes the slot where there is none, and another one where the server has given up its log, or lacks it at `goneAt`: a slot
 * that stands at log that is gone may well be told as one that keeps it. What it keeps begins here.
 */
export async function ensureSlot({ sql, replication }: Server, slot: string, goneAt: Lsn | undefined): Promise<Lsn> {
  const before = await readSlot(sql, slot)
  const isUseless = goneAt !== undefined && (before?.restart ?? goneAt) <= goneAt
  if (before?.restart !== undefined && !isUseless && !(await isLost({ sql }, slot))) return before.restart
  if (before !== undefined) await dropSlot(replication, slot, { wait: true })
  await createPhysicalSlot(replication, slot)
  const [row] = (await sql.query(`${ofSlot('restart_lsn', slot)}`))[0]?.rows ?? []
  return parseLsn(row?.[0] ?? '')
}

async function isLost({ sql }: Pick<Server, 'sql'>, slot: string): Promise<boolean> {
  if (sql.serverMajor < 13) return false
  const [row] = (await sql.query(ofSlot('wal_status', slot)))[0]?.rows ?? []
  return row?.[0] === 'lost'
}

const ofSlot = (column: string, slot: string): string =>
  `SELECT ${column} FROM pg_catalog.pg_replication_slots WHERE slot_name = '${slot}'`
