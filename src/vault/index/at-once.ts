import type { DatabaseSync } from 'node:sqlite'

/** All questions that `ask` asks see the same state, and cost less. */
export function atOnce<T>(database: DatabaseSync, ask: () => T): T {
  if (database.isTransaction) return ask()
  database.exec('BEGIN')
  try {
    return ask()
  } finally {
    database.exec('COMMIT')
  }
}
