import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  newTestVault,
  openTestVault,
  putFile,
} from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { MemoryDisk } from '../store/memory.ts'

const forever = new AbortController().signal

/** Makes the page in which a table begins one of no kind. */
function ruin(path: string, table: string): void {
  using database = new DatabaseSync(path)
  const { page } = database.prepare('SELECT rootpage AS page FROM sqlite_schema WHERE name = ?').get(table) as {
    page: number
  }
  const { page_size: pageBytes } = database.prepare('PRAGMA page_size').get() as { page_size: number }
  database.exec('PRAGMA journal_mode = DELETE')
  database.close()
  const bytes = readFileSync(path)
  bytes.fill(0xee, (page - 1) * pageBytes, page * pageBytes)
  writeFileSync(path, bytes)
}

for (const table of ['chunk', 'pack', 'synced', 'catalogue', 'sqlite_schema']) {
  test(`a catalogue whose table ${table} is damaged is built anew`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-catalogue-'))
    try {
      const random = new Seeded(1)
      const disk = new MemoryDisk({ random })
      const cataloguePath = join(folder, 'catalogue')
      const parts = () => ({ store: disk.store(), clock: systemClock, random, cataloguePath })
      const vault = await newTestVault(parts())
      const { agent, source } = await addAgentWithSource(vault, 'a')
      const { chunks, bytes } = blockOf(vault, random.bytes(1500))
      const ids = chunks.map(({ id }) => id)
      {
        await using appender = await vault.appender(agent, source, forever)
        await appender.block(bytes)
        await appender.batch(batchOf(1, [putFile('f', chunks)]))
      }
      await vault[Symbol.asyncDispose]()
      if (table === 'sqlite_schema') writeFileSync(cataloguePath, readFileSync(cataloguePath).fill(0xee, 100, 2000))
      else ruin(cataloguePath, table)

      if (table === 'chunk') {
        await using meeting = await openTestVault(parts())
        await using appender = await meeting.appender(agent, source, forever)
        assert.throws(() => appender.missing(ids), /malformed/)
        await assert.rejects(meeting.failed, /malformed/)
      }
      await using again = await openTestVault(parts())
      assert.deepEqual(again.damage, [])
      await using appender = await again.appender(agent, source, forever)
      assert.deepEqual(appender.missing(ids), [false])
      assert.deepEqual(await again.chunks.read(ids[0]!), Buffer.from(chunks[0]!.data))
      await appender.batch(batchOf(2, [putFile('g', chunks)]))
    } finally {
      await rm(folder, { recursive: true })
    }
  })
}
