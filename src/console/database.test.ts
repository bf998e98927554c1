import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { Database } from './database.ts'
import { migrations } from './migrations.ts'

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-console-database-'))
  context.after(() => rmSync(directory, { recursive: true }))
  return join(directory, 'console.sqlite')
}

const versionOf = ({ sqlite }: Database): number =>
  (sqlite.prepare('PRAGMA user_version').get() as { user_version: number }).user_version

test('a database is brought to the version of this release once, and keeps what it holds', (context) => {
  const path = scratch(context)
  {
    using database = new Database(path)
    assert.equal(versionOf(database), migrations.length)
    database.sqlite.exec("INSERT INTO agent_sites (agent, site) VALUES ('a', 'b')")
  }
  using again = new Database(path)
  assert.deepEqual({ ...again.sqlite.prepare('SELECT site FROM agent_sites').get() }, { site: 'b' })
})

test('a database of a newer release is not touched', (context) => {
  const path = scratch(context)
  {
    using database = new Database(path)
    database.sqlite.exec(`PRAGMA user_version = ${migrations.length + 1}`)
  }
  assert.throws(
    () => new Database(path),
    (error) => isCode(error, 'unsupported-format'),
  )
})

test('of what fails in the middle nothing stays, and what is inside another is part of it', () => {
  using database = new Database(':memory:')
  const insert = (agent: string) => database.sqlite.prepare('INSERT INTO agent_sites VALUES (?, 1)').run(agent)
  assert.throws(() =>
    database.atomically(() => {
      database.atomically(() => insert('a'))
      insert('a')
    }),
  )
  database.atomically(() => insert('b'))
  assert.deepEqual(
    database.sqlite
      .prepare('SELECT agent FROM agent_sites')
      .all()
      .map((row) => row['agent']),
    ['b'],
  )
})

test('every commit waits for the disk', (context) => {
  using database = new Database(scratch(context))
  const { synchronous } = database.sqlite.prepare('PRAGMA synchronous').get() as { synchronous: number }
  const { journal_mode: mode } = database.sqlite.prepare('PRAGMA journal_mode').get() as { journal_mode: string }
  assert.deepEqual([mode, synchronous], ['wal', 2])
})
