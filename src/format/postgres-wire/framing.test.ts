import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Malformed } from '../../base/bytes.ts'
import { copyDataType, MessageDecoder, messageBytesMax, messageBytesMaxAtStart } from './framing.ts'

interface Message {
  readonly type: number
  readonly body: Buffer
}

const message: fc.Arbitrary<Message> = fc
  .record({
    type: fc.oneof(fc.constant(copyDataType), fc.integer({ min: 0, max: 255 })),
    body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  })
  .map(({ type, body }) => ({ type, body }))

function encode({ type, body }: Message): Buffer {
  const header = Buffer.from([type, 0, 0, 0, 0])
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

/** Feeds `bytes` in the pieces that `cuts` make of them, always in the same buffer, as a socket does. */
function decode(bytes: Buffer, cuts: readonly number[], isTrusted = true): Message[] {
  const got: Message[] = []
  let announced = 0
  let pieces: Buffer[] = []
  const decoder = new MessageDecoder({
    message: (type, body) => got.push({ type, body: Buffer.from(body) }),
    copyDataStart: (length) => {
      announced = length
      pieces = []
    },
    copyData: (source, start, end) => pieces.push(Buffer.from(source.subarray(start, end))),
    copyDataEnd: () => {
      const body = Buffer.concat(pieces)
      assert.equal(body.length, announced)
      got.push({ type: copyDataType, body })
    },
  })
  if (isTrusted) decoder.trust()
  const reused = Buffer.alloc(bytes.length)
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  for (const [at, end] of ends.entries()) {
    const start = ends[at - 1] ?? 0
    bytes.copy(reused, 0, start, end)
    decoder.feed(reused, end - start)
    reused.fill(0xee)
  }
  return got
}

test('messages come out as they were sent, wherever the reads cut them', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 20 }), (messages, cuts) => {
      assert.deepEqual(decode(Buffer.concat(messages.map(encode)), cuts), messages)
    }),
  )
})

test('any bytes are messages or malformed, never more than was announced to be held', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.nat(), { maxLength: 5 }),
      fc.boolean(),
      (bytes, cuts, trusted) => {
        try {
          decode(Buffer.from(bytes), cuts, trusted)
        } catch (error) {
          assert.ok(error instanceof Malformed)
        }
      },
    ),
  )
})

test('a message may be as long as its time allows; CopyData is never held, so it may be any length', () => {
  const header = (type: number, length: number): Buffer => {
    const bytes = Buffer.from([type, 0, 0, 0, 0])
    bytes.writeInt32BE(length, 1)
    return bytes
  }
  assert.deepEqual(decode(header(0x52, messageBytesMaxAtStart + 4), [], false), [])
  assert.throws(() => decode(header(0x52, messageBytesMaxAtStart + 5), [], false), Malformed)
  assert.throws(() => decode(header(0x44, messageBytesMax + 5), []), Malformed)
  assert.deepEqual(decode(header(copyDataType, 2 ** 31 - 1), []), [])
  for (const length of [3, 0, -1, -(2 ** 31)]) assert.throws(() => decode(header(copyDataType, length), []), Malformed)
})
