import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { EntryRow } from './index-reader.ts'
import { entryColumns, forever } from './schema.ts'
import type { Sealing } from './sealing.ts'

/** How far the names of an index were looked through. */
export interface NameCursor {
  readonly until: number
  readonly id: number
}

/** `any`: in the order of their beginnings. `gone`: those that have ended, in the order of their ends. Both newest first. */
export type NameOrder = 'any' | 'gone'

export interface NamePage {
  readonly found: readonly EntryRow[]
  readonly count: number
  /** Undefined after the last page. */
  readonly next: NameCursor | undefined
}

export const fromTheNewest: NameCursor = { until: Number.MAX_SAFE_INTEGER, id: Number.MAX_SAFE_INTEGER }

/** As names are compared: however they were composed, without regard to case. */
export const folded = (text: string): string => text.normalize('NFC').toLowerCase()

/** All names that ever were, a page at a time. Names are sealed, so that no index finds a part of one. */
export class NameReader {
  readonly #sealing: Sealing
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync, sealing: Sealing) {
    this.#sealing = sealing
    this.#statements = prepareAll(database)
  }

  /** Of the next `countMax` names those that contain `part`, which is folded and holds no NUL. */
  page(part: string, order: NameOrder, { until, id }: NameCursor, countMax: number): NamePage {
    const { gone, any, byId } = this.#statements
    const found = order === 'gone' ? gone.all(until, id, countMax) : any.all(id, countMax)
    const rows = found as unknown as { id: number; until: number; name: Uint8Array }[]
    const names = folded(this.#sealing.openNamesUnchecked(rows.map(({ name }) => name)).toString('utf8'))
    const matches: EntryRow[] = []
    let row = 0
    let counted = 0
    for (let at = names.indexOf(part); at >= 0; at = names.indexOf(part, counted)) {
      for (let end = names.indexOf('\0', counted); end < at; end = names.indexOf('\0', counted)) {
        counted = end + 1
        row++
      }
      matches.push(byId.get((rows[row] as { id: number }).id) as unknown as EntryRow)
      counted = names.indexOf('\0', counted) + 1
      row++
    }
    return { found: matches, count: rows.length, next: rows.length < countMax ? undefined : rows.at(-1) }
  }

  /** The same name in the same directory that began when this one ended. */
  continuing({ parent, tag, name, until }: EntryRow): EntryRow | undefined {
    return this.#statements.beginning.get(parent, tag, until, name) as unknown as EntryRow | undefined
  }

  /** The same name in the same directory that ended when this one began. */
  continued({ parent, tag, name, since }: EntryRow): EntryRow | undefined {
    return this.#statements.ending.get(parent, tag, since, name) as unknown as EntryRow | undefined
  }
}

function prepareAll(database: DatabaseSync) {
  const entry = `SELECT ${entryColumns} FROM entry`
  return {
    any: database.prepare('SELECT id, until, name FROM entry WHERE id < ? ORDER BY id DESC LIMIT ?'),
    gone: database.prepare(`
      SELECT id, until, name FROM entry INDEXED BY entry_ended WHERE until < ${forever} AND (until, id) < (?, ?)
      ORDER BY until DESC, id DESC LIMIT ?`),
    byId: database.prepare(`${entry} WHERE id = ?`),
    beginning: database.prepare(`${entry} WHERE parent = ?1 AND tag = ?2 AND until > ?3 AND since = ?3 AND name = ?4`),
    ending: database.prepare(`${entry} WHERE parent = ? AND tag = ? AND until = ? AND name = ?`),
  } satisfies Record<string, StatementSync>
}
