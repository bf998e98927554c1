import assert from 'node:assert/strict'
import { copyFileSync, existsSync, rmSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { appendFile, memoryVault, scratchCatalogue } from '../../test/support/memory-vault.ts'
import { batchOf, blockOf, collect, openTestVault, start, write } from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import { MemoryDisk } from '../store/memory.ts'
import { Catalogue } from './catalogue.ts'
import { segmentName } from './names.ts'

const forever = new AbortController().signal
const limits = { segmentBytes: 2000, packBytes: 9000, touchedKeptMs: 0 }

/**
 * A vault whose catalogue a power cut may take back: it is not synced, while what is removed from the store is gone.
 */
async function world(context: TestContext) {
  const random = new Seeded(1)
  const cataloguePath = await scratchCatalogue(context)
  const disk = new MemoryDisk({ random })
  const { parts, vault, agent, source } = await memoryVault(disk, { random, limits, cataloguePath })
  const contents = Array.from({ length: 15 }, (_, index) => Buffer.concat([random.bytes(1200), Buffer.of(index)]))
  {
    await using appender = await vault.appender(agent, source, forever)
    for (const [index, content] of contents.entries()) {
      const others = write('log', index, random.bytes(300))
      await appendFile({ vault, appender }, 1 + 2 * index, `f${index}`, [content], others)
    }
  }
  const suffixes = ['', '-wal']
  const remember = (): void => {
    for (const suffix of suffixes) {
      if (existsSync(cataloguePath + suffix)) copyFileSync(cataloguePath + suffix, `${cataloguePath}-then${suffix}`)
    }
  }
  const takeBack = (): void => {
    for (const suffix of [...suffixes, '-shm']) {
      rmSync(cataloguePath + suffix, { force: true })
      const then = `${cataloguePath}-then${suffix}`
      if (existsSync(then)) copyFileSync(then, cataloguePath + suffix)
    }
  }
  return { disk, parts, vault, agent, source, contents, cataloguePath, remember, takeBack }
}

async function dropBefore(vault: Awaited<ReturnType<typeof openTestVault>>, source: string, at: number): Promise<void> {
  const journal = vault.journal(source as never)
  await journal.writeCheckpoint(sequence(at), moment(start + at - 1), [])
  await journal.dropBefore(sequence(at))
}

test('history that was dropped before a power cut is no damage when the catalogue still knows it', async (context) => {
  const { disk, parts, vault, agent, source, remember, takeBack } = await world(context)
  await vault[Symbol.asyncDispose]()
  const dropping = await openTestVault(parts())
  remember()
  await dropBefore(dropping, source, 14)
  disk.kill()
  takeBack()
  for (let opening = 0; opening < 2; opening++) {
    await using again = await openTestVault(parts())
    assert.deepEqual(again.damage, [])
    assert.equal((await again.journal(source).checkpoint())?.at, 14)
    assert.equal((await collect(again.journal(source).batches(sequence(14)))).length, 8 + opening)
    await using appender = await again.appender(agent, source, forever)
    await appender.batch(batchOf(31 + opening, [write('log', 0, Buffer.from('x'))]))
  }
})

test('history without a checkpoint in its place is damage when it is gone', async (context) => {
  const { disk, parts, vault, source } = await world(context)
  await vault[Symbol.asyncDispose]()
  disk.delete(segmentName(source, 1))
  await using again = await openTestVault(parts())
  assert.ok(isCode(again.journal(source).damage, 'damaged'))
})

test('a segment that was dropped soon after it was sealed leaves no note behind', async (context) => {
  const { parts, vault, source } = await world(context)
  await dropBefore(vault, source, 14)
  await vault[Symbol.asyncDispose]()
  await using again = await openTestVault(parts())
  assert.deepEqual(again.damage, [])
})

test('a segment that held nothing may be gone, noted or not', async (context) => {
  const { parts, vault, source, cataloguePath } = await world(context)
  await vault[Symbol.asyncDispose]()
  {
    using catalogue = new Catalogue(cataloguePath, vault.id)
    catalogue.noteSynced([[segmentName(source, 99), 128]])
  }
  await using again = await openTestVault(parts())
  assert.deepEqual(again.damage, [])
})

test('packs that were collected before a power cut are no damage when the catalogue still knows them', async (context) => {
  const { disk, parts, vault, contents, remember, takeBack } = await world(context)
  await systemClock.sleep(1100)
  await vault[Symbol.asyncDispose]()
  const collecting = await openTestVault(parts())
  remember()
  const chunks = contents.map((content) => blockOf(vault, content).chunks[0]!)
  const kept = new Set(chunks.filter((_, index) => index % 5 === 0).map(({ id }) => id))
  const { packsRemoved } = await collecting.collect((ids) => ids.map((id) => kept.has(id)), forever)
  assert.ok(packsRemoved > 0)
  disk.kill()
  takeBack()
  await using again = await openTestVault(parts())
  assert.deepEqual(again.damage, [])
  for (const { id, data } of chunks) {
    if (kept.has(id)) assert.deepEqual(await again.chunks.read(id), data)
  }
})
