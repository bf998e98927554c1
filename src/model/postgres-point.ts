import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { type Lsn, parseLsn, parseTimeline, type Timeline } from './lsn.ts'
import type { Moment } from './moment.ts'
import { parsePoint } from './recovery-point.ts'

/** What a person may ask for of a PostgreSQL cluster: a place in its WAL, or a place in the journal, which means all WAL known there. */
export type PostgresPoint =
  | { readonly kind: 'journal'; readonly text: string }
  | { readonly kind: 'moment'; readonly moment: Moment }
  | (OnTimeline & { readonly kind: 'lsn'; readonly lsn: Lsn; readonly inclusive: boolean })
  | (OnTimeline & { readonly kind: 'xid'; readonly xid: number; readonly inclusive: boolean })
  | (OnTimeline & { readonly kind: 'restore-point'; readonly name: string })

interface OnTimeline {
  /** The branch of history that is meant, where it is not the newest. */
  readonly timeline?: Timeline
}

export const postgresPointHelp = `
POINT is latest · a moment ("2026-11-22 14:03:11.250", ISO 8601, "10m ago") · seq:NUMBER · mark:LABEL
      of a volume also: flush (the last one) · flush:MOMENT (the last one up to then)
      of PostgreSQL also: xid:NUMBER (that transaction is the last one kept) · before:xid:NUMBER · lsn:0/3000D18 ·
      before:lsn:0/3000D18 · restore-point:NAME; with @TIMELINE at the end on a branch that was left (xid:1234@1)`

/**
 * `lsn:X/Y`, `xid:N` (also written `after:xid:N`) and `before:` of both, `restore-point:NAME`, each with `@TIMELINE` where an
 * abandoned branch is meant; else what model/recovery-point.ts knows. A 64-bit xid, as pg_current_xact_id() tells it, is taken
 * without its epoch.
 */
export function parsePostgresPoint(text: string, now: Moment): PostgresPoint {
  const place = parsePlace(text)
  if (place !== undefined) return place
  try {
    const general = parsePoint(text, now)
    return general.kind === 'moment' ? general : { kind: 'journal', text }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    throw new TidemarkError('bad-request', {
      message: error.message,
      hint:
        'give "latest", a moment ("2026-11-22 14:03:11.250", "10m ago"), "seq:N", "mark:LABEL", "xid:N", "before:xid:N", ' +
        '"lsn:0/3000D18" or "restore-point:NAME"',
    })
  }
}

function parsePlace(text: string): PostgresPoint | undefined {
  const parts = /^(before:|after:)?(lsn|xid|restore-point):(.+?)(?:@(\d{1,10}))?$/s.exec(text)
  if (parts === null) return undefined
  const [, side, kind, value = '', branch] = parts
  try {
    const on = branch === undefined ? {} : { timeline: parseTimeline(branch) }
    const inclusive = side !== 'before:'
    if (kind === 'lsn') return { kind, lsn: parseLsn(value), inclusive, ...on }
    if (kind === 'xid') return { kind, xid: parseXid(value), inclusive, ...on }
    if (inclusive) return { kind: 'restore-point', name: value, ...on }
    throw new Malformed('a place before a restore point')
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError('bad-request', {
      message: `${JSON.stringify(text)} is not a recovery point: ${error.message}`,
      hint: '"tidemark transactions SOURCE" lists transactions and restore points with their LSNs',
    })
  }
}

function parseXid(text: string): number {
  if (!/^\d{1,20}$/.test(text)) throw new Malformed(`transaction id ${JSON.stringify(text.slice(0, 40))}`)
  return Number(BigInt(text) % 2n ** 32n)
}
