import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryExport } from '../../test/support/memory-export.ts'
import { ask, connect, turn, write } from '../../test/support/nbd-transmission.ts'
import { until } from '../../test/support/until.ts'
import { systemClock } from '../base/clock.ts'
import { NbdClient } from './client.ts'
import { HeldMemory, ownBytesMax, sharedBytesMax } from './held-memory.ts'
import { listenUnix } from './listen.ts'
import { command, payloadBytesMax } from './numbers.ts'

const mebi = 1024 ** 2

test('all connections together hold only so much; the rest are not read, and come in the order of asking', async () => {
  const memory = new HeldMemory()
  const served = memoryExport({ bytes: payloadBytesMax })
  served.hold()
  const connections = Array.from({ length: 12 }, () => connect(served, { memory }))
  for (const connection of connections) connection.give(ask(command.read, 0, payloadBytesMax, 1))
  const atOnce = Math.floor(sharedBytesMax / (payloadBytesMax - ownBytesMax))
  assert.equal(served.taken.length, atOnce)
  assert.deepEqual(
    connections.map(({ told }) => told.reads),
    connections.map((_, index) => index < atOnce),
  )
  // One after the other is answered, and lets the next one in.
  for (let answered = 0; answered < connections.length; answered++) {
    const [request] = served.waiting.splice(0, 1)
    assert.ok(request !== undefined)
    request.answer.done()
    await turn()
    await turn()
    assert.equal(connections[answered]?.sent().length, 16 + payloadBytesMax)
    assert.equal(served.taken.length, Math.min(connections.length, atOnce + answered + 1))
  }
})

test('small requests need nothing of what others hold, and a large one is not overtaken by those that came later', async () => {
  const memory = new HeldMemory()
  const served = memoryExport({ bytes: payloadBytesMax })
  served.hold()
  const stuck = Array.from({ length: 4 }, () => connect(served, { memory }))
  for (const connection of stuck) connection.give(ask(command.read, 0, payloadBytesMax, 1))
  const large = connect(served, { memory })
  large.give(ask(command.read, 0, 20 * mebi, 1))
  const later = connect(served, { memory })
  later.give(ask(command.read, 0, 3 * mebi, 1))
  const small = connect(served, { memory })
  for (let cookie = 0; cookie < 4; cookie++) small.give(write(0, Buffer.alloc(mebi / 4, 1), cookie))
  assert.equal(served.taken.length, 4 + 4)
  assert.equal(large.told.reads, false)
  assert.equal(later.told.reads, false)
  served.waiting.splice(0, 1)[0]?.answer.done()
  await turn()
  await turn()
  assert.deepEqual(
    served.taken.slice(8).map(({ bytes }) => bytes),
    [20 * mebi, 3 * mebi],
  )
})

test('who leaves while waiting keeps nobody waiting, and what nobody hears is held until it is answered', async () => {
  const memory = new HeldMemory()
  const served = memoryExport({ bytes: payloadBytesMax })
  served.hold()
  const gone = Array.from({ length: 4 }, () => connect(served, { memory }))
  for (const connection of gone) connection.give(ask(command.read, 0, payloadBytesMax, 1))
  const leaving = connect(served, { memory })
  leaving.give(ask(command.read, 0, payloadBytesMax, 1))
  const staying = connect(served, { memory })
  staying.give(ask(command.read, 0, 2 * mebi, 1))
  for (const connection of gone) connection.transmission.abandon()
  assert.equal(served.taken.length, 4, 'the export has them still')
  leaving.transmission.end('disconnect')
  assert.equal(served.taken.length, 5)
  served.release()
  await turn()
  await turn()
  assert.ok(staying.sent().length > 2 * mebi)
  const next = connect(served, { memory })
  served.hold()
  next.give(ask(command.read, 0, payloadBytesMax, 1))
  assert.equal(served.taken.length, 6)
})

test(
  'many clients that write much at once are all served, within the memory of one server',
  { timeout: 120_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-held-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 's')
    const served = memoryExport({ bytes: 16 * mebi })
    served.hold()
    await using _listener = await listenUnix({ path }, [served], { clock: systemClock })
    const data = Buffer.alloc(16 * mebi, 7)
    const clients = await Promise.all(Array.from({ length: 24 }, () => NbdClient.connect({ at: { path } }, t.signal)))
    const atOnce = Math.floor(sharedBytesMax / (data.length - ownBytesMax))
    let done = 0
    const writes = clients.map((client) => client.write(0, data).then(() => done++))
    await until('as many are held as may be', () => served.waiting.length === atOnce)
    while (done < clients.length) {
      assert.ok(served.waiting.length <= atOnce, `${served.waiting.length} at once`)
      served.waiting.shift()?.answer.done()
      await turn()
    }
    await Promise.all(writes)
    assert.equal(served.taken.length, clients.length)
    for (const client of clients) await client[Symbol.asyncDispose]()
  },
)
