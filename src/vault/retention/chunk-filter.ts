import { TidemarkError } from '../../base/errors.ts'
import type { ChunkId } from '../../model/change.ts'
import type { ChunkCursor, ChunkPage, IndexReader } from '../index/index-reader.ts'
import type { Indexer } from '../index/indexer.ts'

/**
 * A set of chunk ids in little memory (a Bloom filter): whatever was added is found; of what was not, less than one in
 * a thousand. Ids are keyed hashes, so their own bits serve as the hashes.
 */
export class ChunkFilter {
  readonly bits: Uint8Array

  /** Of `count` ids, or the bits of one that crosses from another thread. */
  constructor(of: number | Uint8Array) {
    this.bits = typeof of === 'number' ? new Uint8Array(bytesFor(of)) : of
  }

  add(id: Uint8Array): void {
    const view = new DataView(id.buffer, id.byteOffset, id.byteLength)
    for (let at = 0; at < places * 4; at += 4) {
      const bit = this.#bit(view.getUint32(at))
      this.bits[bit >>> 3] = (this.bits[bit >>> 3] as number) | (1 << (bit & 7))
    }
  }

  has(id: ChunkId): boolean {
    for (let at = 0; at < places * 4; at += 4) {
      const word =
        id.charCodeAt(at) * 0x1_00_00_00 +
        ((id.charCodeAt(at + 1) << 16) | (id.charCodeAt(at + 2) << 8) | id.charCodeAt(at + 3))
      const bit = this.#bit(word)
      if (((this.bits[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false
    }
    return true
  }

  #bit(word: number): number {
    return Math.floor((word / 0x1_0000_0000) * this.bits.length * 8)
  }
}

const places = 8
const bitsPerId = 16
const bytesMin = 1024
const bytesMax = 256 * 1024 * 1024

const bytesFor = (count: number): number => Math.min(Math.max(Math.ceil((count * bitsPerId) / 8), bytesMin), bytesMax)

const rowsAtOnce = 10_000

/**
 * All chunks that the kept history of some journals refers to, as far as they are indexed now. Fails where an index is
 * made anew meanwhile: it would not tell what the one before did.
 */
export async function chunksInUse(indexers: readonly Indexer[]): Promise<ChunkFilter> {
  const present = new Map(indexers.map((indexer) => [indexer, indexer.rows]))
  const rowsOf = (indexer: Indexer): IndexReader => {
    if (present.get(indexer) === indexer.rows) return indexer.rows
    throw new TidemarkError('interrupted', {
      message: 'an index was made anew while it was asked for the chunks in use',
      hint: 'the collection is tried again by itself',
    })
  }
  let count = 0
  for (const indexer of indexers) count += await indexer.exclusively(() => rowsOf(indexer).chunkCountMax())
  const filter = new ChunkFilter(count)
  for (const indexer of indexers) {
    let after: ChunkCursor | undefined = { version: 0 }
    while (after !== undefined) {
      const from: ChunkCursor = after
      const page: ChunkPage = await indexer.exclusively(() => rowsOf(indexer).chunks(from, rowsAtOnce))
      for (const id of page.ids) filter.add(id)
      after = page.next
    }
  }
  return filter
}
