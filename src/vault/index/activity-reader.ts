import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** What a stretch of activity that ends with a batch is told by, all counted from the beginning of the journal. */
export interface BatchEnd {
  readonly first: number
  readonly last: number
  readonly last_moment: number
  readonly settled: number
  readonly bytes_total: number
}

/** What a timeline of thousands of columns asks about batches: as little as will do. */
export class ActivityReader {
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync) {
    this.#statements = prepareAll(database)
  }

  /** The last batch that began before `when`. */
  lastBefore(when: number): BatchEnd | undefined {
    return this.#statements.lastBefore.get(when) as unknown as BatchEnd | undefined
  }

  /** The batch that holds `at`, or the last one before it. */
  endingAt(at: number): BatchEnd | undefined {
    return this.#statements.endingAt.get(at) as unknown as BatchEnd | undefined
  }

  /** When the batch began that holds `at`. */
  beganAt(at: number): number | undefined {
    return (this.#statements.beganAt.get(at) as { first_moment: number } | undefined)?.first_moment
  }

  /** Whether more than so many batches begin with changes in the range. */
  isMoreThan(count: number, from: number, to: number): boolean {
    return this.#statements.another.get(from, to, count) !== undefined
  }

  /** First changes of the batches in the range that began more than `restUs` after the end of the one before; at most `countMax`. */
  afterRests(from: number, to: number, restUs: number, countMax: number): number[] {
    const rows = this.#statements.afterRests.all(from, to, restUs, countMax) as unknown as { first: number }[]
    return rows.map(({ first }) => first)
  }
}

function prepareAll(database: DatabaseSync) {
  const end = 'SELECT first, last, last_moment, settled, bytes_total FROM batch'
  return {
    lastBefore: database.prepare(`${end} WHERE first_moment < ? ORDER BY first_moment DESC, first DESC LIMIT 1`),
    endingAt: database.prepare(`${end} WHERE first <= ? ORDER BY first DESC LIMIT 1`),
    beganAt: database.prepare('SELECT first_moment FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1'),
    another: database.prepare('SELECT 1 AS found FROM batch WHERE first >= ? AND first <= ? LIMIT 1 OFFSET ?'),
    afterRests: database.prepare(`
      SELECT first FROM (
        SELECT first, first_moment - lag(last_moment) OVER (ORDER BY first) AS rest FROM batch WHERE first >= ? AND first <= ?)
      WHERE rest > ? LIMIT ?`),
  } satisfies Record<string, StatementSync>
}
