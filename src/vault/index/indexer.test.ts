import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { RandomChanges, seeded } from '../../../test/oracle/random-changes.ts'
import { systemClock } from '../../base/clock.ts'
import { moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { Indexer } from './indexer.ts'

const indexKey = createSecretKey(Buffer.alloc(32, 7))
const otherKey = createSecretKey(Buffer.alloc(32, 8))

function journalOf(seed: number): MemoryJournal {
  const journal = new MemoryJournal()
  const random = new RandomChanges(seeded(seed))
  for (let batch = 1; batch <= 40; batch++) {
    journal.append(
      Array.from({ length: 5 }, (_, at) => ({ moment: moment(batch * 1000 + at + seed), change: random.next() })),
    )
  }
  return journal
}

async function dumpOf(location: string, journal: MemoryJournal, key = indexKey): Promise<unknown> {
  await using indexer = new Indexer({ location, indexKey: key, journal, clock: systemClock })
  indexer.durable(journal.last)
  await indexer.reached(journal.last)
  return await indexer.exclusively(({ database }) =>
    ['entry', 'version', 'extent', 'batch', 'mark'].map((table) =>
      database.prepare(`SELECT * FROM ${table} ORDER BY 1, 2, 3`).all(),
    ),
  )
}

test('an index goes on where it was left, and one that is damaged, of another key or of a longer past is made anew', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-index-'))
  try {
    const journal = journalOf(1)
    const whole = await dumpOf(':memory:', journal)
    const location = join(folder, 'one.sqlite')
    assert.deepEqual(await dumpOf(location, journal), whole)
    assert.deepEqual(await dumpOf(location, journal), whole, 'opened again')

    writeFileSync(location, Buffer.alloc(20_000, 'no database'))
    assert.deepEqual(await dumpOf(location, journal), whole, 'after nonsense')

    const bytes = readFileSync(location)
    bytes.fill(0xa5, 4096, bytes.length - 4096)
    writeFileSync(location, bytes)
    assert.deepEqual(await dumpOf(location, journal), whole, 'after damage behind a sound beginning')

    await dumpOf(location, journal, otherKey)
    assert.deepEqual(await dumpOf(location, journal), whole, 'after another key')

    const shorter = new MemoryJournal()
    for await (const { batch } of journal.batches(0 as never)) if (batch.first < 100) shorter.append(batch.changes)
    const expected = await dumpOf(':memory:', shorter)
    assert.deepEqual(await dumpOf(location, shorter), expected, 'after the journal lost its end')

    await dumpOf(location, journal)
    const other = journalOf(2)
    assert.deepEqual(
      await dumpOf(location, other),
      await dumpOf(':memory:', other),
      'after another past of that length',
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('nothing of names, targets, attributes or labels stands in clear in the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-index-'))
  try {
    const journal = new MemoryJournal()
    const attributes = { mode: 0o644, uid: 0, gid: 0, modifiedNs: 0n }
    const secret = (what: string): never => `secret-${what}` as never
    journal.append([
      {
        moment: moment(1),
        change: {
          kind: 'put',
          path: secret('folder'),
          attributes: { ...attributes, xattrs: [] },
          content: { type: 'directory' },
        },
      },
      {
        moment: moment(2),
        change: {
          kind: 'put',
          path: 'secret-folder/secret-link' as TreePath,
          attributes: { ...attributes, xattrs: [{ name: secret('name'), value: Buffer.from('secret-value') }] },
          content: { type: 'symlink', target: secret('target') },
        },
      },
      { moment: moment(3), change: { kind: 'mark', mark: { type: 'user', label: 'secret-label' } } },
      { moment: moment(4), change: { kind: 'mark', mark: { type: 'torn', path: secret('torn') } } },
    ])
    const location = join(folder, 'one.sqlite')
    await dumpOf(location, journal)
    assert.equal(readFileSync(location).includes('secret'), false)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
