import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { isCode } from '../base/errors.ts'
import { storeContract } from './contract.ts'
import { MemoryDisk } from './memory.ts'

storeContract('memory', async () => {
  const disk = new MemoryDisk({ random: new Seeded(1) })
  return {
    store: disk.store(),
    reopen: async () => disk.store(),
    [Symbol.asyncDispose]: async () => undefined,
  }
})

test('memory: a power cut keeps what was synced, and tears the rest in every way', async () => {
  const lengths = new Set<number>()
  let torn = 0
  let unnamed = 0
  for (let seed = 0; seed < 200; seed++) {
    const disk = new MemoryDisk({ random: new Seeded(seed) })
    const store = disk.store()
    const file = await store.create('f')
    await file.append([Buffer.alloc(1000, 1)])
    await file.sync()
    await file.append([Buffer.alloc(3000, 2)])
    await (await store.create('g')).append([Buffer.from('x')])
    disk.powerCut()
    const left = await disk.store().read('f', 0, 10_000)
    assert.deepEqual(left.subarray(0, 1000), Buffer.alloc(1000, 1))
    lengths.add(left.length)
    if (left.subarray(1000).some((byte) => byte !== 2)) torn++
    if (!disk.has('g')) unnamed++
  }
  assert.ok(lengths.has(1000) && lengths.has(4000) && lengths.size > 20)
  assert.ok(torn > 20 && unnamed > 20 && unnamed < 180)
})

test('memory: a killed program leaves all it wrote', async () => {
  const disk = new MemoryDisk({ random: new Seeded(1) })
  await (await disk.store().create('f')).append([Buffer.from('unsynced')])
  disk.kill()
  assert.equal((await disk.store().read('f', 0, 100)).toString(), 'unsynced')
})

test('memory: a full disk refuses', async () => {
  const disk = new MemoryDisk({ random: new Seeded(1), capacityBytes: 10 })
  const store = disk.store()
  const file = await store.create('f')
  await assert.rejects(file.append([Buffer.alloc(11)]), (error) => isCode(error, 'vault-full'))
  await assert.rejects(store.replace('g', Buffer.alloc(1)), (error) => isCode(error, 'vault-full'))
  assert.equal(await store.free(), 0)
})
