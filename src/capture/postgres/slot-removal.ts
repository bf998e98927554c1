import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Connection } from './protocol/connection.ts'
import { hasSqlState } from './protocol/database-error.ts'
import { quotedText } from './sql-text.ts'

const removalMsMax = 30_000
const retryMs = 100

/**
 * Drops a slot by SQL, which needs neither a sender nor a line of pg_hba.conf for replication. A receiver that still uses it
 * is ended first. One that is not there is as good as dropped.
 */
export async function removeSlot(sql: Connection, slot: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const name = quotedText(slot)
  const started = clock.monotonicMs()
  const attempted = `dropping the slot ${slot} of ${sql.where}`
  for (;;) {
    try {
      await sql.query(
        `SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
          WHERE slot_name = ${name} AND active_pid IS NOT NULL`,
        signal,
        attempted,
      )
      await sql.query(
        `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = ${name}`,
        signal,
        attempted,
      )
      return
    } catch (error) {
      if (hasSqlState(error, '42704')) return
      if (!hasSqlState(error, '55006')) throw error
      if (clock.monotonicMs() - started > removalMsMax) {
        throw new TidemarkError('database-refused', {
          message: `the slot ${slot} of ${sql.where} is still used after ${removalMsMax / 1000} s`,
          hint: `stop what uses it (pg_stat_replication tells), then: SELECT pg_drop_replication_slot(${name});`,
          cause: error,
        })
      }
      await clock.sleep(retryMs, signal)
    }
  }
}
