import { existsSync, renameSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { Malformed } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'

/**
 * measures.sqlite in the directory of a vault: what was measured, and how it was verified. Records, not derived: they cannot be
 * built again, and nothing that is promised depends on them. In UTC; `at` counts minutes, hours or days since the Unix epoch.
 *
 *   source        the number that stands for a source in the other tables
 *   recent        minutes of hours that are not over, as they are written: all sources of a minute beside each other
 *   minutes       an hour's minutes of one source: for each its number in the hour (a byte), then as in measured.ts; long rows,
 *                 which stand in the order in which they came
 *   hour, day     sums of them; `strip` has the worst lag of each five minutes of the hour, a digit each
 *   space         how full the vault was at the last look of a day
 *   brought       what a source had brought in all at that look
 *   verification  points that were read back and checked; moments in microseconds
 */
const schema = `
  CREATE TABLE source (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE recent (
    at INTEGER NOT NULL, source INTEGER NOT NULL, measured BLOB NOT NULL, PRIMARY KEY (at, source)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE minutes (
    source INTEGER NOT NULL, at INTEGER NOT NULL, measured BLOB NOT NULL, PRIMARY KEY (source, at)
  ) STRICT;
  CREATE TABLE hour (
    source INTEGER NOT NULL, at INTEGER NOT NULL, measured BLOB NOT NULL, strip TEXT NOT NULL, PRIMARY KEY (source, at)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE day (
    source INTEGER NOT NULL, at INTEGER NOT NULL, measured BLOB NOT NULL, PRIMARY KEY (source, at)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE space (
    day INTEGER PRIMARY KEY, at INTEGER NOT NULL, stored INTEGER NOT NULL, indexes INTEGER NOT NULL, free INTEGER NOT NULL,
    received INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE brought (source INTEGER PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
  CREATE TABLE verification (
    number INTEGER PRIMARY KEY, source INTEGER NOT NULL, at INTEGER NOT NULL, sequence INTEGER NOT NULL,
    moment INTEGER NOT NULL, good INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL, seconds REAL NOT NULL,
    text TEXT NOT NULL, by TEXT NOT NULL
  ) STRICT;
  CREATE INDEX verification_at ON verification (source, at);
`
const version = 1
const cacheKib = 8 * 1024
const suffixes = ['', '-wal', '-shm']

export function openMeasureDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -${cacheKib}`)
    const { user_version: found } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (found === 0) transaction(database, () => database.exec(`${schema}; PRAGMA user_version = ${version}`))
    else if (found !== version) throw otherVersion(path, found)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const made = work()
    database.exec('COMMIT')
    return made
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const otherVersion = (path: string, found: number): TidemarkError =>
  new TidemarkError('unsupported-format', {
    message: `${path} is of version ${found}, and this program writes version ${version}`,
    hint: 'run the Tidemark that wrote it',
  })

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const corrupt = 11
const notADatabase = 26

/** Whether a failure means that the file holds what this program did not write. */
export function isFileDamage(error: unknown): boolean {
  if (error instanceof Malformed) return true
  if (error instanceof TidemarkError) return error.code === 'unsupported-format'
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
  return code === corrupt || code === notADatabase
}

/** The file keeps its bytes under another name, which is told; one that was put aside before gives way. */
export function putAside(path: string): string {
  const aside = `${path}.damaged`
  for (const suffix of suffixes) {
    rmSync(aside + suffix, { force: true })
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix)
  }
  return aside
}
