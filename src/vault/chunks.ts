import type { KeyObject } from 'node:crypto'
import { isCode, TidemarkError } from '../base/errors.ts'
import { decodeBlock } from '../format/block.ts'
import { chunkIdOf } from '../format/keys.ts'
import { readBlockPayload } from '../format/pack.ts'
import type { ChunkId } from '../model/change.ts'
import { damaged, readStored } from '../store/damaged.ts'
import { openSealed, type SealedReader } from '../store/sealed-reader.ts'
import type { Store } from '../store/store.ts'
import { Cache } from './cache.ts'
import type { ChunkPlace } from './catalogue.ts'
import { packName } from './names.ts'
import type { ChunkReader } from './reader.ts'

export interface ChunkParts {
  readonly store: Store
  readonly packsKey: KeyObject
  readonly chunkKey: KeyObject
  readonly place: (id: ChunkId) => ChunkPlace | undefined
  readonly cacheBytes: number
}

type Block = ReturnType<typeof decodeBlock>

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

  async read(id: ChunkId): Promise<Buffer> {
    const place = this.#place(id)
    try {
      return await this.#readAt(id, place)
    } catch (error) {
      // A collection may have moved the chunk in between.
      const now = this.#place(id)
      if (isCode(error, 'not-found') && now.pack !== place.pack) return this.#readAt(id, now)
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
    const { entries, body } = await this.#block(pack, frameAt, frameBytes)
    const entry = entries.find((one) => one.at === at)
    const data = body.subarray(at, at + bytes)
    const sound = entry?.id === id && entry.bytes === bytes && chunkIdOf(this.#parts.chunkKey, data) === id
    if (!sound) throw damaged(packName(pack), frameAt, 'a chunk is not what its name says')
    return data
  }

  #block(pack: number, frameAt: number, frameBytes: number): Promise<Block> {
    const key = `${pack}:${frameAt}`
    const kept = this.#blocks.get(key)
    if (kept) return kept
    const block = this.#readBlock(pack, frameAt, frameBytes)
    // Weighed by what is stored until it is known what it decodes to.
    this.#blocks.set(key, block, frameBytes)
    block.then(
      ({ body }) => this.#blocks.get(key) === block && this.#blocks.set(key, block, body.length),
      () => this.#blocks.get(key) === block && this.#blocks.delete(key),
    )
    return block
  }

  async #readBlock(pack: number, frameAt: number, frameBytes: number): Promise<Block> {
    const file = await this.#pack(pack)
    const { payload } = await file.frame(frameAt, frameBytes)
    return readStored(file.name, frameAt, () => decodeBlock(readBlockPayload(payload).block))
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
