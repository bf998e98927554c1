import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createInterface } from 'node:readline'
import { setImmediate } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { type FromSqlite, sqliteDatabases, sqliteParts, type ToSqlite } from './volume-sqlite.ts'
import type { Found } from './volume-record.ts'

/**
 * SQLite in a process of its own: it sleeps in the kernel whenever the volume does. Writes both databases of a folder until
 * it is told to end, or judges those of folders that it is told.
 */
const [task, folder = ''] = process.argv.slice(2)
const say = (message: FromSqlite): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

if (task === 'load') await load()
else await check()

async function load(): Promise<void> {
  const databases = sqliteDatabases.map(({ user, file, journal, synchronous }) => {
    const database = new DatabaseSync(join(folder, file))
    database.exec(`PRAGMA journal_mode=${journal}; PRAGMA synchronous=${synchronous}; PRAGMA wal_autocheckpoint=60;
      CREATE TABLE entry (number INTEGER, part INTEGER, filler BLOB, PRIMARY KEY (number, part));
      CREATE TABLE counter (value INTEGER); INSERT INTO counter VALUES (0)`)
    return { user, database }
  })
  const over = new AbortController()
  process.stdin.resume().once('end', () => over.abort())
  say({ kind: 'ready' })
  for (let number = 1; !over.signal.aborted; number++) {
    for (const { user, database } of databases) {
      say({ kind: 'begun', user, number, at: systemClock.now() })
      database.exec('BEGIN IMMEDIATE')
      const insert = database.prepare('INSERT INTO entry VALUES (?, ?, ?)')
      for (let part = 1; part <= sqliteParts; part++) insert.run(number, part, systemRandom.bytes(400 * part))
      database.prepare('UPDATE counter SET value = ?').run(number)
      database.exec('COMMIT')
      say({ kind: 'told', user, number, at: systemClock.now() })
      await setImmediate()
    }
  }
  for (const { database } of databases) database.close()
}

async function check(): Promise<void> {
  say({ kind: 'ready' })
  for await (const line of createInterface({ input: process.stdin })) {
    const { folder: at } = JSON.parse(line) as ToSqlite
    say({ kind: 'found', found: sqliteDatabases.map(({ user, file }) => foundIn(user, join(at, file))) })
  }
}

function foundIn(user: string, file: string): Found {
  if (!existsSync(file)) return { user, last: 0, problems: ['its database is not there'] }
  try {
    const database = new DatabaseSync(file)
    try {
      return { user, ...judged(database) }
    } finally {
      database.close()
    }
  } catch (error) {
    return { user, last: 0, problems: [String(error)] }
  }
}

function judged(database: DatabaseSync): Omit<Found, 'user'> {
  const one = (sql: string): unknown => Object.values(database.prepare(sql).get() ?? {})[0]
  const problems: string[] = []
  const integrity = one('PRAGMA integrity_check')
  if (integrity !== 'ok') problems.push(String(integrity))
  const last = Number(one('SELECT value FROM counter'))
  const whole = one(`SELECT count(*) FROM (SELECT number FROM entry GROUP BY number HAVING count(*) = ${sqliteParts})`)
  const any = one('SELECT count(DISTINCT number) FROM entry')
  if (any !== last || whole !== last) problems.push(`counts ${last}, and holds ${any}, ${whole} of them whole`)
  return { last, problems }
}
