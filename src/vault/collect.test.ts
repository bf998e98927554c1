import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
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
import { systemRandom } from '../base/random.ts'
import type { ChunkId } from '../model/change.ts'
import { MemoryDisk } from '../store/memory.ts'
import { Vault } from './vault.ts'

const forever = new AbortController().signal
const limits = { packBytes: 20_000, touchedKeptMs: 0 }

async function world(seed: number) {
  const random = new Seeded(seed)
  const disk = new MemoryDisk({ random: random.fork('disk') })
  const parts = () => ({ store: disk.store(), clock: systemClock, random: systemRandom, limits })
  const vault = await newTestVault(parts())
  const first = await addAgentWithSource(vault, 'first')
  const second = await addAgentWithSource(vault, 'second')
  const packBytes = () =>
    disk.names.filter((name) => name.startsWith('packs/')).reduce((sum, name) => sum + disk.file(name).length, 0)
  return { random, disk, parts, vault, first, second, packBytes }
}

const inUseOf =
  (ids: ReadonlySet<ChunkId>) =>
  (asked: readonly ChunkId[]): boolean[] =>
    asked.map((id) => ids.has(id))

test('a collection removes what nothing refers to, and keeps the rest with all its holders', async () => {
  const { vault, first, second, random, packBytes, parts, disk } = await world(1)
  const contents = Array.from({ length: 60 }, () => Buffer.from(random.bytes(1500)))
  const blocks = contents.map((content) => blockOf(vault, content))
  {
    await using appender = await vault.appender(first.agent, first.source, forever)
    for (const [index, { bytes, chunks }] of blocks.entries()) {
      await appender.block(bytes)
      await appender.batch(batchOf(index + 1, [putFile('f', chunks)]))
    }
    await using other = await vault.appender(second.agent, second.source, forever)
    await other.block(blocks[7]!.bytes)
    await other.batch(batchOf(1, [putFile('f', blocks[7]!.chunks)]))
  }
  const before = packBytes()
  const kept = new Set(blocks.filter((_, index) => index % 5 === 2).map(({ chunks }) => chunks[0]!.id))
  const collected = await vault.collect(inUseOf(kept), forever)
  assert.ok(collected.packsRemoved > 2 && collected.packsWritten > 0)
  assert.equal(before - packBytes(), collected.bytes)
  assert.ok(packBytes() < before / 2)
  await vault[Symbol.asyncDispose]()
  disk.powerCut()

  await using again = await openTestVault(parts())
  assert.deepEqual(again.damage, [])
  for (const [index, { chunks }] of blocks.entries()) {
    if (kept.has(chunks[0]!.id)) assert.deepEqual(await again.chunks.read(chunks[0]!.id), contents[index])
  }
  await using appender = await again.appender(second.agent, second.source, forever)
  assert.deepEqual(appender.missing([blocks[7]!.chunks[0]!.id, blocks[12]!.chunks[0]!.id]), [false, true])
})

test('what an open appender was told is present stays, whether or not anything refers to it yet', async () => {
  const { vault, first, random } = await world(2)
  const contents = Array.from({ length: 40 }, () => Buffer.from(random.bytes(1500)))
  const blocks = contents.map((content) => blockOf(vault, content))
  const ids = blocks.map(({ chunks }) => chunks[0]!.id)
  {
    await using appender = await vault.appender(first.agent, first.source, forever)
    for (const { bytes } of blocks) await appender.block(bytes)
    await appender.batch(
      batchOf(
        1,
        blocks.map(({ chunks }, index) => putFile(`${index}`, chunks)),
      ),
    )
  }
  await vault.collect(inUseOf(new Set(ids)), forever)
  await using appender = await vault.appender(first.agent, first.source, forever)
  const promised = ids.slice(0, 20)
  assert.ok(appender.missing(promised).every((missing) => !missing))
  await vault.collect(inUseOf(new Set()), forever)
  assert.ok(appender.missing(promised).every((missing) => !missing))
  await appender.batch(
    batchOf(
      41,
      blocks.slice(0, 20).map(({ chunks }, index) => putFile(`${index}`, chunks)),
    ),
  )
  for (const [index, id] of promised.entries()) assert.deepEqual(await vault.chunks.read(id), contents[index])
  assert.ok(appender.missing(ids.slice(20)).some((missing) => missing))
  await vault[Symbol.asyncDispose]()
})

test('what an agent was told is present stays for a time after its session, and is free then', async () => {
  const random = new Seeded(5)
  const store = new MemoryDisk({ random }).store()
  let now = systemClock.now()
  const hoursLater = (hours: number): void => void (now += hours * 3_600_000_000)
  const clock = { ...systemClock, now: () => now }
  const keptMs = 24 * 3_600_000
  const vault = await newTestVault({ store, clock, random: systemRandom, limits: { ...limits, touchedKeptMs: keptMs } })
  const { agent, source } = await addAgentWithSource(vault, 'again')
  const blocks = Array.from({ length: 40 }, () => blockOf(vault, random.bytes(1500)))
  const ids = blocks.map(({ chunks }) => chunks[0]!.id)
  const files = blocks.map(({ chunks }, index) => putFile(`${index}`, chunks))
  {
    await using appender = await vault.appender(agent, source, forever)
    for (const { bytes } of blocks) await appender.block(bytes)
    await appender.batch(batchOf(1, files))
  }
  const collected = () => vault.collect(inUseOf(new Set()), forever)
  await collected()
  hoursLater(25)
  {
    await using appender = await vault.appender(agent, source, forever)
    assert.deepEqual(appender.missing(ids.slice(0, 20)), Array(20).fill(false))
  }
  hoursLater(1)
  await collected()
  hoursLater(22)
  await collected()
  {
    await using appender = await vault.appender(agent, source, forever)
    await appender.batch(batchOf(41, files.slice(0, 20)))
  }
  for (const id of ids.slice(0, 20)) assert.equal((await vault.chunks.read(id)).length, 1500)
  await assert.rejects(vault.chunks.read(ids[35]!), (error) => isCode(error, 'not-found'))
  hoursLater(25)
  await collected()
  hoursLater(25)
  await collected()
  await assert.rejects(vault.chunks.read(ids[0]!), (error) => isCode(error, 'not-found'))
  await vault[Symbol.asyncDispose]()
})

test('appends go on beside collections, and whenever it ends nothing that was acknowledged is lost', async () => {
  for (let seed = 100; seed < 140; seed++) {
    const { vault, first, second, random, disk, parts } = await world(seed)
    const contents = Array.from({ length: 30 }, () => Buffer.from(random.bytes(random.integer(100, 2500))))
    const inUse = new Map<ChunkId, Buffer>()
    const ended = Promise.withResolvers<void>()
    disk.endAfter(random.integer(10, 400), random.chance(0.5) ? 'power' : 'process', ended.resolve)
    const append = async ({ agent, source }: typeof first, chance: Seeded): Promise<void> => {
      for (let session = 0, next = 1; session < 5; session++) {
        await using appender = await vault.appender(agent, source, forever)
        for (let count = 0; count < 8; count++) {
          const picked = Array.from({ length: chance.integer(1, 3) }, () => chance.pick(contents))
          const { chunks, bytes } = blockOf(vault, ...picked)
          if (appender.missing(chunks.map(({ id }) => id)).includes(true)) await appender.block(bytes)
          await appender.batch(batchOf(next, [putFile('f', chunks)]))
          next++
          for (const [index, { id }] of chunks.entries()) inUse.set(id, picked[index]!)
        }
      }
    }
    const collectAll = async (): Promise<void> => {
      for (let count = 0; count < 10; count++) {
        // An old snapshot of what is in use, as an index that was read at the beginning gives it.
        await vault.collect(inUseOf(new Set(inUse.keys())), forever)
        for (const id of inUse.keys()) {
          const isDropped = random.chance(0.05)
          if (isDropped) inUse.delete(id)
        }
      }
    }
    const all = Promise.all([append(first, random.fork('1')), append(second, random.fork('2')), collectAll()])
    await Promise.race([all, ended.promise])
    disk.endAfter(Infinity, 'process', () => undefined)
    await using again = await openTestVault(parts())
    assert.deepEqual(again.damage, [], `seed ${seed}`)
    for (const [id, content] of inUse) assert.deepEqual(await again.chunks.read(id), content, `seed ${seed}`)
  }
})

test('an agent learns nothing of what others hold', async () => {
  const { vault, first, second } = await world(3)
  const secret = blockOf(vault, Buffer.from('the salary of the mayor is 12345'))
  const ids = secret.chunks.map(({ id }) => id)
  {
    await using appender = await vault.appender(first.agent, first.source, forever)
    await appender.block(secret.bytes)
    await appender.batch(batchOf(1, [putFile('f', secret.chunks)]))
  }
  await using guessing = await vault.appender(second.agent, second.source, forever)
  assert.deepEqual(guessing.missing(ids), [true])
  await assert.rejects(guessing.batch(batchOf(1, [putFile('f', secret.chunks)])), (error) =>
    isCode(error, 'chunk-missing'),
  )
  const forged = Buffer.from(secret.bytes)
  forged[forged.length - 1]! ^= 1
  await assert.rejects(guessing.block(forged), (error) => isCode(error, 'protocol-violation'))
  await guessing.block(secret.bytes)
  await guessing.batch(batchOf(1, [putFile('f', secret.chunks)]))
  await vault[Symbol.asyncDispose]()
})

test('another key than the one the vault was made with is refused', async () => {
  const { parts, vault } = await world(4)
  await vault[Symbol.asyncDispose]()
  const wrong = createSecretKey(Buffer.alloc(32, 8))
  await assert.rejects(Vault.open({ ...parts(), key: wrong, cataloguePath: ':memory:' }), (error) =>
    isCode(error, 'key-refused'),
  )
  await using _right = await Vault.open({ ...parts(), key: keyOfTests, cataloguePath: ':memory:' })
})
