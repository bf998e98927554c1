import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { beforeFirst } from '../model/sequence.ts'
import { directoryStore } from '../store/directory.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  collect,
  newTestVault,
  openTestVault,
  putFile,
  write,
} from '../../test/support/vault-world.ts'
import { openChunkReader, openJournalReader } from './vault.ts'

const forever = new AbortController().signal

test('what was acknowledged is read back after the vault was opened again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-vault-'))
  const parts = {
    store: await directoryStore(join(folder, 'vault')),
    clock: systemClock,
    random: systemRandom,
    cataloguePath: join(folder, 'catalogue'),
    limits: { segmentBytes: 2000, packBytes: 100_000 },
  }
  try {
    let vault = await newTestVault(parts)
    const { agent, source } = await addAgentWithSource(vault, 'web')
    const contents = Array.from({ length: 20 }, () => randomBytes(20_000))
    const grown: number[] = []
    vault.onDurable(({ durable }) => grown.push(durable))
    let appender = await vault.appender(agent, source, forever)
    for (const [index, content] of contents.entries()) {
      const { chunks, bytes } = blockOf(vault, content)
      const ids = chunks.map(({ id }) => id)
      assert.deepEqual(appender.missing(ids), [true])
      await appender.block(bytes)
      assert.deepEqual(appender.missing(ids), [false])
      await appender.batch(
        batchOf(index * 2 + 1, [putFile(`f${index}`, chunks), write('log', index, Buffer.from('x'))]),
      )
    }
    assert.equal(appender.durable, 40)
    assert.equal(grown.at(-1), 40)
    const { chunks } = blockOf(vault, contents[3]!)
    {
      using reader = openChunkReader(parts.store, vault.readerKeys)
      assert.deepEqual(await reader.read(chunks[0]!.id), contents[3])
      const journalKey = vault.registry.journalKey(source)
      const journal = openJournalReader(parts.store, source, journalKey, () => vault.journal(source).durable)
      assert.equal((await collect(journal.batches(beforeFirst))).length, 20)
    }
    await vault[Symbol.asyncDispose]()

    vault = await openTestVault(parts)
    assert.deepEqual(vault.damage, [])
    appender = await vault.appender(agent, source, forever)
    assert.equal(appender.durable, 40)
    assert.equal(Buffer.from(appender.cursor).toString(), 'cursor 40')
    await appender.batch(batchOf(39, [write('log', 0, Buffer.from('x')), write('log', 0, Buffer.from('x'))]))
    await assert.rejects(appender.batch(batchOf(42, [write('a', 0, Buffer.from('x'))])), (error) =>
      isCode(error, 'sequence-refused'),
    )
    await appender.batch(batchOf(41, [write('a', 0, Buffer.from('x'))]))
    const batches = await collect(vault.journal(source).batches(beforeFirst))
    assert.deepEqual(
      batches.map(({ batch }) => batch.first),
      [...contents.keys()].map((index) => index * 2 + 1).concat(41),
    )
    assert.equal((await vault.journal(source).batchOf(batches[7]!.batch.first)).batch.first, batches[7]!.batch.first)
    for (const content of contents) {
      const [chunk] = blockOf(vault, content).chunks
      assert.deepEqual(await vault.chunks.read(chunk!.id), content)
    }
    await vault[Symbol.asyncDispose]()
  } finally {
    await rm(folder, { recursive: true })
  }
})
