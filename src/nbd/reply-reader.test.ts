import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdsForAnyBytes } from '../../test/support/any-bytes.ts'
import { Malformed } from '../base/bytes.ts'
import type { ExportExtent } from './export.ts'
import { Intake } from './intake.ts'
import { command } from './numbers.ts'
import { NbdRefused } from './refused.ts'
import { ReplyReader, type Replied } from './reply-reader.ts'

const hex = (...text: string[]): Buffer => Buffer.from(text.join('').replaceAll(' ', ''), 'hex')
const simple = (cookie: number, error = 0): Buffer => hex('67446698', number32(error), '00000000', number32(cookie))
const chunk = (cookie: number, flags: number, type: number, payload: Buffer): Buffer =>
  Buffer.concat([
    hex('668e33ef', number32(flags * 0x1_0000 + type), '00000000', number32(cookie), number32(payload.length)),
    payload,
  ])
const number32 = (value: number): string => value.toString(16).padStart(8, '0')
const last = 1
const [none, data, hole, status, error, errorAt] = [0, 1, 2, 5, 0x8001, 0x8002]

interface Heard {
  readonly outcomes: ReadonlyMap<number, readonly ExportExtent[] | NbdRefused>
  readonly into: Buffer
}

/** A client that has asked for a read (1), a write (2) and the blocks (3) of ten bytes at 100. */
function hear(bytes: Buffer, { isStructured = true } = {}): Heard {
  const into = Buffer.alloc(10, '.')
  const asked = new Map<number, Replied>([
    [1, { command: command.read, at: 100, bytes: 10, into }],
    [2, { command: command.write, at: 100, bytes: 10, into: undefined }],
    [3, { command: command.blockStatus, at: 100, bytes: 10, into: undefined }],
  ])
  const outcomes = new Map<number, readonly ExportExtent[] | NbdRefused>()
  const chosen = { bytes: 1000, flags: 1, isStructured, allocationId: 7, blocks: undefined }
  const intake = new Intake()
  const reader = new ReplyReader(intake, chosen, {
    find: (cookie) => asked.get(cookie),
    finished: (cookie, outcome) => {
      asked.delete(cookie)
      outcomes.set(cookie, outcome)
    },
  })
  // One at a time, so that everything stops everywhere once.
  for (let at = 0; at < bytes.length; at++) intake.push(bytes.subarray(at, at + 1), () => reader.go())
  return { outcomes, into }
}

const heardText = (...parts: readonly Buffer[]): string => hear(Buffer.concat(parts)).into.toString()

test('simple replies carry the data of a read behind them', () => {
  const { outcomes, into } = hear(Buffer.concat([simple(2), simple(1), Buffer.from('0123456789')]), {
    isStructured: false,
  })
  assert.deepEqual(
    [...outcomes],
    [
      [2, []],
      [1, []],
    ],
  )
  assert.equal(into.toString(), '0123456789')
})

test('a structured read may come in parts, in any order, with holes between', () => {
  const text = heardText(
    chunk(1, 0, data, Buffer.concat([hex('0000000000000068'), Buffer.from('4567')])),
    chunk(2, last, none, Buffer.alloc(0)),
    chunk(1, 0, hole, hex('0000000000000064 00000004')),
    chunk(1, last, data, Buffer.concat([hex('000000000000006c'), Buffer.from('89')])),
  )
  assert.equal(text, '\0\0\0\x00456789')
})

test('errors tell their number and the words of the server', () => {
  const { outcomes } = hear(
    Buffer.concat([
      chunk(1, 0, errorAt, hex('00000005 0002 6f68 0000000000000064')),
      chunk(1, last, none, Buffer.alloc(0)),
      simple(2, 28),
      chunk(3, last, error, hex('0000006c 0000')),
    ]),
  )
  const [read, write, blocks] = [1, 2, 3].map((cookie) => outcomes.get(cookie))
  assert.ok(read instanceof NbdRefused && read.error === 'EIO' && read.message.startsWith('oh'))
  assert.ok(write instanceof NbdRefused && write.error === 'ENOSPC')
  assert.ok(blocks instanceof NbdRefused && blocks.error === 'ESHUTDOWN')
})

test('blocks are told in the context that was chosen', () => {
  const { outcomes } = hear(
    Buffer.concat([
      chunk(3, 0, status, hex('00000009 00000400 00000001')),
      chunk(3, last, status, hex('00000007 00000004 00000003 00000004 00000000 00000009 00000002 00000001 00000001')),
    ]),
  )
  assert.deepEqual(outcomes.get(3), [
    { at: 100, bytes: 4, is: 'hole' },
    { at: 104, bytes: 4, is: 'data' },
    { at: 108, bytes: 9, is: 'zero' },
    // A hole that may read as anything is no reason to leave it out.
    { at: 117, bytes: 1, is: 'data' },
  ])
})

test('what nobody asked for is a violation', () => {
  const ten = (at: string): Buffer => Buffer.concat([hex(at), Buffer.from('0123456789')])
  const wrong: Record<string, Buffer> = {
    'no reply': Buffer.alloc(20),
    'an unknown cookie': simple(9),
    'a cookie with an upper half': hex('67446698 00000000 00000001 00000001'),
    'a simple reply to a structured read': simple(1),
    'a simple reply that tells no blocks': simple(3),
    'data for a write': chunk(2, last, data, ten('0000000000000064')),
    'data before the read': chunk(1, last, data, ten('0000000000000063')),
    'data past the read': chunk(1, last, data, ten('0000000000000065')),
    'no data': chunk(1, last, data, hex('0000000000000064')),
    'a data chunk too short for its place': Buffer.concat([chunk(1, last, data, hex('00000000')), Buffer.alloc(8)]),
    'data in part': chunk(1, last, hole, hex('0000000000000064 00000004')),
    'data twice': Buffer.concat([
      chunk(1, 0, hole, hex('0000000000000064 00000004')),
      chunk(1, 0, hole, hex('0000000000000067 00000004')),
    ]),
    'an empty chunk that is none': chunk(1, last, none, hex('00')),
    'blocks of a write': chunk(2, last, status, hex('00000007 00000004 00000003')),
    'no blocks': chunk(3, last, status, hex('00000007')),
    'blocks of no bytes': chunk(3, last, status, hex('00000007 00000000 00000000')),
    'blocks of another context alone': chunk(3, last, status, hex('00000008 00000004 00000003')),
    'an unknown chunk': chunk(2, last, 77, Buffer.alloc(0)),
    'an error of no number': chunk(2, last, error, hex('00000000 0000')),
    'an error longer than its chunk': chunk(2, last, error, hex('00000005 0004 6f68')),
    'a chunk of much memory': hex('668e33ef 00010005 00000000 00000003 00100000'),
  }
  for (const [what, bytes] of Object.entries(wrong)) assert.throws(() => hear(bytes), Malformed, what)
  assert.throws(() => hear(chunk(2, last, none, Buffer.alloc(0)), { isStructured: false }), Malformed)
})

test('any bytes are taken or refused', () => {
  const whole = Buffer.concat([
    chunk(1, 0, data, Buffer.concat([hex('0000000000000068'), Buffer.from('4567')])),
    chunk(1, 0, hole, hex('0000000000000064 00000004')),
    chunk(1, last, error, hex('00000005 0002 6f68')),
    simple(2),
    chunk(3, last, status, hex('00000007 00000004 00000003')),
  ])
  holdsForAnyBytes((bytes) => {
    const { outcomes, into } = hear(bytes)
    return { outcomes: [...outcomes.keys()], into: into.toString('hex') }
  }, whole)
})
