import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  collect,
  newTestVault,
  putFile,
  start,
  write,
} from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { type ErrorCode, isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { beforeFirst } from '../model/sequence.ts'
import { MemoryDisk } from '../store/memory.ts'

const is =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isCode(error, code)
const forever = new AbortController().signal
const small = write('f', 0, Buffer.from('x'))

async function world() {
  const store = new MemoryDisk({ random: new Seeded(1) }).store()
  const vault = await newTestVault({ store, clock: systemClock, random: systemRandom })
  const { agent, source } = await addAgentWithSource(vault, 'web')
  return { vault, agent, source, appender: await vault.appender(agent, source, forever) }
}

test('batches are refused that leave a gap, go back in time, or are none', async () => {
  const { vault, appender } = await world()
  await appender.batch(batchOf(1, [small, small], start + 100))
  await assert.rejects(appender.batch(batchOf(4, [small], start + 200)), is('sequence-refused'))
  await assert.rejects(appender.batch(batchOf(2, [small, small], start + 200)), is('sequence-refused'))
  await assert.rejects(appender.batch(batchOf(3, [small], start + 99)), is('protocol-violation'))
  await assert.rejects(appender.batch(Buffer.from('none')), is('protocol-violation'))
  await assert.rejects(appender.block(Buffer.from('none')), is('protocol-violation'))
  await appender.batch(batchOf(3, [small], start + 100))
  assert.equal(appender.durable, 3)
  await vault[Symbol.asyncDispose]()
})

test('a change refers to chunks that were sent, by their true length', async () => {
  const { vault, appender } = await world()
  const { chunks, bytes } = blockOf(vault, Buffer.from('content'))
  await assert.rejects(appender.batch(batchOf(1, [putFile('f', chunks)])), is('chunk-missing'))
  await appender.block(bytes)
  const longer = [{ id: chunks[0]!.id, data: Buffer.alloc(8) }]
  await assert.rejects(appender.batch(batchOf(1, [putFile('f', longer)])), is('protocol-violation'))
  await appender.batch(batchOf(1, [putFile('f', chunks)]))
  await vault[Symbol.asyncDispose]()
})

test('a batch that was sent before is acknowledged again, and stands in the journal once', async () => {
  const { vault, appender, source } = await world()
  const one = batchOf(1, [small, small])
  const two = batchOf(3, [small])
  await Promise.all([appender.batch(one), appender.batch(one), appender.batch(two), appender.batch(one)])
  await appender.batch(two)
  const firsts = (await collect(vault.journal(source).batches(beforeFirst))).map(({ batch }) => batch.first)
  assert.deepEqual(firsts, [1, 3])
  await vault[Symbol.asyncDispose]()
})

test('batches that arrive together are made durable together', async () => {
  const disk = new MemoryDisk({ random: new Seeded(1) })
  const vault = await newTestVault({ store: disk.store(), clock: systemClock, random: systemRandom })
  const { agent, source } = await addAgentWithSource(vault, 'web')
  await using appender = await vault.appender(agent, source, forever)
  await appender.batch(batchOf(1, [small]))
  const before = disk.operations
  await Promise.all(Array.from({ length: 100 }, (_, index) => appender.batch(batchOf(index + 2, [small]))))
  assert.ok(disk.operations - before < 20, `${disk.operations - before} operations`)
  await vault[Symbol.asyncDispose]()
})

test('a newer session ends the older one, and an aborted one ends too', async () => {
  const { vault, appender, agent, source } = await world()
  const stop = new AbortController()
  const second = await vault.appender(agent, source, stop.signal)
  await assert.rejects(appender.batch(batchOf(1, [small])), is('interrupted'))
  assert.throws(() => appender.missing([]), is('interrupted'))
  await second.batch(batchOf(1, [small]))
  stop.abort()
  await assert.rejects(second.batch(batchOf(2, [small])), is('interrupted'))
  await using third = await vault.appender(agent, source, forever)
  assert.equal(third.durable, 1)
  await vault[Symbol.asyncDispose]()
})

test('growth is told once it is durable, with the chunks it needs', async () => {
  const { vault, appender, source } = await world()
  const told: number[] = []
  const reads: Promise<Buffer>[] = []
  const { chunks, bytes } = blockOf(vault, Buffer.from('content'))
  using _listening = vault.onDurable((growth) => {
    assert.equal(growth.source, source)
    assert.equal(vault.journal(source).durable, growth.durable)
    told.push(growth.durable)
    reads.push(vault.chunks.read(chunks[0]!.id))
  })
  await appender.block(bytes)
  await appender.batch(batchOf(1, [putFile('f', chunks)]))
  await appender.batch(batchOf(2, [small]))
  assert.deepEqual(told, [1, 2])
  for (const read of await Promise.all(reads)) assert.equal(String(read), 'content')
  await vault[Symbol.asyncDispose]()
})
