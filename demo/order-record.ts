import { openSync, readFileSync, writeSync } from 'node:fs'
import type { Moment } from '../src/model/moment.ts'
import { assert } from '../src/base/assert.ts'

/** What a transaction did to one row, named by its table and key. */
export type RowChange =
  | { readonly put: string; readonly row: readonly string[] }
  | { readonly remove: string }
  /** Adds to the last column. */
  | { readonly add: string; readonly amount: number }

/** A committed transaction, as its client saw it. Moments are microseconds of this machine's clock. */
export interface Transaction {
  readonly xid: string
  readonly commitSent: number
  readonly committed: number
  readonly changes: readonly RowChange[]
}

/** Every committed transaction of the orders, in a file of its own that never touches Tidemark or PostgreSQL. */
export class OrderRecord {
  readonly #path: string
  readonly #file: number

  constructor(path: string) {
    this.#path = path
    this.#file = openSync(path, 'ax')
  }

  add(transaction: Transaction): void {
    writeSync(this.#file, `${JSON.stringify(transaction)}\n`)
  }

  /** The rows as all transactions up to `moment` left them, and how many transactions there are on either side of it. */
  rowsAt(moment: Moment): { rows: Map<string, string>; before: number; after: number } {
    const rows = new Map<string, string>()
    const lines = readFileSync(this.#path, 'utf8').split('\n').filter(Boolean)
    let before = 0
    for (const line of lines) {
      const { commitSent, committed, changes } = JSON.parse(line) as Transaction
      assert(committed < moment || commitSent > moment, 'no transaction was being committed at the moment')
      if (committed > moment) continue
      before++
      for (const change of changes) apply(change, rows)
    }
    return { rows, before, after: lines.length - before }
  }
}

function apply(change: RowChange, rows: Map<string, string>): void {
  if ('put' in change) rows.set(change.put, JSON.stringify(change.row))
  else if ('remove' in change) rows.delete(change.remove)
  else {
    const row = JSON.parse(rows.get(change.add) ?? '[]') as string[]
    rows.set(change.add, JSON.stringify([...row.slice(0, -1), String(Number(row.at(-1)) + change.amount)]))
  }
}
