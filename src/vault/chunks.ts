import type { KeyObject } from 'node:crypto'
import { isCode, TidemarkError } from '../base/errors.ts'
import { type BlockEntry, decodeBlock, readBlockDirectory } from '../format/block.ts'
import { chunkIdOf } from '../format/keys.ts'
import { readBlockPayload } from '../format/pack.ts'
import type { ChunkId } from '../model/change.ts'
import { damaged, readStored } from '../store/damaged.ts'
import { openSealed, type SealedReader } from '../store/sealed-reader.ts'
import type { Store } from '../store/store.ts'
import { Cache } from './cache.ts'
import type { ChunkPlace } from './catalogue.ts'
import { packName } from './names.ts'
import type { ChunkReader, RestingBlock } from './reader.ts'

export interface ChunkParts {
  readonly store: Store
  readonly packsKey: KeyObject
  readonly chunkKey: KeyObject
  readonly place: (id: ChunkId) => ChunkPlace | undefined
  readonly cacheBytes: number
}

/** A block as it was read, decompressed once that is asked for. */
interface Block {
  readonly pack: SealedReader
  readonly frameAt: number
  readonly bytes: Buffer
  readonly entries: readonly BlockEntry[]
  body: Buffer | undefined
}

const openPacksMax = 256

/** Reads chunks from packs, keeping the blocks that were decoded last. */
export class PackedChunks implements ChunkReader {
  readonly #parts: ChunkParts
  readonly #blocks: Cache<string, Promise<Block>>
  readonly #packs = new Cache<number, Promise<SealedReader>>(openPacksMax)

  constructor(parts: ChunkParts) {
    this.#parts = parts
    this.#blocks = new Cache(parts.cacheBytes)
  }

  read(id: ChunkId): Promise<Buffer> {
    return this.#found(id, (place) => this.#readAt(id, place))
  }

  block(id: ChunkId): Promise<RestingBlock> {
    return this.#found(id, async ({ pack, frameAt, frameBytes }) => {
      const { entries, bytes } = await this.#block(pack, frameAt, frameBytes)
      return { place: keyOf(pack, frameAt), entries, bytes }
    })
  }

  async #found<T>(id: ChunkId, read: (place: ChunkPlace) => Promise<T>): Promise<T> {
    const place = this.#place(id)
    try {
      return await read(place)
    } catch (error) {
      // A collection may have moved the chunk in between.
      const now = this.#place(id)
      if (isCode(error, 'not-found') && now.pack !== place.pack) return read(now)
      throw error
    }
  }

  #place(id: ChunkId): ChunkPlace {
    const place = this.#parts.place(id)
    if (place) return place
    const name = Buffer.from(id, 'latin1').toString('hex')
    throw new TidemarkError('not-found', {
      message: `no pack holds chunk ${name}`,
      hint: 'If packs are missing from the vault, bring them back from a copy of it.',
    })
  }

  async #readAt(id: ChunkId, { pack, frameAt, frameBytes, at, bytes }: ChunkPlace): Promise<Buffer> {
    const block = await this.#block(pack, frameAt, frameBytes)
    const entry = block.entries.find((one) => one.at === at)
    const data = this.#body(block).subarray(at, at + bytes)
    const sound = entry?.id === id && entry.bytes === bytes && chunkIdOf(this.#parts.chunkKey, data) === id
    if (!sound) throw damaged(packName(pack), frameAt, 'a chunk is not what its name says')
    return data
  }

  #body(block: Block): Buffer {
    if (block.body !== undefined) return block.body
    const { pack, frameAt, bytes } = block
    block.body = readStored(pack.name, frameAt, () => decodeBlock(bytes).body)
    this.#blocks.reweigh(keyOf(pack.header.number, frameAt), bytes.length + block.body.length)
    return block.body
  }

  #block(pack: number, frameAt: number, frameBytes: number): Promise<Block> {
    const key = keyOf(pack, frameAt)
    const kept = this.#blocks.get(key)
    if (kept) return kept
    const block = this.#readBlock(pack, frameAt, frameBytes)
    this.#blocks.set(key, block, frameBytes)
    block.catch(() => this.#blocks.get(key) === block && this.#blocks.delete(key))
    return block
  }

  async #readBlock(number: number, frameAt: number, frameBytes: number): Promise<Block> {
    const pack = await this.#pack(number)
    const { payload } = await pack.frame(frameAt, frameBytes)
    return readStored(pack.name, frameAt, () => {
      const { block: bytes } = readBlockPayload(payload)
      return { pack, frameAt, bytes, entries: readBlockDirectory(bytes).entries, body: undefined }
    })
  }

  #pack(number: number): Promise<SealedReader> {
    const kept = this.#packs.get(number)
    if (kept) return kept
    const file = openSealed(this.#parts.store, packName(number), this.#parts.packsKey)
    this.#packs.set(number, file, 1)
    file.catch(() => this.#packs.get(number) === file && this.#packs.delete(number))
    return file
  }
}

const keyOf = (pack: number, frameAt: number): string => `${pack}:${frameAt}`
