import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Malformed } from '../base/bytes.ts'
import { isCode } from '../base/errors.ts'
import type { ChunkId } from '../model/change.ts'
import { encodeBlock } from './block.ts'
import { blockHead, blocksKept, bytesHead, damageItem, decodeContent, endItem, pieceItem } from './content.ts'

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
