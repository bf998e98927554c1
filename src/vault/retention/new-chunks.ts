import type { KeyObject } from 'node:crypto'
import type { Chunk } from '../../format/block.ts'
import { chunkIdOf } from '../../format/keys.ts'
import { blockBytesMax, blockChunksMax } from '../../model/batch.ts'
import type { ExtentKey } from '../index/extent-reader.ts'
import type { Indexer } from '../index/indexer.ts'
import { endsChunk } from '../index/schema.ts'

export interface NewChunksParts {
  readonly indexer: Indexer
  readonly chunkKey: KeyObject
  /** Resolves once the chunks are durable. */
  readonly keep: (chunks: readonly Chunk[]) => Promise<void>
}

/** Which row is to name a chunk instead, or so many bytes of it. */
export type Target =
  | { readonly version: number }
  | { readonly extent: ExtentKey; readonly skip: number; readonly bytes: number }

/** Chunks on their way to the packs, and then to the index: they are durable before a row names them. */
export class NewChunks {
  readonly #parts: NewChunksParts
  #chunks: { readonly chunk: Chunk; readonly targets: readonly Target[] }[] = []
  #bytes = 0
  taken = 0

  constructor(parts: NewChunksParts) {
    this.#parts = parts
  }

  async take(data: Uint8Array, targets: readonly Target[]): Promise<void> {
    if (this.#bytes + data.length > blockBytesMax || this.#chunks.length === blockChunksMax) await this.flush()
    this.#chunks.push({ chunk: { id: chunkIdOf(this.#parts.chunkKey, data), data }, targets })
    this.#bytes += data.length
    this.taken++
  }

  async flush(): Promise<void> {
    if (this.#chunks.length === 0) return
    const chunks = this.#chunks
    this.#chunks = []
    this.#bytes = 0
    await this.#parts.keep(chunks.map(({ chunk }) => chunk))
    await this.#parts.indexer.exclusively((index) => {
      const version = index.database.prepare('UPDATE version SET content = ? WHERE id = ?')
      const extent = index.database.prepare(
        'UPDATE extent SET location = ?, skip = ?, cut = ? WHERE content = ? AND at = ? AND since = ?',
      )
      index.transaction(() => {
        for (const { chunk, targets } of chunks) {
          const id = Buffer.from(chunk.id, 'latin1')
          for (const target of targets) {
            if ('version' in target) version.run(id, target.version)
            else {
              const { content, at, since } = target.extent
              extent.run(id, target.skip, cutOf(target, chunk.data.length), content, at, since)
            }
          }
        }
      })
    })
  }
}

/** As a row of extents says it. */
function cutOf({ skip, bytes }: { readonly skip: number; readonly bytes: number }, chunkBytes: number): number {
  if (bytes === chunkBytes) return 0
  return skip + bytes === chunkBytes ? endsChunk : 1
}
