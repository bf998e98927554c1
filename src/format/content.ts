import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { blockBytesMax } from '../model/batch.ts'
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
 */
const kinds = { end: 0, block: 1, piece: 2, bytes: 3, damage: 4 } as const
const lengthBytes = 5
const pieceBytes = 13
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

/** The bytes of content that arrives in pieces of any size; says nothing yet of whether they are the right ones. */
export async function* decodeContent(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
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
        yield pieceOf(blocks.get(item.readUInt32BE(1)), item.readUInt32BE(5), item.readUInt32BE(9))
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
        } else if (kind === kinds.bytes) yield bytes
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
