import { chmodSync, closeSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { TidemarkError } from '../base/errors.ts'
import { migrations } from './migrations.ts'

/** How long a statement waits for another process (a copy being taken by sqlite3) before it fails. */
const busyMsMax = 5_000

/** The console's one database. What has been committed survives a power cut. */
export class Database implements Disposable {
  readonly sqlite: DatabaseSync
  #isInside = false

  constructor(path: string) {
    if (path !== ':memory:') {
      closeSync(openSync(path, 'a', 0o600))
      chmodSync(path, 0o600)
    }
    this.sqlite = new DatabaseSync(path, { timeout: busyMsMax, enableForeignKeyConstraints: true })
    this.sqlite.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    this.#migrate(path)
  }

  /** All that `work` changes, or nothing; durable when this returns. Inside another one it is part of that. */
  atomically<T>(work: () => T): T {
    if (this.#isInside) return work()
    this.sqlite.exec('BEGIN IMMEDIATE')
    this.#isInside = true
    try {
      const result = work()
      this.sqlite.exec('COMMIT')
      return result
    } catch (error) {
      if (this.sqlite.isTransaction) this.sqlite.exec('ROLLBACK')
      throw error
    } finally {
      this.#isInside = false
    }
  }

  #migrate(path: string): void {
    const { user_version: found } = this.sqlite.prepare('PRAGMA user_version').get() as { user_version: number }
    if (found > migrations.length) {
      throw new TidemarkError('unsupported-format', {
        message: `${path} was written by a newer release (version ${found}; this one knows ${migrations.length})`,
        hint: 'use that release, or a copy of the directory from before',
      })
    }
    for (let version = found; version < migrations.length; version++) {
      this.atomically(() => {
        this.sqlite.exec(migrations[version] as string)
        this.sqlite.exec(`PRAGMA user_version = ${version + 1}`)
      })
    }
  }

  [Symbol.dispose](): void {
    this.sqlite.close()
  }
}
