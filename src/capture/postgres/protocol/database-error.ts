import { type ErrorCode, TidemarkError } from '../../../base/errors.ts'
import type { ServerReport } from './messages.ts'

/** What the server itself refused, with its code: callers may decide by `report.sqlState`, users read its words. */
export class DatabaseError extends TidemarkError {
  readonly report: ServerReport

  constructor(code: ErrorCode, told: { message: string; hint?: string }, report: ServerReport) {
    super(code, told)
    this.report = report
  }
}

/** `attempted` begins the sentence: "connecting to … as …". */
export function databaseError(attempted: string, report: ServerReport): DatabaseError {
  const { code, hint } = meaningOf(report)
  const detail = report.detail ? ` (${report.detail})` : ''
  const next = hint ?? report.hint
  return new DatabaseError(
    code,
    { message: `${attempted}: ${report.message}${detail} [${report.sqlState}]`, ...(next ? { hint: next } : {}) },
    report,
  )
}

export const hasSqlState = (error: unknown, ...states: string[]): error is DatabaseError =>
  error instanceof DatabaseError && states.includes(error.report.sqlState)

/** By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), where one state has one cause here. */
function meaningOf({ sqlState, message }: ServerReport): { code: ErrorCode; hint?: string } {
  switch (sqlState) {
    case '28P01':
      return { code: 'database-refused', hint: 'check the user and its password, in the password file or PGPASSWORD' }
    case '28000':
      if (!message.includes('pg_hba.conf')) return { code: 'database-refused' }
      return {
        code: 'database-refused',
        hint: 'add a line for this user and address to pg_hba.conf ("all" does not cover replication: that needs a line with the database "replication"), then reload',
      }
    case '42501':
      return { code: 'database-precondition', hint: 'give the user the right: ALTER ROLE … REPLICATION' }
    case '53300':
      return { code: 'database-precondition', hint: 'raise max_wal_senders or max_connections, and restart the server' }
    case '53400':
      return { code: 'database-precondition', hint: 'raise max_replication_slots, and restart the server' }
    case '55000':
      return { code: 'database-precondition' }
    case '42710':
      return { code: 'already-exists' }
    case '42704':
      return { code: 'not-found' }
    case '55006':
      return {
        code: 'database-refused',
        hint: 'another receiver uses the slot; stop it, or give this one its own slot',
      }
    // Shutting down, crashed, starting up.
    case '57P01':
    case '57P02':
    case '57P03':
      return { code: 'unreachable', hint: 'the server is starting or stopping; it is tried again' }
    default:
      return { code: 'database-refused' }
  }
}
