import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { blockBytesMax } from '../model/batch.ts'
import { type ChunkId, chunkIdBytes } from '../model/change.ts'
import type { Sequence } from '../model/sequence.ts'
import { decodeBlock } from './block.ts'

/**
 * Content: the bytes of some ranges of files, one after the other, as a vault sends them to a restore. Blocks stay
 * compressed, as they rest in packs.
 *
 *   repeated, each with a u8 in front that says what it is:
 *     1  u32 length, a block (format/block.ts). It is no content yet; blocks are numbered from 0 on as they come
 *     2  u32 number of a block, u32 at, u32 bytes: so much of the body of that block comes next; it is one of the
 *        `blocksKept` that came last
 *     3  u32 length, that many bytes, which come next
 *     4  u32 length, a message in UTF-8: what comes next is damaged and cannot be told; this is the end
 *     0  the end. Content without an end is cut short
 *
 * Stretches: the same for ranges of one file in the order in which they are easiest to read, zeros left out:
 *
 *     5  u48 at, u48 bytes: so many zeros stand there
 *     6  u48 at, 32 bytes: what comes next, as 2 or 3, stands there and has this name, as a chunk has (format/keys.ts)
 *     7  u48 at, u48 bytes: what stands there is in the journal, which was read before
 *     8  u48 sequence: everything that stands in changes up to there was told (of what is told in the journal's order)
 *     9  u48 at, u48 bytes: what stands there is damaged; a message as 3 comes next, and then what follows
 */
const kinds = {
  end: 0,
  block: 1,
  piece: 2,
  bytes: 3,
  damage: 4,
  zeros: 5,
  place: 6,
  journal: 7,
  reached: 8,
  lost: 9,
} as const
const lengthBytes = 5
const pieceBytes = 13
const offsetBytes = 6
const rangeBytes = 1 + 2 * offsetBytes
const reachedBytes = 1 + offsetBytes
const placeBytes = 1 + offsetBytes + chunkIdBytes
/** Of one item; a block has its directory beside its body. */
const itemBytesMax = 2 * blockBytesMax
export const blocksKept = 8

export const endItem = (): Buffer => Buffer.from([kinds.end])
/** The block follows. */
export const blockHead = (bytes: number): Buffer => lengthHead(kinds.block, bytes)
/** The bytes follow. */
export const bytesHead = (bytes: number): Buffer => lengthHead(kinds.bytes, bytes)
export const damageItem = (message: string): Buffer => {
  const text = Buffer.from(message, 'utf8')
  return Buffer.concat([lengthHead(kinds.damage, text.length), text])
}

export function pieceItem(block: number, at: number, bytes: number): Buffer {
  const item = Buffer.allocUnsafe(pieceBytes)
  item[0] = kinds.piece
  item.writeUInt32BE(block, 1)
  item.writeUInt32BE(at, 5)
  item.writeUInt32BE(bytes, 9)
  return item
}

function lengthHead(kind: number, bytes: number): Buffer {
  const head = Buffer.allocUnsafe(lengthBytes)
  head[0] = kind
  head.writeUInt32BE(bytes, 1)
  return head
}

export const zerosItem = (at: number, bytes: number): Buffer => rangeItem(kinds.zeros, at, bytes)
export const journalItem = (at: number, bytes: number): Buffer => rangeItem(kinds.journal, at, bytes)
export const lostItem = (at: number, bytes: number, message: string): Buffer => {
  const text = Buffer.from(message, 'utf8')
  return Buffer.concat([rangeItem(kinds.lost, at, bytes), bytesHead(text.length), text])
}

function rangeItem(kind: number, at: number, bytes: number): Buffer {
  const item = Buffer.allocUnsafe(rangeBytes)
  item[0] = kind
  item.writeUIntBE(at, 1, offsetBytes)
  item.writeUIntBE(bytes, 1 + offsetBytes, offsetBytes)
  return item
}

export function reachedItem(sequence: Sequence): Buffer {
  const item = Buffer.allocUnsafe(reachedBytes)
  item[0] = kinds.reached
  item.writeUIntBE(sequence, 1, offsetBytes)
  return item
}

/** What is said next stands there. */
export function placeItem(at: number, id: ChunkId): Buffer {
  const item = Buffer.allocUnsafe(placeBytes)
  item[0] = kinds.place
  item.writeUIntBE(at, 1, offsetBytes)
  item.write(id, 1 + offsetBytes, 'latin1')
  return item
}

/** The bytes of content that arrives in pieces of any size; says nothing yet of whether they are the right ones. */
export async function* decodeContent(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const item of decodeItems(pieces)) {
    if (item.kind !== 'bytes') throw new Malformed(`${item.kind} in content`)
    yield item.bytes
  }
}

/** What is told of a file. */
export type ToldStretch =
  | { readonly kind: 'data'; readonly at: number; readonly bytes: number; readonly data: Uint8Array }
  | { readonly kind: 'zeros'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'journal'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'lost'; readonly at: number; readonly bytes: number; readonly message: string }
  | { readonly kind: 'reached'; readonly sequence: Sequence }

/** The stretches; `isNamed` says whether bytes have that name, and `damaged` is thrown where they have not. */
export async function* decodeStretches(
  pieces: AsyncIterable<Uint8Array>,
  isNamed: (id: ChunkId, data: Uint8Array) => boolean,
): AsyncGenerator<ToldStretch> {
  let opened: Extract<Item, { kind: 'place' | 'lost' }> | undefined
  for await (const item of decodeItems(pieces)) {
    if (item.kind !== 'bytes') {
      if (opened !== undefined) throw new Malformed(`${item.kind} where bytes are due`)
      if (item.kind === 'place' || item.kind === 'lost') opened = item
      else yield item
      continue
    }
    if (opened === undefined) throw new Malformed('bytes without a place')
    const { at } = opened
    const { bytes: data } = item
    if (opened.kind === 'lost') yield { kind: 'lost', at, bytes: opened.bytes, message: data.toString('utf8') }
    else if (isNamed(opened.id, data)) yield { kind: 'data', at, bytes: data.length, data }
    else {
      throw new TidemarkError('damaged', { message: `${data.length} bytes at ${at} are not what their name says` })
    }
    opened = undefined
  }
  if (opened !== undefined) throw new Malformed('a place without bytes')
}

type Item =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'zeros' | 'journal'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'lost'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'place'; readonly at: number; readonly id: ChunkId }
  | { readonly kind: 'reached'; readonly sequence: Sequence }

/** Items of two numbers. */
const rangeKinds = new Map<number, 'zeros' | 'journal' | 'lost'>([
  [kinds.zeros, 'zeros'],
  [kinds.journal, 'journal'],
  [kinds.lost, 'lost'],
])

async function* decodeItems(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Item> {
  const held = new HeldPieces()
  const blocks = new Map<number, Buffer>()
  let next = 0
  let ended = false
  for await (const piece of pieces) {
    held.push(piece)
    while (held.length > 0) {
      if (ended) throw new Malformed('bytes after the end of content')
      const kind = held.first
      if (kind === kinds.end) {
        held.take(1)
        ended = true
      } else if (kind === kinds.piece) {
        if (held.length < pieceBytes) break
        const item = held.take(pieceBytes)
        yield {
          kind: 'bytes',
          bytes: pieceOf(blocks.get(item.readUInt32BE(1)), item.readUInt32BE(5), item.readUInt32BE(9)),
        }
      } else if (rangeKinds.has(kind)) {
        if (held.length < rangeBytes) break
        const item = held.take(rangeBytes)
        const [at, bytes] = [item.readUIntBE(1, offsetBytes), item.readUIntBE(1 + offsetBytes, offsetBytes)]
        yield { kind: rangeKinds.get(kind) ?? 'zeros', at, bytes }
      } else if (kind === kinds.reached) {
        if (held.length < reachedBytes) break
        yield { kind: 'reached', sequence: held.take(reachedBytes).readUIntBE(1, offsetBytes) as Sequence }
      } else if (kind === kinds.place) {
        if (held.length < placeBytes) break
        const item = held.take(placeBytes)
        const id = item.toString('latin1', 1 + offsetBytes) as ChunkId
        yield { kind: 'place', at: item.readUIntBE(1, offsetBytes), id }
      } else {
        if (held.length < lengthBytes) break
        const length = held.peek(lengthBytes).readUInt32BE(1)
        if (length > itemBytesMax) throw new Malformed(`an item of ${length} bytes`)
        if (held.length < lengthBytes + length) break
        held.take(lengthBytes)
        const bytes = held.take(length)
        if (kind === kinds.block) {
          blocks.set(next, decodeBlock(bytes).body)
          blocks.delete(next++ - blocksKept)
        } else if (kind === kinds.bytes) yield { kind: 'bytes', bytes }
        else if (kind === kinds.damage) throw new TidemarkError('damaged', { message: bytes.toString('utf8') })
        else throw new Malformed(`item ${kind} of content`)
      }
    }
  }
  if (!ended) throw new Malformed('content is cut short')
}

function pieceOf(body: Buffer | undefined, at: number, bytes: number): Buffer {
  if (body === undefined) throw new Malformed('a piece of a block that is not kept')
  if (at + bytes > body.length) throw new Malformed(`a piece up to ${at + bytes} of a block of ${body.length} bytes`)
  return body.subarray(at, at + bytes)
}

/** Pieces that were not taken yet; joined only where something lies across an edge. */
class HeldPieces {
  #pieces: Buffer[] = []
  /** How much of the first piece is taken. */
  #at = 0
  length = 0

  push({ buffer, byteOffset, byteLength }: Uint8Array): void {
    if (byteLength > 0) this.#pieces.push(Buffer.from(buffer, byteOffset, byteLength))
    this.length += byteLength
  }

  get first(): number {
    return (this.#pieces[0] as Buffer)[this.#at] as number
  }

  peek(count: number): Buffer {
    const first = this.#pieces[0] as Buffer
    if (first.length - this.#at < count) {
      this.#pieces = [Buffer.concat([first.subarray(this.#at), ...this.#pieces.slice(1)])]
      this.#at = 0
    }
    return (this.#pieces[0] as Buffer).subarray(this.#at, this.#at + count)
  }

  take(count: number): Buffer {
    this.length -= count
    const first = this.#pieces[0] as Buffer | undefined
    if (first === undefined) return Buffer.alloc(0)
    if (first.length - this.#at >= count) {
      const taken = first.subarray(this.#at, this.#at + count)
      this.#advance(count)
      return taken
    }
    const taken = Buffer.allocUnsafe(count)
    for (let filled = 0; filled < count;) {
      const piece = this.#pieces[0] as Buffer
      const copied = piece.copy(taken, filled, this.#at)
      filled += copied
      this.#advance(copied)
    }
    return taken
  }

  #advance(count: number): void {
    this.#at += count
    if (this.#at < (this.#pieces[0] as Buffer).length) return
    this.#pieces.shift()
    this.#at = 0
  }
}
