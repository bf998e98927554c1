import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { beforeFirst } from '../../src/model/sequence.ts'
import { MemoryDisk } from '../../src/store/memory.ts'
import { blockOf, collect, openTestVault, putFile, start } from '../support/vault-world.ts'
import { goldenChanges, goldenCheckpointAt, goldenContents } from './vault-1.ts'

const folder = join(import.meta.dirname, 'vault-1')

test('a vault of format version 1 is read for ever', async () => {
  const disk = new MemoryDisk({ random: systemRandom })
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) disk.overwrite(path.slice(folder.length + 1), await readFile(path))
  }
  await using vault = await openTestVault({ store: disk.store(), clock: systemClock, random: systemRandom })
  assert.deepEqual(vault.damage, [])
  assert.equal(vault.name, 'north')
  assert.equal(String(await vault.registry.secret('ca')), 'a secret')
  assert.equal(vault.registry.tokens.length, 1)
  assert.deepEqual(
    vault.registry.agents.map(({ name, holder }) => [name, holder]).sort(),
    [
      ['first', 1],
      ['second', 2],
    ],
  )
  const sourceOf = (name: string) => vault.registry.sources.find((source) => source.name === `${name}-files`)!

  const [stored, ...more] = await collect(vault.journal(sourceOf('first').id).batches(beforeFirst))
  assert.deepEqual(more, [])
  assert.equal(stored!.received, start)
  assert.equal(stored!.batch.first, 1)
  assert.equal(stored!.batch.settled, true)
  assert.equal(String(stored!.batch.cursor), 'cursor 22')
  assert.deepEqual(
    stored!.batch.changes.map(({ change }) => change),
    goldenChanges(vault),
  )

  const { chunks } = blockOf(vault, ...goldenContents)
  for (const [index, { id }] of chunks.entries()) assert.deepEqual(await vault.chunks.read(id), goldenContents[index])
  const { agent, id } = sourceOf('second')
  {
    await using appender = await vault.appender(agent, id, new AbortController().signal)
    assert.deepEqual(appender.missing(chunks.map((chunk) => chunk.id)), [false, false, false])
  }

  const journal = vault.journal(id)
  const checkpoint = await journal.checkpoint()
  assert.equal(checkpoint?.at, goldenCheckpointAt)
  assert.equal(checkpoint!.moment, start + 20)
  const changes = (await collect(checkpoint!.changes)).flat()
  assert.equal(changes.length, 21)
  assert.deepEqual(changes[20], putFile('f20', chunks))
  const after = await collect(journal.batches(goldenCheckpointAt))
  assert.deepEqual(
    after.map(({ batch }) => batch.first),
    [21, 22, 23, 24, 25, 26, 27, 28, 29, 30],
  )
  assert.deepEqual(after[9]!.batch.changes[0]!.change, putFile('f30', chunks))
})
