import { type Thresholds, thresholds } from '../../api/console.ts'
import type { Database } from '../database.ts'
import { defaultThresholds } from './thresholds.ts'

/** What was set: of everything (`system` absent) and of systems. */
export class ThresholdTable {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  everything(): Thresholds {
    return this.#list('=')[0] ?? defaultThresholds
  }

  systems(): Thresholds[] {
    return this.#list('<>')
  }

  put(wanted: Thresholds): void {
    this.#database.sqlite
      .prepare('INSERT OR REPLACE INTO thresholds (system, settings) VALUES (?, ?)')
      .run(wanted.system ?? '', JSON.stringify(wanted))
  }

  /** The system is as everything again. */
  remove(system: string): void {
    this.#database.sqlite.prepare('DELETE FROM thresholds WHERE system = ?').run(system)
  }

  #list(comparison: '=' | '<>'): Thresholds[] {
    return this.#database.sqlite
      .prepare(`SELECT settings FROM thresholds WHERE system ${comparison} '' ORDER BY system`)
      .all()
      .map(({ settings }) => thresholds.parse(JSON.parse(settings as string)))
  }
}
