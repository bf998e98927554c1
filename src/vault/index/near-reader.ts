import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { EntryRow, VersionRow } from './index-reader.ts'
import { entryColumns, forever, versionColumns } from './schema.ts'

export type Side = 'before' | 'after'

/** Rows that began or ended next to a sequence: up to it, or after it, the nearest first. */
export class NearReader {
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync) {
    this.#statements = prepareAll(database)
  }

  entriesBegun(at: number, side: Side, countMax: number): EntryRow[] {
    const { entrySince, entriesUpTo, entriesAfter } = this.#statements
    const statement = side === 'before' ? entriesUpTo : entriesAfter
    return statement.all(lastUpTo(entrySince, at), countMax) as unknown as EntryRow[]
  }

  versions(at: number, side: Side, countMax: number): VersionRow[] {
    const { versionSince, versionsUpTo, versionsAfter } = this.#statements
    const statement = side === 'before' ? versionsUpTo : versionsAfter
    return statement.all(lastUpTo(versionSince, at), countMax) as unknown as VersionRow[]
  }

  entriesEnded(at: number, side: Side, countMax: number): EntryRow[] {
    const { endedUpTo, endedAfter } = this.#statements
    return (side === 'before' ? endedUpTo : endedAfter).all(at, countMax) as unknown as EntryRow[]
  }
}

/** The number of the last row that began up to `at`, 0 where none did: rows are numbered in the order of their beginnings. */
function lastUpTo(sinceOf: StatementSync, at: number): number {
  const rowUpTo = (id: number) => sinceOf.get(id) as { id: number; since: number } | undefined
  let low = 0
  let high = rowUpTo(Number.MAX_SAFE_INTEGER)?.id ?? 0
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    const row = rowUpTo(middle)
    if (row === undefined || row.since <= at) low = middle
    else high = row.id - 1
  }
  return high
}

function prepareAll(database: DatabaseSync) {
  const entry = `SELECT ${entryColumns} FROM entry`
  const version = `SELECT ${versionColumns} FROM version`
  const ended = `${entry} INDEXED BY entry_ended WHERE until < ${forever}`
  return {
    entrySince: database.prepare('SELECT id, since FROM entry WHERE id <= ? ORDER BY id DESC LIMIT 1'),
    entriesUpTo: database.prepare(`${entry} WHERE id <= ? ORDER BY id DESC LIMIT ?`),
    entriesAfter: database.prepare(`${entry} WHERE id > ? ORDER BY id LIMIT ?`),
    versionSince: database.prepare('SELECT id, since FROM version WHERE id <= ? ORDER BY id DESC LIMIT 1'),
    versionsUpTo: database.prepare(`${version} WHERE id <= ? ORDER BY id DESC LIMIT ?`),
    versionsAfter: database.prepare(`${version} WHERE id > ? ORDER BY id LIMIT ?`),
    endedUpTo: database.prepare(`${ended} AND until <= ? ORDER BY until DESC, id DESC LIMIT ?`),
    endedAfter: database.prepare(`${ended} AND until > ? ORDER BY until, id LIMIT ?`),
  } satisfies Record<string, StatementSync>
}
