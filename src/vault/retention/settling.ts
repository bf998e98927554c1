import type { Sequence } from '../../model/sequence.ts'
import type { ExtentKey, Piece } from '../index/extent-reader.ts'
import type { Indexer } from '../index/indexer.ts'
import type { ContentReader } from '../views/content-reader.ts'
import { mergeRegions, type MergingLimits, mergingLimits, Regions } from './merging.ts'
import { NewChunks, type NewChunksParts } from './new-chunks.ts'

export interface SettlingParts extends NewChunksParts {
  readonly content: ContentReader
  /** Instead of those that are measured to be good. */
  readonly limits?: Partial<SettlingLimits>
}

interface SettlingLimits extends MergingLimits {
  /** Where there is more to be settled than that, reading the journal over and over would take too long: nothing is merged. */
  readonly mergedBytesMax: number
  /** Held at once; there may be more of them. */
  readonly regionsMax: number
}

const settlingLimits: SettlingLimits = {
  ...mergingLimits,
  mergedBytesMax: 4 * 1024 * 1024 * 1024,
  regionsMax: 1_000_000,
}

const rowsAtOnce = 500

/**
 * Makes every piece that holds at or after `at`, and stands in the journal up to there or is a part of a chunk, a chunk
 * of its own or, together with its neighbours, one for all of them: then nothing kept refers to changes up to `at`, and a
 * tree at `at` can be told by whole chunks. The chunks are durable before the index names them. Where nothing is left to be
 * settled nothing is changed, so a checkpoint that is there already goes on naming the same chunks.
 */
export async function settlePieces(parts: SettlingParts, at: Sequence): Promise<void> {
  // While pieces are read, indexing goes on, and may cut one that is not settled yet into others. So once more, until
  // none is found: whatever is cut afterwards is cut out of settled ones.
  let settled: number
  do settled = await settleOnce(parts, at)
  while (settled > 0)
}

async function settleOnce(parts: SettlingParts, at: Sequence): Promise<number> {
  const { indexer, content } = parts
  const limits = { ...settlingLimits, ...parts.limits }
  const chunks = new NewChunks(parts)
  for await (const { version, piece } of inlineVersions(indexer, at)) {
    await chunks.take(await content.read(piece), [{ version }])
  }
  const isMerging = (await unsettledBytes(indexer, at, limits.mergedBytesMax)) <= limits.mergedBytesMax
  const regions = new Regions()
  for await (const { extent, piece } of unsettledExtents(indexer, at)) {
    const region = Math.floor(piece.at / limits.regionBytes)
    const isWithin = piece.at + piece.bytes <= (region + 1) * limits.regionBytes
    // What begins later is a rest of what held at `at`, and of no use to the checkpoint.
    if (isWithin && extent.since <= at && (isMerging || !isInJournal(piece))) {
      regions.add(extent.content, region)
      if (regions.count >= limits.regionsMax) await mergeRegions({ indexer, content, limits }, regions, at, chunks)
    } else await chunks.take(await content.read(piece), [{ extent, skip: 0, bytes: piece.bytes }])
  }
  await mergeRegions({ indexer, content, limits }, regions, at, chunks)
  await chunks.flush()
  return chunks.taken
}

const isInJournal = ({ source }: Piece): boolean => 'sequence' in source

/** Of what stands in the journal; no more are counted than `enough`. */
async function unsettledBytes(indexer: Indexer, at: Sequence, enough: number): Promise<number> {
  let bytes = 0
  for await (const { piece } of unsettledExtents(indexer, at, ['inline'])) {
    bytes += piece.bytes
    if (bytes > enough) break
  }
  return bytes
}

async function* inlineVersions(indexer: Indexer, at: Sequence): AsyncGenerator<{ version: number; piece: Piece }> {
  for (let after = { content: -at - 1, id: 0 }; ;) {
    const rows = indexer.rows.inlineVersions(after, at, rowsAtOnce)
    for (const { id, bytes, content, node, since } of rows) {
      after = { content, id }
      if (!holdsFrom(indexer, { node, since }, at)) continue
      const source = { sequence: -content as Sequence, origin: 0 }
      yield { version: id, piece: { at: 0, bytes, skip: 0, cut: false, isEnd: false, source } }
    }
    if (rows.length < rowsAtOnce) return
  }
}

/** Whether a version holds at any point from `at` on. */
function holdsFrom({ rows }: Indexer, version: { node: number; since: number }, at: Sequence): boolean {
  if (version.since <= at && rows.version(version.node, at)?.since !== version.since) return false
  return rows.hasNameAfter(version.node, at)
}

async function* unsettledExtents(
  indexer: Indexer,
  at: Sequence,
  kinds: readonly ('inline' | 'cut')[] = ['inline', 'cut'],
): AsyncGenerator<{ extent: ExtentKey; piece: Piece }> {
  for (const find of kinds) {
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
