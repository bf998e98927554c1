import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Malformed } from '../base/bytes.ts'
import { isCode } from '../base/errors.ts'
import type { ChunkId } from '../model/change.ts'
import { encodeBlock } from './block.ts'
import { sequence } from '../model/sequence.ts'
import {
  blockHead,
  blocksKept,
  bytesHead,
  damageItem,
  decodeContent,
  decodeStretches,
  endItem,
  journalItem,
  lostItem,
  pieceItem,
  placeItem,
  reachedItem,
  type ToldStretch,
  zerosItem,
} from './content.ts'

const chunk = (bytes: number): { id: ChunkId; data: Buffer } => ({
  id: randomBytes(32).toString('latin1') as ChunkId,
  data: Buffer.alloc(bytes, randomBytes(7)),
})

async function* cut(whole: Buffer, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < whole.length; at += bytes) yield whole.subarray(at, at + bytes)
}

async function decoded(items: readonly Buffer[], pieceBytes = 64): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of decodeContent(cut(Buffer.concat(items), pieceBytes))) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}

const blockItem = (block: Buffer): Buffer => Buffer.concat([blockHead(block.length), block])

test('content comes out the same however it is cut on its way', async () => {
  const [a, b, c] = [chunk(3000), chunk(1), chunk(70_000)]
  const items = [
    blockItem(encodeBlock([a, b])),
    pieceItem(0, a.data.length, 1),
    blockItem(encodeBlock([c])),
    pieceItem(1, 10, 500),
    bytesHead(5),
    Buffer.from('plain'),
    pieceItem(0, 0, a.data.length),
    endItem(),
  ]
  const expected = Buffer.concat([b.data, c.data.subarray(10, 510), Buffer.from('plain'), a.data])
  for (const pieceBytes of [1, 2, 13, 64, 65_536, 1_000_000]) {
    assert.deepEqual(await decoded(items, pieceBytes), expected)
  }
})

test('told damage is thrown with its message', async () => {
  await assert.rejects(
    decoded([bytesHead(1), Buffer.from('x'), damageItem('pack 7 is damaged')]),
    (error) => isCode(error, 'damaged') && error.message === 'pack 7 is damaged',
  )
})

test('what is not content is malformed', async () => {
  const block = blockItem(encodeBlock([chunk(100)]))
  const wrong: Record<string, Buffer[]> = {
    'no end': [block],
    'cut within an item': [block.subarray(0, 20)],
    'a piece beyond its block': [block, pieceItem(0, 90, 11), endItem()],
    'a piece of no block': [pieceItem(0, 0, 1), endItem()],
    'a block that is not kept': [...Array.from({ length: blocksKept + 1 }, () => block), pieceItem(0, 0, 1), endItem()],
    'more after the end': [endItem(), endItem()],
    'an unknown item': [Buffer.from([9, 0, 0, 0, 0]), endItem()],
    'an item too large': [bytesHead(0xffff_ffff)],
    'no block': [blockHead(3), Buffer.from('abc'), endItem()],
  }
  for (const [what, items] of Object.entries(wrong)) await assert.rejects(decoded(items), Malformed, what)
})

test('stretches come out with their places, in the order in which they were told', async () => {
  const [a, b] = [chunk(3000), chunk(70_000)]
  const far = 2 ** 47
  const items = [
    zerosItem(far, 2 ** 40),
    blockItem(encodeBlock([a])),
    placeItem(4096, a.id),
    pieceItem(0, 0, a.data.length),
    placeItem(far - b.data.length, b.id),
    Buffer.concat([bytesHead(b.data.length), b.data]),
    lostItem(0, 512, 'segment 3 is damaged'),
    reachedItem(sequence(77)),
    journalItem(512, 1024),
    endItem(),
  ]
  const names = new Map([a, b].map(({ id, data }) => [id, data]))
  for (const pieceBytes of [13, 65_536, 1_000_000]) {
    const told: ToldStretch[] = []
    const stretches = decodeStretches(
      cut(Buffer.concat(items), pieceBytes),
      (id, data) => names.get(id)?.equals(data) ?? false,
    )
    for await (const one of stretches) told.push(one.kind === 'data' ? { ...one, data: Buffer.from(one.data) } : one)
    assert.deepEqual(told, [
      { kind: 'zeros', at: far, bytes: 2 ** 40 },
      { kind: 'data', at: 4096, bytes: 3000, data: a.data },
      { kind: 'data', at: far - b.data.length, bytes: 70_000, data: b.data },
      { kind: 'lost', at: 0, bytes: 512, message: 'segment 3 is damaged' },
      { kind: 'reached', sequence: 77 },
      { kind: 'journal', at: 512, bytes: 1024 },
    ])
  }
})

test('stretches whose bytes have another name are damaged, and those without a place are malformed', async () => {
  const { id, data } = chunk(100)
  const bytes = Buffer.concat([bytesHead(100), data])
  const all = async (...items: readonly Buffer[]): Promise<void> => {
    for await (const _one of decodeStretches(cut(Buffer.concat(items), 64), (name) => name === id)) void _one
  }
  await all(placeItem(0, id), bytes, endItem())
  await assert.rejects(all(placeItem(0, chunk(1).id), bytes, endItem()), (error) => isCode(error, 'damaged'))
  await assert.rejects(all(bytes, endItem()), Malformed)
  await assert.rejects(all(placeItem(0, id), zerosItem(0, 1), endItem()), Malformed)
  await assert.rejects(all(placeItem(0, id), endItem()), Malformed)
  await assert.rejects(all(placeItem(0, id), bytes), Malformed)
  await assert.rejects(decoded([placeItem(0, id), bytes, endItem()]), Malformed)
})
