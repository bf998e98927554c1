import type { KeyObject } from 'node:crypto'
import { blockBytesMax, blockChunksMax } from '../../model/batch.ts'
import type { Chunk } from '../../format/block.ts'
import { chunkIdOf } from '../../format/keys.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { ContentReader } from '../views/content-reader.ts'
import type { Indexer } from '../index/indexer.ts'
import type { ExtentKey, Piece } from '../index/extent-reader.ts'

export interface SettlingParts {
  readonly indexer: Indexer
  readonly content: ContentReader
  readonly chunkKey: KeyObject
  /** Resolves once the chunks are durable. */
  readonly keep: (chunks: readonly Chunk[]) => Promise<void>
}

/** Which row is to name a chunk instead. */
type Target = { readonly version: number } | { readonly extent: ExtentKey }

const rowsAtOnce = 500

/**
 * Makes every piece that holds at or after `at`, and stands in the journal up to there or is a part of a chunk, a chunk
 * of its own: then nothing kept refers to changes up to `at`, and a tree at `at` can be told by whole chunks. The chunks
 * are durable before the index names them. Done again, it makes the same chunks.
 */
export async function settlePieces(parts: SettlingParts, at: Sequence): Promise<void> {
  // While pieces are read, indexing goes on, and may cut one that is not settled yet into others. So once more, until
  // none is found: whatever is cut afterwards is cut out of settled ones.
  let settled: number
  do settled = await settleOnce(parts, at)
  while (settled > 0)
}

async function settleOnce(parts: SettlingParts, at: Sequence): Promise<number> {
  const settling = new Settling(parts)
  for await (const { version, piece } of inlineVersions(parts.indexer, at)) await settling.take({ version }, piece)
  for await (const { extent, piece } of unsettledExtents(parts.indexer, at)) await settling.take({ extent }, piece)
  await settling.flush()
  return settling.taken
}

class Settling {
  readonly #parts: SettlingParts
  #chunks: Chunk[] = []
  #targets: Target[] = []
  #bytes = 0
  taken = 0

  constructor(parts: SettlingParts) {
    this.#parts = parts
  }

  async take(target: Target, piece: Piece): Promise<void> {
    const data = await this.#parts.content.read(piece)
    if (this.#bytes + data.length > blockBytesMax || this.#chunks.length === blockChunksMax) await this.flush()
    this.#chunks.push({ id: chunkIdOf(this.#parts.chunkKey, data), data })
    this.#targets.push(target)
    this.#bytes += data.length
    this.taken++
  }

  async flush(): Promise<void> {
    if (this.#chunks.length === 0) return
    const chunks = this.#chunks
    const targets = this.#targets
    this.#chunks = []
    this.#targets = []
    this.#bytes = 0
    await this.#parts.keep(chunks)
    await this.#parts.indexer.exclusively((index) => {
      const version = index.database.prepare('UPDATE version SET content = ? WHERE id = ?')
      const extent = index.database.prepare(
        'UPDATE extent SET location = ?, skip = 0, cut = 0 WHERE content = ? AND at = ? AND since = ?',
      )
      index.transaction(() => {
        for (const [place, target] of targets.entries()) {
          const id = Buffer.from((chunks[place] as Chunk).id, 'latin1')
          if ('version' in target) version.run(id, target.version)
          else extent.run(id, target.extent.content, target.extent.at, target.extent.since)
        }
      })
    })
  }
}

async function* inlineVersions(indexer: Indexer, at: Sequence): AsyncGenerator<{ version: number; piece: Piece }> {
  for (let after = { content: -at - 1, id: 0 }; ;) {
    const rows = indexer.rows.inlineVersions(after, at, rowsAtOnce)
    for (const { id, bytes, content, node, since } of rows) {
      after = { content, id }
      if (!holdsFrom(indexer, { node, since }, at)) continue
      yield {
        version: id,
        piece: { at: 0, bytes, skip: 0, cut: false, source: { sequence: -content as Sequence, origin: 0 } },
      }
    }
    if (rows.length < rowsAtOnce) return
  }
}

/** Whether a version holds at any point from `at` on. */
function holdsFrom({ rows }: Indexer, version: { node: number; since: number }, at: Sequence): boolean {
  if (version.since <= at && rows.version(version.node, at)?.since !== version.since) return false
  return rows.hasNameAfter(version.node, at)
}

async function* unsettledExtents(indexer: Indexer, at: Sequence): AsyncGenerator<{ extent: ExtentKey; piece: Piece }> {
  for (const find of ['inline', 'cut'] as const) {
    for (let after: ExtentKey = { content: 0, at: -1, since: -1, location: -1 }; ;) {
      const rows = indexer.rows.extents.unsettledExtents(find, after, at, rowsAtOnce)
      for (const row of rows) {
        after = row.extent
        yield row
      }
      if (rows.length < rowsAtOnce) break
    }
  }
}
