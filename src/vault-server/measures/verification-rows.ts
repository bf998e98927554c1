import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Moment } from '../../model/moment.ts'
import { sequence, type Sequence } from '../../model/sequence.ts'

/** Of one source; older ones give way. */
const keptMax = 10_000

/** That a point was read back and checked, and how it ended. */
export interface Verification {
  /** When it ended, by the vault's clock. */
  readonly at: Moment
  /** The point. */
  readonly sequence: Sequence
  readonly moment: Moment
  readonly good: boolean
  readonly files: number
  readonly bytes: number
  readonly seconds: number
  /** What was done and found, in a sentence. */
  readonly text: string
  /** Who asked for it. */
  readonly by: string
}

/** Verifications of all sources, by the number of their source. What `put` has returned of survives a power cut. */
export class VerificationRows {
  readonly #database: DatabaseSync
  readonly #statements: ReturnType<typeof prepareAll>
  readonly #newest = new Map<number, Verification>()

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = prepareAll(database)
    const rows = this.#statements.newest.all() as unknown as Row[]
    for (const row of rows) this.#newest.set(row.source, told(row))
  }

  put(source: number, one: Verification): void {
    const { at, sequence: point, moment, good, files, bytes, seconds, text, by } = one
    this.#database.exec('PRAGMA synchronous = FULL')
    try {
      this.#statements.put.run(source, at, point, moment, good ? 1 : 0, files, bytes, seconds, text, by)
    } finally {
      this.#database.exec('PRAGMA synchronous = NORMAL')
    }
    this.#newest.set(source, one)
  }

  /** The one that was recorded last. */
  newest(source: number): Verification | undefined {
    return this.#newest.get(source)
  }

  /** Those that ended in this span, the newest first. */
  between(source: number, from: number, to: number, countMax: number): Verification[] {
    return (this.#statements.between.all(source, from, to, countMax) as unknown as Row[]).map(told)
  }

  /** Removes some of what ended before `before`, or is more than is kept; tells how many. */
  prune(source: number, before: number, countMax: number): number {
    const old = this.#statements.old.run(source, before, countMax)
    const many = this.#statements.many.run(source, source, keptMax)
    const count = Number(old.changes) + Number(many.changes)
    if (count > 0 && this.#statements.between.get(source, 0, Number.MAX_SAFE_INTEGER, 1) === undefined) {
      this.#newest.delete(source)
    }
    return count
  }
}

type Row = Omit<Verification, 'good' | 'sequence'> & {
  readonly source: number
  readonly sequence: number
  readonly good: number
}

const told = ({ source: _, ...row }: Row): Verification => ({
  ...row,
  sequence: sequence(row.sequence),
  good: row.good === 1,
})

function prepareAll(database: DatabaseSync) {
  const columns = 'source, at, sequence, moment, good, files, bytes, seconds, text, by'
  return {
    put: database.prepare(`INSERT INTO verification (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    newest: database.prepare(
      `SELECT ${columns} FROM verification WHERE number IN (SELECT max(number) FROM verification GROUP BY source)`,
    ),
    between: database.prepare(
      `SELECT ${columns} FROM verification WHERE source = ? AND at >= ? AND at < ? ORDER BY at DESC, number DESC LIMIT ?`,
    ),
    old: database.prepare(`
      DELETE FROM verification WHERE number IN
        (SELECT number FROM verification WHERE source = ? AND at < ? ORDER BY at LIMIT ?)`),
    many: database.prepare(`
      DELETE FROM verification WHERE source = ? AND number <=
        (SELECT number FROM verification WHERE source = ? ORDER BY number DESC LIMIT 1 OFFSET ?)`),
  } satisfies Record<string, StatementSync>
}
