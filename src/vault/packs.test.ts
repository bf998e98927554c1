import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  keyOfTests,
  newTestVault,
  openTestVault,
  putFile,
} from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { packsKey } from '../format/keys.ts'
import { MemoryDisk } from '../store/memory.ts'
import { openSealed } from '../store/sealed-reader.ts'

const forever = new AbortController().signal

/** A vault at rest whose chunks of 1500 bytes stand in one pack each three. */
async function world(count: number) {
  const random = new Seeded(1)
  const disk = new MemoryDisk({ random })
  const parts = () => ({
    store: disk.store(),
    clock: systemClock,
    random,
    limits: { packBytes: 4000, touchedKeptMs: 0 },
  })
  const vault = await newTestVault(parts())
  const { agent, source } = await addAgentWithSource(vault, 'a')
  const contents = Array.from({ length: count }, () => random.bytes(1500))
  {
    await using appender = await vault.appender(agent, source, forever)
    for (const [index, content] of contents.entries()) {
      const { chunks, bytes } = blockOf(vault, content)
      await appender.block(bytes)
      await appender.batch(batchOf(1 + index, [putFile(`f${index}`, chunks)]))
    }
  }
  await vault[Symbol.asyncDispose]()
  const ids = contents.map((content) => blockOf(vault, content).chunks[0]!.id)
  const packs = disk.names.filter((name) => name.startsWith('packs/'))
  const key = packsKey(keyOfTests, vault.id)
  return { disk, parts, vault, agent, source, contents, ids, packs, key }
}

test('a pack whose index is damaged is known by its frames', async () => {
  const { disk, parts, ids, contents, packs, key } = await world(9)
  for (const name of packs) {
    const seal = await (await openSealed(disk.store(), name, key)).seal()
    const bytes = disk.contents(name)
    bytes[seal!.lastFrameAt + 30]! ^= 1
    disk.overwrite(name, bytes)
  }
  await using again = await openTestVault(parts())
  assert.deepEqual(again.damage, [])
  for (const [index, id] of ids.entries()) assert.deepEqual(await again.chunks.read(id), Buffer.from(contents[index]!))
  const { packsRemoved, damage } = await again.collect((asked) => asked.map(() => false), forever)
  assert.equal(packsRemoved, packs.length)
  assert.deepEqual(damage, [])
})

test('a pack that was growing is sealed at the next opening, recorded or not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-packs-'))
  try {
    const random = new Seeded(1)
    const disk = new MemoryDisk({ random })
    const parts = () => ({ store: disk.store(), clock: systemClock, random, cataloguePath: join(folder, 'catalogue') })
    const vault = await newTestVault(parts())
    const { agent, source } = await addAgentWithSource(vault, 'a')
    const { chunks, bytes } = blockOf(vault, random.bytes(1500))
    const appender = await vault.appender(agent, source, forever)
    await appender.block(bytes)
    await appender.batch(batchOf(1, [putFile('f', chunks)]))
    disk.kill()
    for (let opening = 0; opening < 2; opening++) {
      await using again = await openTestVault(parts())
      const { damage } = await again.collect((asked) => asked.map(() => true), forever)
      assert.deepEqual(damage, [])
      assert.deepEqual(await again.chunks.read(chunks[0]!.id), Buffer.from(chunks[0]!.data))
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})

for (const [what, readable] of [
  ['its header', 0],
  ['one of its blocks', 2],
] as const) {
  test(`of a pack with damage in ${what} only what can be read counts as sent, and the rest comes back by being sent again`, async () => {
    for (const isCatalogueKept of [true, false]) {
      const folder = await mkdtemp(join(tmpdir(), 'tidemark-packs-'))
      try {
        const random = new Seeded(1)
        const disk = new MemoryDisk({ random })
        let cataloguePath = join(folder, 'catalogue')
        const parts = () => ({ store: disk.store(), clock: systemClock, random, cataloguePath })
        const vault = await newTestVault(parts())
        const { agent, source } = await addAgentWithSource(vault, 'a')
        const blocks = Array.from({ length: 4 }, () => blockOf(vault, random.bytes(1500)))
        const ids = blocks.map(({ chunks }) => chunks[0]!.id)
        const sending = await vault.appender(agent, source, forever)
        for (const [index, { chunks, bytes }] of blocks.entries()) {
          await sending.block(bytes)
          await sending.batch(batchOf(1 + index, [putFile('f', chunks)]))
        }
        const name = disk.names.find((one) => one.startsWith('packs/'))
        disk.kill()
        if (!isCatalogueKept) cataloguePath = join(folder, 'anew')
        const bytes = disk.contents(name!)
        bytes[readable === 0 ? 20 : 128 + readable * 1600 + 100]! ^= 1
        disk.overwrite(name!, bytes)
        for (let opening = 0; opening < 2; opening++) {
          await using again = await openTestVault(parts())
          assert.ok(again.damage.some((damage) => isCode(damage, 'damaged') && damage.message.includes(name!)))
          await using appender = await again.appender(agent, source, forever)
          const isLost = ids.map((_, index) =>
            isCatalogueKept && readable > 0 ? index === readable : index >= readable,
          )
          assert.deepEqual(appender.missing(ids), opening === 0 ? isLost : ids.map(() => false))
          for (const [index, block] of blocks.entries()) if (isLost[index]) await appender.block(block.bytes)
          await appender.batch(
            batchOf(5 + opening, [
              putFile(
                'g',
                blocks.map(({ chunks }) => chunks[0]!),
              ),
            ]),
          )
          for (const { chunks } of blocks) {
            assert.deepEqual(await again.chunks.read(chunks[0]!.id), Buffer.from(chunks[0]!.data))
          }
        }
      } finally {
        await rm(folder, { recursive: true })
      }
    }
  })
}
