import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { systemRandom } from '../base/random.ts'
import { noHash } from '../format/sealed-file.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { directoryStore } from './directory.ts'
import { MemoryDisk } from './memory.ts'
import { hashOf, openSealed } from './sealed-reader.ts'
import { createSealed } from './sealed-writer.ts'

const owner = createSecretKey(randomBytes(32))
const header = { kind: 'segment', owner: '0'.repeat(32) as Id, number: 1, first: sequence(1), before: noHash } as const

test('what was added and sealed is read back in order, and the chain hash is that of the whole file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-sealed-'))
  try {
    const store = await directoryStore(folder)
    const writer = await createSealed({ store, random: systemRandom }, 'journals/a/1.segment', owner, header)
    const payloads = [1, 1000, 2_500_000].map((bytes) => randomBytes(bytes))
    for (const payload of payloads) {
      writer.add('batch', [payload.subarray(0, 1), payload.subarray(1)])
      await writer.sync()
    }
    const chain = await writer.seal(sequence(3))
    const reader = await openSealed(store, 'journals/a/1.segment', owner)
    const read: Buffer[] = []
    for await (const frame of reader.frames()) read.push(frame.payload)
    assert.deepEqual(read, payloads)
    assert.equal((await reader.seal())?.last, 3)
    assert.deepEqual(await hashOf(store, 'journals/a/1.segment'), chain)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a seal reaches the disk only after all that it vouches for, and no less than the data is known to be durable', async () => {
  let sealed = 0
  for (let seed = 0; seed < 400; seed++) {
    const random = new Seeded(seed)
    const disk = new MemoryDisk({ random })
    const writer = await createSealed({ store: disk.store(), random }, 'packs/1.pack', owner, {
      ...header,
      kind: 'pack',
    })
    writer.add('block', [random.bytes(1000)])
    await writer.sync()
    const data = writer.synced
    const ended = Promise.withResolvers<void>()
    const index = random.bytes(10_000)
    disk.endAfter(random.integer(0, 4), 'power', ended.resolve)
    await Promise.race([writer.seal(sequence(3), [{ type: 'pack-index', payload: () => index }]), ended.promise])
    disk.endAfter(Infinity, 'process', () => undefined)
    const reader = await openSealed(disk.store(), 'packs/1.pack', owner)
    const seal = await reader.seal()
    if (!seal) {
      assert.equal(writer.synced, data)
      continue
    }
    sealed++
    const read = await reader.frame(seal.lastFrameAt, seal.bytes - seal.lastFrameAt)
    assert.deepEqual(read.payload, Buffer.from(index), `seed ${seed}`)
  }
  assert.ok(sealed > 50 && sealed < 350)
})
