import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Connection } from './protocol/connection.ts'
import { parsePostgresUrls } from './protocol/url.ts'
import { openConnection, type ServerRequest } from './server.ts'

/**
 * SQL with the member of a cluster that is written to: of several, the one that was promoted last. For what has to be done
 * there also while nothing is streamed.
 */
export async function openPrimary(request: ServerRequest, signal: AbortSignal): Promise<Connection> {
  const why: string[] = []
  let best: { readonly sql: Connection; readonly timeline: string } | undefined
  for (const target of parsePostgresUrls(request.url, request.account.user)) {
    try {
      const sql = await openConnection(request, target, 'database', signal)
      const timeline = await timelineOf(sql, signal)
      const isBetter = timeline !== undefined && (best === undefined || timeline > best.timeline)
      if (timeline === undefined) why.push(`${sql.where} is a standby`)
      await (isBetter ? best?.sql : sql)?.[Symbol.asyncDispose]()
      if (isBetter) best = { sql, timeline }
    } catch (error) {
      signal.throwIfAborted()
      why.push(messageOf(error))
    }
  }
  if (best) return best.sql
  throw new TidemarkError('unreachable', {
    message: `no server that is written to: ${why.join('; ')}`,
    hint: 'it is tried again; promote a standby, or start the primary',
  })
}

/** Eight digits; undefined for a standby. */
async function timelineOf(sql: Connection, signal: AbortSignal): Promise<string | undefined> {
  const text = `SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
    substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END`
  const [set] = await sql.query(text, signal)
  return set?.rows[0]?.[0] ?? undefined
}
