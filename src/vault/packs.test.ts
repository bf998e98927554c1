import assert from 'node:assert/strict'
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
import { packsKey } from '../format/keys.ts'
import { MemoryDisk } from '../store/memory.ts'
import { openSealed } from '../store/sealed-reader.ts'

const forever = new AbortController().signal

/** A vault at rest whose chunks of 1500 bytes stand in one pack each three. */
async function world(count: number) {
  const random = new Seeded(1)
  const disk = new MemoryDisk({ random })
  const parts = () => ({ store: disk.store(), clock: systemClock, random, limits: { packBytes: 4000 } })
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
