import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { memoryVault } from '../../test/support/memory-vault.ts'
import { batchOf, blockOf, collect, openTestVault, putFile, start, write } from '../../test/support/vault-world.ts'
import type { Clock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { beforeFirst } from '../model/sequence.ts'
import { MemoryDisk } from '../store/memory.ts'

const forever = new AbortController().signal

/** Time that passes at once, until the test is over. */
function quickClock(context: TestContext): Clock {
  let ms = 0
  let over = false
  context.after(() => (over = true))
  return {
    now: () => start + ms * 1000,
    monotonicMs: () => ms,
    sleep: (rest, signal) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
        setImmediate(() => {
          ms += rest
          if (!over) resolve()
        })
      }),
  }
}

for (const reserveBytes of [0, 3000]) {
  test(`a full disk stops acknowledgements, and work goes on by itself once there is room (reserve ${reserveBytes})`, async (context) => {
    for (let seed = 0; seed < 20; seed++) {
      const random = new Seeded(seed)
      const disk = new MemoryDisk({ random: random.fork('disk'), capacityBytes: 1_000_000 })
      disk.overwrite('ballast', Buffer.alloc(400_000))
      const limits = { segmentBytes: 4000, packBytes: 15_000, reserveBytes, waitingBytesMax: 60_000 }
      const told = { clock: quickClock(context), random: random.fork('vault'), limits }
      const { parts, vault, agent, source } = await memoryVault(disk, told)
      const appender = await vault.appender(agent, source, forever)
      disk.capacityBytes = disk.usedBytes + random.integer(0, 30_000) + reserveBytes
      const acknowledged: number[] = []
      const contents: Buffer[] = []
      const send = async (): Promise<void> => {
        const underWay: Promise<unknown>[] = []
        for (let at = 1; at <= 60; at += 2) {
          const content = Buffer.from(random.bytes(random.integer(500, 1500)))
          contents.push(content)
          const { chunks, bytes } = blockOf(vault, content)
          await appender.block(bytes)
          const change = write('log', at, random.bytes(100))
          underWay.push(
            appender.batch(batchOf(at, [putFile(`f${at}`, chunks), change])).then(() => acknowledged.push(at)),
          )
        }
        await Promise.all(underWay)
      }
      const sending = send()
      while (!vault.stalled) await new Promise((resolve) => setImmediate(resolve))
      const before = acknowledged.length
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(vault.stalled && appender.stalled && acknowledged.length === before && before < 30)
      assert.ok(disk.usedBytes <= disk.capacityBytes - reserveBytes / 2)
      const journal = vault.journal(source)
      assert.equal((await collect(journal.batches(beforeFirst))).length, journal.durable / 2)

      disk.capacityBytes += 20_000
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
      disk.capacityBytes += 400_000
      await sending
      assert.equal(vault.stalled, false)
      assert.deepEqual(
        acknowledged,
        Array.from({ length: 30 }, (_, index) => index * 2 + 1),
      )
      disk.powerCut()

      await using again = await openTestVault(parts())
      assert.deepEqual(again.damage, [], `seed ${seed}`)
      const firsts = (await collect(again.journal(source).batches(beforeFirst))).map(({ batch }) => batch.first)
      assert.deepEqual(firsts, acknowledged)
      for (const content of contents) {
        const [chunk] = blockOf(again, content).chunks
        assert.deepEqual(await again.chunks.read(chunk!.id), content)
      }
    }
  })
}

test('a session that is replaced while there is no room gives up what waits, and the next one sends it again', async (context) => {
  const random = new Seeded(5)
  const disk = new MemoryDisk({ random, capacityBytes: 100_000 })
  const told = { clock: quickClock(context), random: random.fork('vault'), limits: { reserveBytes: 0 } }
  const { vault, agent, source } = await memoryVault(disk, told)
  const first = await vault.appender(agent, source, forever)
  await first.batch(batchOf(1, [write('f', 0, Buffer.from('one'))]))
  disk.capacityBytes = disk.usedBytes
  const waiting = first.batch(batchOf(2, [write('f', 0, Buffer.from('two'))]))
  const refused = assert.rejects(waiting, (error) => isCode(error, 'interrupted'))
  while (!vault.stalled) await new Promise((resolve) => setImmediate(resolve))
  const second = await vault.appender(agent, source, forever)
  await refused
  assert.equal(second.durable, 1)
  await assert.rejects(first.batch(batchOf(2, [write('f', 0, Buffer.from('two'))])), (error) =>
    isCode(error, 'interrupted'),
  )
  const again = second.batch(batchOf(2, [write('f', 0, Buffer.from('two again'))]))
  disk.capacityBytes = 100_000
  await again
  assert.equal(second.durable, 2)
  await vault[Symbol.asyncDispose]()
})
