import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { forever } from '../schema.ts'
import { encodePage, Rows } from './page.ts'

export const stands = 1
/** Being made: not to be looked at. */
const isMade = 0

/**
 * Writes one run, row by row in its order. Each page has a fence: its first row, and from when up to when something in it
 * may be looked for. A page of one place alone ends as the next one begins, where that hides all of it: so what was written to
 * a million times costs a look at one page.
 */
export class RunBuilder {
  readonly id: number
  readonly #statements: BuilderStatements
  readonly #rowsPerPage: number
  #rows: Rows
  #waiting: { readonly rows: Rows; readonly bytesMax: number } | undefined
  #count = 0
  #bytesMax = 0
  #end = 0

  constructor(statements: BuilderStatements, content: number, rowsPerPage: number) {
    this.#rowsPerPage = rowsPerPage
    this.#rows = new Rows(rowsPerPage)
    this.#statements = statements
    this.id = Number(statements.insertRun.run(content, isMade).lastInsertRowid)
  }

  push(at: number, since: number, bytes: number, kind: number): void {
    if (this.#rows.count === this.#rowsPerPage) this.#turn()
    this.#rows.push(at, since, bytes, kind)
  }

  /** From here on it is looked at; it has what came from the change `first` up to `last`. */
  finish(first: number, last: number): void {
    if (this.#rows.count > 0) this.#turn()
    this.#write(undefined)
    this.#statements.finishRun.run(stands, first, last, this.#count, this.#bytesMax, this.#end, this.id)
  }

  #turn(): void {
    const rows = this.#rows
    this.#write(rows)
    let bytesMax = 0
    for (let row = 0; row < rows.count; row++) {
      const bytes = rows.bytes[row] as number
      bytesMax = Math.max(bytesMax, bytes)
      this.#end = Math.max(this.#end, (rows.at[row] as number) + bytes)
    }
    this.#bytesMax = Math.max(this.#bytesMax, bytesMax)
    this.#count += rows.count
    this.#waiting = { rows, bytesMax }
    this.#rows = new Rows(this.#rowsPerPage)
  }

  #write(next: Rows | undefined): void {
    if (this.#waiting === undefined) return
    const { rows, bytesMax } = this.#waiting
    this.#waiting = undefined
    const at = rows.at[0] as number
    const since = rows.since[0] as number
    const isOnePlace = rows.at[rows.count - 1] === at
    const isHidden = isOnePlace && next?.at[0] === at && (next.bytes[0] as number) >= bytesMax
    const until = isHidden ? (next.since[0] as number) : forever
    const page = this.#statements.insertPage.run(encodePage(rows)).lastInsertRowid
    this.#statements.insertFence.run(this.id, at, since, isOnePlace ? since : 0, until, page)
  }
}

export type BuilderStatements = ReturnType<typeof builderStatements>

export function builderStatements(database: DatabaseSync) {
  return {
    insertRun: database.prepare(
      'INSERT INTO run(content, state, first, last, rows, bytes_max, end) VALUES (?, ?, 0, 0, 0, 0, 0)',
    ),
    finishRun: database.prepare(
      'UPDATE run SET state = ?, first = ?, last = ?, rows = ?, bytes_max = ?, end = ? WHERE id = ?',
    ),
    insertPage: database.prepare('INSERT INTO page(data) VALUES (?)'),
    insertFence: database.prepare('INSERT INTO fence VALUES (?, ?, ?, ?, ?, ?)'),
  } satisfies Record<string, StatementSync>
}
