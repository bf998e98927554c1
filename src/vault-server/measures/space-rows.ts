import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Moment } from '../../model/moment.ts'
import { transaction } from './schema.ts'

/** Days that are kept. */
const daysMax = 5 * 365

/** The last look at the room of a vault on one day. */
export interface SpaceDay {
  readonly at: Moment
  readonly storedBytes: number
  readonly indexBytes: number
  readonly freeBytes: number
  /** Of that whole day. */
  readonly receivedBytes: number
}

/** How full the vault was, a row a day in UTC, and what each source has brought in all. */
export class SpaceRows {
  readonly #database: DatabaseSync
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = prepareAll(database)
  }

  /** `brought`: by the number of a source, what it has brought since its journal began. */
  put(day: number, look: Omit<SpaceDay, 'receivedBytes'>, brought: ReadonlyMap<number, number>): void {
    const { put, drop, putBrought } = this.#statements
    transaction(this.#database, () => {
      const received = this.#receivedSince(brought)
      for (const [source, bytes] of brought) putBrought.run(source, bytes)
      put.run(day, look.at, look.storedBytes, look.indexBytes, look.freeBytes, received)
      drop.run(daysMax)
    })
  }

  /** What came before the first look of all was not received on its day. */
  #receivedSince(brought: ReadonlyMap<number, number>): number {
    const rows = this.#statements.brought.all() as unknown as { source: number; bytes: number }[]
    if (rows.length === 0) return 0
    const before = new Map(rows.map(({ source, bytes }) => [source, bytes]))
    return [...brought].reduce((sum, [source, bytes]) => sum + Math.max(bytes - (before.get(source) ?? 0), 0), 0)
  }

  /** The newest so many, ascending. */
  days(countMax: number): SpaceDay[] {
    return (this.#statements.days.all(countMax) as unknown as SpaceDay[]).toReversed()
  }

  forget(source: number): void {
    this.#statements.dropBrought.run(source)
  }
}

function prepareAll(database: DatabaseSync) {
  return {
    put: database.prepare(`
      INSERT INTO space (day, at, stored, indexes, free, received) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET at = excluded.at, stored = excluded.stored, indexes = excluded.indexes,
        free = excluded.free, received = received + excluded.received`),
    drop: database.prepare('DELETE FROM space WHERE day <= (SELECT day FROM space ORDER BY day DESC LIMIT 1 OFFSET ?)'),
    days: database.prepare(`
      SELECT at, stored AS storedBytes, indexes AS indexBytes, free AS freeBytes, received AS receivedBytes
      FROM space ORDER BY day DESC LIMIT ?`),
    brought: database.prepare('SELECT source, bytes FROM brought'),
    putBrought: database.prepare('INSERT OR REPLACE INTO brought (source, bytes) VALUES (?, ?)'),
    dropBrought: database.prepare('DELETE FROM brought WHERE source = ?'),
  } satisfies Record<string, StatementSync>
}
