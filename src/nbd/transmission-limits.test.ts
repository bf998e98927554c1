import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryExport } from '../../test/support/memory-export.ts'
import { ask, chunk, connect, hex, simpleReply, turn, write } from '../../test/support/nbd-transmission.ts'
import { command, errorNumbers, payloadBytesMax } from './numbers.ts'
import { heldBytesMax, unansweredMax } from './transmission.ts'

test('a write of which only a part came is never put to the export', () => {
  for (const bytes of [1000, 1_000_000]) {
    const served = memoryExport()
    const connection = connect(served)
    connection.give(write(0, Buffer.alloc(bytes, 1), 1).subarray(0, bytes))
    connection.transmission.end('disconnect')
    assert.deepEqual(served.taken, [])
    assert.ok(connection.told.isFinished)
  }
})

test('data of a write that is refused are dropped as they come, also 4 GiB of them', () => {
  const served = memoryExport()
  const connection = connect(served)
  const bytes = 2 ** 32 - 1
  connection.give(ask(command.write, 0, bytes, 1))
  const piece = Buffer.alloc(32 * 1024 * 1024)
  const slab = connection.intake.buffer
  for (let left = bytes; left > 0; left -= piece.length)
    connection.give(piece.subarray(0, Math.min(piece.length, left)))
  connection.give(ask(command.flush, 0, 0, 2))
  assert.equal(connection.intake.buffer, slab)
  assert.ok(connection.sent().equals(Buffer.concat([simpleReply(1, 22), simpleReply(2)])))
})

test('only so many requests are taken before some are answered', async () => {
  const served = memoryExport()
  served.hold()
  const connection = connect(served)
  const asked = unansweredMax + 500
  connection.give(Buffer.concat(Array.from({ length: asked }, (_, index) => ask(command.flush, 0, 0, index))))
  assert.equal(served.taken.length, unansweredMax)
  assert.equal(connection.told.reads, false)
  served.release()
  await turn()
  assert.equal(served.taken.length, asked)
  assert.equal(connection.told.reads, true)
  assert.equal(connection.sent().length, asked * 16)
})

test('only so many bytes are held, but a single request of any allowed length is served', async () => {
  const served = memoryExport({ bytes: payloadBytesMax })
  served.hold()
  const connection = connect(served)
  const part = payloadBytesMax / 4
  for (let index = 0; index < 8; index++) connection.give(ask(command.read, 0, part, index))
  assert.equal(served.taken.length, heldBytesMax / part)
  served.release()
  await turn()
  connection.give(ask(command.read, 0, payloadBytesMax, 9))
  assert.equal(served.taken.length, 9)
  assert.equal(connection.sent().length, 8 * (16 + part) + 16 + payloadBytesMax)
})

test('a client that does not read its replies is not read any more, until it does', async () => {
  const served = memoryExport({ bytes: payloadBytesMax })
  const connection = connect(served, { isRead: false })
  const part = payloadBytesMax / 4
  for (let index = 0; index < 8; index++) connection.give(ask(command.read, 0, part, index))
  assert.ok(served.taken.length <= heldBytesMax / part)
  assert.equal(connection.told.reads, false)
  connection.drain()
  await turn()
  assert.equal(served.taken.length, 8)
  assert.equal(connection.told.reads, true)
})

test('what was held back of a client that has hung up is dropped: it may have sent it again elsewhere', async () => {
  const served = memoryExport({ bytes: payloadBytesMax })
  served.hold()
  const connection = connect(served, { isClientGone: () => true })
  connection.give(ask(command.read, 0, payloadBytesMax, 1), write(0, Buffer.alloc(1, 1), 2))
  served.release()
  await turn()
  assert.deepEqual(
    served.taken.map(({ kind }) => kind),
    ['read'],
  )
  assert.ok(connection.told.isFinished)
})

test('after goodbye nothing is taken, and what was taken is answered before the end', async () => {
  const served = memoryExport()
  served.hold()
  const connection = connect(served)
  connection.give(ask(command.flush, 0, 0, 1), ask(command.disconnect, 0, 0, 2), ask(command.flush, 0, 0, 3))
  assert.equal(served.taken.length, 1)
  assert.ok(!connection.told.isFinished)
  served.release()
  await turn()
  assert.ok(connection.told.isFinished)
  assert.ok(connection.sent().equals(simpleReply(1)))
})

test('at the end of the server, new requests fail as such and older ones are answered', async () => {
  for (const isStructured of [false, true]) {
    const served = memoryExport()
    served.hold()
    const connection = connect(served, { isStructured })
    connection.give(ask(command.flush, 0, 0, 1))
    connection.transmission.end('shutdown')
    connection.give(write(0, Buffer.alloc(200_000, 1), 2), ask(command.read, 0, 5, 3))
    assert.ok(!connection.told.isFinished)
    served.release()
    await turn()
    const read = isStructured ? chunk(3, 32769, hex('0000006c 0000')) : simpleReply(3, errorNumbers.ESHUTDOWN)
    assert.ok(connection.sent().equals(Buffer.concat([simpleReply(2, errorNumbers.ESHUTDOWN), read, simpleReply(1)])))
    assert.ok(connection.told.isFinished)
    assert.equal(served.taken.length, 1)
  }
})

test('buffers of long writes and reads are used again, once nobody looks at them any more', async () => {
  const served = memoryExport({ bytes: 4 * 1024 * 1024 })
  const connection = connect(served)
  const bytes = 300_000
  const seen = new Set<ArrayBufferLike>()
  const take = served.take.bind(served)
  served.take = (requests) => {
    for (const request of requests) if (request.kind === 'write') seen.add(request.data.buffer)
    take(requests)
  }
  for (let index = 0; index < 10; index++) {
    connection.give(write(index * bytes, Buffer.alloc(bytes - index, index), index))
    connection.give(ask(command.read, index * bytes, bytes, index))
    // The sink tells in a later turn that a reply has gone.
    await turn()
  }
  assert.ok(seen.size <= 2, `${seen.size} buffers`)
  const replies = Array.from({ length: 10 }, (_, index) => [
    simpleReply(index),
    simpleReply(index, 0, Buffer.concat([Buffer.alloc(bytes - index, index), Buffer.alloc(index)])),
  ])
  assert.ok(connection.sent().equals(Buffer.concat(replies.flat())))
  served.hold()
  connection.give(write(0, Buffer.alloc(bytes, 1), 1), write(0, Buffer.alloc(bytes, 2), 2))
  const held = served.waiting.map((request) => request.kind === 'write' && request.data[0])
  assert.deepEqual(held, [1, 2])
})
