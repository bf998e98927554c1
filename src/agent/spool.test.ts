import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { moment } from '../model/moment.ts'
import { advance, type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { Spool, type SpooledBatch, spoolFileBytesMax, type SpoolParts } from './spool.ts'

const partsOf = (store: Store, random: Seeded, bytesMax = 1e12): SpoolParts => ({
  store,
  random,
  key: createSecretKey(Buffer.alloc(32, 9)),
  source: '5'.repeat(32) as Id,
  bytesMax,
  freeMin: 0,
})

function batchOf(first: Sequence, random: Seeded, blockBytes = 500): SpooledBatch {
  const last = advance(first, random.integer(0, 4))
  const blocks = Array.from({ length: random.integer(0, 3) }, () => random.bytes(random.integer(1, blockBytes)))
  return {
    first,
    last,
    moment: moment(last * 10),
    bulk: random.chance(0.5),
    blocks,
    bytes: random.bytes(random.integer(1, 300)),
  }
}

function batchesFrom(first: Sequence, count: number, random: Seeded, blockBytes?: number): SpooledBatch[] {
  const batches: SpooledBatch[] = []
  for (let at = first; batches.length < count; at = advance(batches.at(-1)!.last, 1))
    batches.push(batchOf(at, random, blockBytes))
  return batches
}

const plain = ({ blocks, bytes, ...rest }: SpooledBatch) => ({
  ...rest,
  blocks: blocks.map((block) => Buffer.from(block).toString('hex')),
  bytes: Buffer.from(bytes).toString('hex'),
})

async function readAll(spool: Spool): Promise<SpooledBatch[]> {
  const batches: SpooledBatch[] = []
  for (let at = spool.start; !spool.isEmpty && at <= spool.end; at = advance(batches.at(-1)!.last, 1))
    batches.push(await spool.read(at))
  return batches
}

const one = sequence(1)

test('what was put in comes out, in order, also while more is put in', async () => {
  const random = new Seeded(1)
  await using spool = await Spool.open(partsOf(new MemoryDisk({ random }).store(), random))
  const batches = batchesFrom(one, 60, random)
  const found: SpooledBatch[] = []
  for (const batch of batches) {
    assert.ok(await spool.append([batch]))
    if (random.chance(0.5)) found.push(await spool.read(batches[found.length]!.first))
  }
  while (found.length < batches.length) found.push(await spool.read(batches[found.length]!.first))
  assert.deepEqual(found.map(plain), batches.map(plain))
  assert.deepEqual(plain((await spool.endingAt(batches[30]!.last))!), plain(batches[30]!))
})

test('a file is deleted once all of it is at the vault', async () => {
  const random = new Seeded(2)
  const disk = new MemoryDisk({ random })
  await using spool = await Spool.open(partsOf(disk.store(), random))
  const block = Buffer.alloc(4 * 1024 * 1024, 1)
  for (let index = 1; index <= 40; index++) {
    const at = sequence(index)
    assert.ok(
      await spool.append([
        { first: at, last: at, moment: moment(index), bulk: false, blocks: [block], bytes: block.subarray(0, 10) },
      ]),
    )
  }
  assert.ok(disk.names.length >= 3 && spool.bytes > 2 * spoolFileBytesMax)
  await spool.release(sequence(30))
  assert.ok(disk.names.length < 3 && spool.start > 1 && spool.start <= 31)
  await spool.release(sequence(40))
  assert.deepEqual(disk.names, [])
  assert.ok(spool.isEmpty)
  assert.ok(await spool.append([batchOf(sequence(41), random)]))
  assert.equal(spool.start, 41)
})

test('beyond its limit it takes nothing, and keeps what it has', async () => {
  const random = new Seeded(3)
  await using spool = await Spool.open(partsOf(new MemoryDisk({ random }).store(), random, 5000))
  const batches = batchesFrom(one, 100, random)
  let taken = 0
  while (await spool.append([batches[taken]!])) taken++
  assert.ok(taken > 2 && spool.bytes <= 5000)
  assert.deepEqual((await readAll(spool)).map(plain), batches.slice(0, taken).map(plain))
})

test('a disk without room costs the batch that did not fit, and nothing more', async () => {
  const random = new Seeded(4)
  const disk = new MemoryDisk({ random, capacityBytes: 6000 })
  const parts = partsOf(disk.store(), random)
  await using spool = await Spool.open({ ...parts, freeMin: -1e9 })
  const batches = batchesFrom(one, 100, random)
  let taken = 0
  while (await spool.append([batches[taken]!])) taken++
  assert.ok(taken > 2)
  disk.capacityBytes = 1e9
  for (const batch of batches.slice(taken)) assert.ok(await spool.append([batch]))
  assert.deepEqual((await readAll(spool)).map(plain), batches.map(plain))
})

test('killed or without power at any moment, it holds all that it had taken, whole and in order', async () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Seeded(seed)
    const disk = new MemoryDisk({ random })
    const taken: SpooledBatch[] = []
    for (let life = 0; life < 4; life++) {
      const dies = new Promise<'died'>((resolve) =>
        disk.endAfter(random.integer(1, 60), random.pick(['power', 'process']), () => resolve('died')),
      )
      const living = (async () => {
        const spool = await Spool.open(partsOf(disk.store(), random))
        assert.equal(spool.damage, undefined, `seed ${seed}: ${spool.damage}`)
        const found = await readAll(spool)
        assert.ok(
          found.length >= taken.length && found.length <= taken.length + 3,
          `seed ${seed}: ${found.length} for ${taken.length}`,
        )
        assert.deepEqual(found.slice(0, taken.length).map(plain), taken.map(plain), `seed ${seed}`)
        taken.push(...found.slice(taken.length))
        for (;;) {
          const from = taken.length === 0 ? one : advance(taken.at(-1)!.last, 1)
          const batches = batchesFrom(from, random.integer(1, 3), random)
          await spool.append(batches)
          taken.push(...batches)
        }
      })()
      await Promise.race([dies, living])
    }
  }
})

test('a damaged file is given up with what follows it, and said so', async () => {
  const random = new Seeded(6)
  const disk = new MemoryDisk({ random })
  const store = disk.store()
  const batches = batchesFrom(one, 30, random)
  for (const some of [batches.slice(0, 10), batches.slice(10, 20), batches.slice(20)]) {
    await using spool = await Spool.open(partsOf(store, random))
    await spool.append(some)
  }
  await (await Spool.open(partsOf(store, random)))[Symbol.asyncDispose]()
  const names = disk.names
  assert.equal(names.length, 3)
  const bytes = Buffer.from(disk.contents(names[1]!))
  bytes[3] = 7
  disk.overwrite(names[1]!, bytes)
  await using spool = await Spool.open(partsOf(disk.store(), random))
  assert.ok(spool.damage?.includes(names[1]!))
  assert.deepEqual((await readAll(spool)).map(plain), batches.slice(0, 10).map(plain))
  assert.deepEqual(disk.names, names)
  await spool.removeLost()
  assert.deepEqual(disk.names, [names[0]])
})
