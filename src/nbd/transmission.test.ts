import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { memoryExport } from '../../test/support/memory-export.ts'
import { ask, chunk, connect, hex, simpleReply, turn, write } from '../../test/support/nbd-transmission.ts'
import type { Export } from './export.ts'
import { command, commandFlag, errorNumbers, payloadBytesMax } from './numbers.ts'
import { encodeRequest, type RequestHeader } from './requests.ts'

type Request = Omit<RequestHeader, 'read'> & { readonly data?: Buffer }

/** What a server has to answer, told again from the specification and without looking at the code: one request after the other on one memory. */
function expected(requests: readonly Request[], served: Export, memory: Buffer, isStructured: boolean): Buffer[] {
  return requests.map((request, cookie) => {
    const { at, bytes, flags, data } = request
    const isInside = at + bytes <= memory.length
    const isAligned = at % (served.blockBytes ?? 1) === 0 && bytes % (served.blockBytes ?? 1) === 0
    const allowed = { 0: isStructured ? 5 : 1, 1: 1, 3: 1, 4: 1, 6: 19 }[request.command]
    const failed = (error: number): Buffer => {
      if (request.command !== 0 || !isStructured) return simpleReply(cookie, error)
      return chunk(cookie, 32769, hex(`${error.toString(16).padStart(8, '0')} 0000`))
    }
    if (allowed === undefined || (flags & ~allowed) !== 0) return failed(22)
    if (request.command === 3) return simpleReply(cookie)
    if (request.command === 0) {
      if (bytes > payloadBytesMax || !isInside || !isAligned) return failed(22)
      const found = Buffer.from(memory.subarray(at, at + bytes))
      if (!isStructured) return simpleReply(cookie, 0, found)
      if (bytes === 0) return chunk(cookie, 0, found)
      const offset = Buffer.alloc(8)
      offset.writeBigUInt64BE(BigInt(at))
      return chunk(cookie, 1, Buffer.concat([offset, found]))
    }
    if (served.isReadOnly) return failed(1)
    if (request.command === 6 && (flags & 16) !== 0 && served.hasFastZero !== true) return failed(95)
    if (!isInside) return failed(request.command === 4 ? 22 : 28)
    if (!isAligned) return failed(22)
    if (request.command === 1) data?.copy(memory, at)
    else memory.fill(0, at, at + bytes)
    return simpleReply(cookie)
  })
}

/** Each of the replies, whose cookies are their places in the list, has come once, in whatever order. */
function assertReplies(sent: Buffer, wanted: readonly Buffer[]): void {
  const left = new Set(wanted.keys())
  for (let at = 0; at < sent.length;) {
    const cookie = sent.readUInt32BE(at + 12)
    assert.ok(left.delete(cookie))
    const reply = wanted[cookie] ?? Buffer.alloc(0)
    assert.ok(sent.subarray(at, at + reply.length).equals(reply))
    at += reply.length
  }
  assert.equal(left.size, 0)
}

const anyRequest = (bytes: number): fc.Arbitrary<Request> =>
  fc
    .record({
      command: fc.constantFrom(0, 0, 1, 1, 1, 3, 4, 6, 5, 8, 99),
      flags: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.constantFrom(1, 2, 4, 8, 16, 17, 32, 0x8000)),
      at: fc.oneof(
        { weight: 3, arbitrary: fc.nat(bytes).map((at) => at - (at % 512)) },
        fc.nat(bytes + 10),
        fc.constantFrom(2 ** 32, 2 ** 53 - 1),
      ),
      bytes: fc.oneof(
        { weight: 8, arbitrary: fc.nat(8).map((count) => count * 512) },
        { weight: 4, arbitrary: fc.nat(700) },
        fc.constantFrom(128 * 1024, 128 * 1024 + 512, 300_000),
      ),
      fill: fc.nat(255),
    })
    .map(({ fill, ...request }) =>
      request.command === 1 ? { ...request, data: Buffer.alloc(request.bytes, fill) } : request,
    )

test('requests are answered as the specification says, in whatever pieces they come', () => {
  const bytes = 512 * 1024
  const many = fc.array(anyRequest(bytes), { minLength: 1, maxLength: 30 })
  const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 65_536 })), {
    minLength: 1,
    maxLength: 20,
  })
  const terms = fc.record({
    isStructured: fc.boolean(),
    isReadOnly: fc.boolean(),
    hasFastZero: fc.boolean(),
    blockBytes: fc.constantFrom(1, 512),
  })
  fc.assert(
    fc.property(many, pieces, terms, (requests, sizes, { isStructured, ...traits }) => {
      const served = memoryExport({ bytes, ...traits })
      const connection = connect(served, { isStructured })
      const given = Buffer.concat(
        requests.flatMap((request, cookie) => [encodeRequest(request, cookie), request.data ?? Buffer.alloc(0)]),
      )
      for (let at = 0, index = 0; at < given.length; index++) {
        // Small pieces over and over would take long, so the last is all that is left.
        const size = index < 200 ? (sizes[index % sizes.length] ?? 1) : 65_536
        connection.give(given.subarray(at, at + size))
        at += size
      }
      const model = Buffer.alloc(bytes)
      const wanted = expected(requests, served, model, isStructured)
      assert.equal(connection.told.refused, '')
      assertReplies(connection.sent(), wanted)
      assert.ok(served.memory.equals(model))
    }),
    { numRuns: 150 },
  )
})

test('any bytes are answered, waited out or refused', () => {
  const whole = Buffer.concat([
    ask(command.read, 0, 100, 1),
    write(5, Buffer.alloc(60, 7), 2),
    ask(command.blockStatus, 0, 4096, 3),
    ask(command.zero, 0, 4096, 4, commandFlag.noHole),
    ask(command.flush, 0, 0, 5),
    ask(command.disconnect, 0, 0, 6),
  ])
  const damaged = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
    const copy = Buffer.from(whole)
    for (const [at, value] of changes) copy[at] = value
    return copy
  })
  const any = fc.uint8Array({ maxLength: 300 }).map((some) => Buffer.from(some))
  fc.assert(
    fc.property(fc.oneof(damaged, any), fc.boolean(), (given, isStructured) => {
      const served = memoryExport({ bytes: 65_536 })
      const connection = connect(served, { isStructured })
      connection.give(given)
      for (const { at, bytes } of served.taken) assert.ok(at + bytes <= served.bytes)
      const isOver = connection.told.isFinished || connection.told.refused !== ''
      assert.ok(isOver || connection.told.reads)
    }),
    { numRuns: 3000 },
  )
})

test('requests of one read are put to the export together, and answered in one write', () => {
  const batches: number[] = []
  const served = memoryExport()
  const take = served.take.bind(served)
  served.take = (requests) => {
    batches.push(requests.length)
    take(requests)
  }
  const connection = connect(served)
  connection.give(
    Buffer.concat(Array.from({ length: 40 }, (_, index) => write(index * 512, Buffer.alloc(512, index), index))),
  )
  assert.deepEqual(batches, [40])
  assert.equal(connection.sent().length, 40 * 16)
})

test('answers may come in any order and much later, each with its cookie', async () => {
  const served = memoryExport()
  served.memory.fill('abcd')
  served.hold()
  const connection = connect(served)
  connection.give(ask(command.read, 0, 4, 7), ask(command.flush, 0, 0, 8), ask(command.read, 2, 4, 9))
  await turn()
  assert.equal(connection.sent().length, 0)
  served.release((waiting) => waiting.toReversed())
  await turn()
  assert.ok(
    connection
      .sent()
      .equals(
        Buffer.concat([simpleReply(9, 0, Buffer.from('cdab')), simpleReply(8), simpleReply(7, 0, Buffer.from('abcd'))]),
      ),
  )
})

test('a reply that is under way is not touched by those after it', async () => {
  const served = memoryExport({ bytes: 4 * 1024 * 1024 })
  for (let at = 0; at < served.bytes; at += 4096) served.memory.fill(at / 4096, at, at + 4096)
  served.hold()
  const connection = connect(served)
  const count = served.bytes / 4096
  const wanted: Buffer[] = []
  for (let index = 0; index < count; index++) {
    connection.give(ask(command.read, index * 4096, 4096, index))
    wanted.push(simpleReply(index, 0, served.memory.subarray(index * 4096, (index + 1) * 4096)))
  }
  served.release()
  await turn()
  assert.ok(connection.sent().equals(Buffer.concat(wanted)))
})

test('the export says no, and the client is told by the number of Linux', () => {
  for (const isStructured of [false, true]) {
    const served = memoryExport()
    served.fails = 'ENOSPC'
    const connection = connect(served, { isStructured })
    connection.give(write(0, Buffer.alloc(9), 1), ask(command.read, 0, 9, 2))
    const { ENOSPC } = errorNumbers
    const read = isStructured ? chunk(2, 32769, hex('0000001c 0000')) : simpleReply(2, ENOSPC)
    assert.ok(connection.sent().equals(Buffer.concat([simpleReply(1, ENOSPC), read])))
  }
})

test('what is allocated is told, at most one extent where one was asked for', async () => {
  const served = memoryExport({ bytes: 32_768 })
  served.memory.fill(1, 8192, 12_288)
  const connection = connect(served, { isStructured: true })
  connection.give(
    ask(command.blockStatus, 0, 32_768, 1),
    ask(command.blockStatus, 100, 32_000, 2, commandFlag.oneExtent),
    ask(command.blockStatus, 0, 0, 3),
    ask(command.blockStatus, 32_000, 1000, 4),
  )
  await turn()
  const found = connection.sent()
  const wanted = [
    simpleReply(3, 22),
    simpleReply(4, 22),
    chunk(1, 5, hex('00000001 00002000 00000003 00001000 00000000 00005000 00000003')),
    chunk(2, 5, hex('00000001 00001f9c 00000003')),
  ]
  assert.ok(found.equals(Buffer.concat(wanted)), found.toString('hex'))
})

test('an export that does not know tells of data, and one that fails is noted', async () => {
  const { extents: _none, ...served } = memoryExport({ bytes: 8192 })
  const unknowing = connect(served, { isStructured: true })
  unknowing.give(ask(command.blockStatus, 0, 8192, 1))
  const failing = connect(
    { ...served, extents: () => Promise.reject(new Error('the disk is gone')) },
    { isStructured: true },
  )
  failing.give(ask(command.blockStatus, 0, 8192, 1))
  await turn()
  assert.ok(unknowing.sent().equals(chunk(1, 5, hex('00000001 00002000 00000000'))))
  assert.ok(failing.sent().equals(simpleReply(1, errorNumbers.EIO)))
  assert.match(failing.told.noted.join(), /the disk is gone/)
})

test('without their agreement, blocks are not told and reads may be cut', () => {
  const connection = connect(memoryExport())
  connection.give(ask(command.blockStatus, 0, 4096, 1), ask(command.read, 0, 1, 2, commandFlag.dontFragment))
  assert.ok(connection.sent().equals(Buffer.concat([simpleReply(1, 22), simpleReply(2, 22)])))
})

test('bytes that are no request end the connection', () => {
  const connection = connect(memoryExport())
  connection.give(Buffer.alloc(28))
  assert.notEqual(connection.told.refused, '')
})

test('an export that answers twice is wrong and is told so', () => {
  const served = memoryExport()
  served.hold()
  const connection = connect(served)
  connection.give(ask(command.flush, 0, 0, 1))
  const [request] = served.waiting
  request?.answer.done()
  assert.throws(() => request?.answer.failed('EIO'), /answered once/)
})
