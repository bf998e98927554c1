import { setImmediate as nextTurn } from 'node:timers/promises'
import { isCode } from '../../base/errors.ts'
import type { Sequence } from '../../model/sequence.ts'
import { type ExtentKey, follows, type Piece } from '../index/extent-reader.ts'
import type { Indexer } from '../index/indexer.ts'
import type { ContentReader } from '../views/content-reader.ts'
import type { NewChunks } from './new-chunks.ts'

export interface MergingLimits {
  /** Neighbours that stand within so many bytes, counted from a multiple of it, become one chunk. */
  readonly regionBytes: number
  /** Data held at once: for each so much, the journal is read once over. */
  readonly heldBytesMax: number
}

/** A region is what a volume is first copied by, and what a chunk of a volume mostly is. */
export const mergingLimits: MergingLimits = { regionBytes: 64 * 1024, heldBytesMax: 128 * 1024 * 1024 }

/** Rows that name parts of one chunk. */
export const chunkPartsMax = 256

/** Regions looked at in one turn of the loop, so that indexing goes on in between. */
const regionsAtOnce = 64

/** Regions that hold something to be settled; each is told once, content by content and ascending. */
export class Regions {
  readonly #found = new Map<number, number[]>()
  count = 0

  add(content: number, region: number): void {
    const known = this.#found.get(content)
    if (known === undefined) this.#found.set(content, [region])
    else if (known.at(-1) === region) return
    else known.push(region)
    this.count++
  }

  *take(): Generator<{ readonly content: number; readonly region: number }> {
    const contents = [...this.#found].sort(([a], [b]) => a - b)
    this.#found.clear()
    this.count = 0
    for (const [content, found] of contents) {
      const ascending = Float64Array.from(found).sort()
      for (const [index, region] of ascending.entries()) {
        if (region !== ascending[index - 1]) yield { content, region }
      }
    }
  }
}

interface Part {
  readonly extent: ExtentKey
  readonly piece: Piece
  /** Of a chunk that stands in the file as a whole. */
  readonly isSettled: boolean
}

/**
 * Makes one chunk of what holds at `at` side by side within a region, where some of it has to become a chunk anyway. Rows stay
 * what they are, each for its own span, and name parts of the chunk: every view sees the same bytes before and after.
 */
export async function mergeRegions(
  parts: { readonly indexer: Indexer; readonly content: ContentReader; readonly limits: MergingLimits },
  regions: Regions,
  at: Sequence,
  chunks: NewChunks,
): Promise<void> {
  const { regionBytes, heldBytesMax } = parts.limits
  let runs: Part[][] = []
  let bytes = 0
  let looked = 0
  for (const { content, region } of regions.take()) {
    if (++looked % regionsAtOnce === 0) await nextTurn()
    const range = { start: region * regionBytes, end: (region + 1) * regionBytes }
    for (const run of runsOf(parts.indexer.rows.extents.standing(content, range, at), range.end)) {
      if (run.every(({ isSettled }) => isSettled)) continue
      runs.push(run)
      bytes += bytesOf(run)
    }
    if (bytes < heldBytesMax) continue
    await mergeRuns(parts, runs, chunks)
    runs = []
    bytes = 0
  }
  await mergeRuns(parts, runs, chunks)
  await chunks.flush()
}

/** What a part costs in memory besides its data. */
const partBytes = 1024

const bytesOf = (run: readonly Part[]): number => run.reduce((sum, { piece }) => sum + piece.bytes + partBytes, 0)

/** Neighbours without a gap. What reaches beyond the region stands for itself. */
function runsOf(rows: readonly { extent: ExtentKey; piece: Piece }[], end: number): Part[][] {
  const settled = settledPieces(rows.map(({ piece }) => piece))
  const runs: Part[][] = []
  let last: Piece | undefined
  for (const { extent, piece } of rows) {
    if (piece.at + piece.bytes > end) break
    const part = { extent, piece, isSettled: settled.has(piece) }
    const run = runs.at(-1)
    if (run !== undefined && last !== undefined && last.at + last.bytes === piece.at && run.length < chunkPartsMax) {
      run.push(part)
    } else runs.push([part])
    last = piece
  }
  return runs
}

/** Whole chunks, and parts of a chunk that are there one after the other, from the first to the last. */
function settledPieces(pieces: readonly Piece[]): Set<Piece> {
  const settled = new Set<Piece>()
  let open: Piece[] = []
  for (const piece of pieces) {
    const last = open.at(-1)
    if (!('chunk' in piece.source)) open = []
    else if (!piece.cut) {
      settled.add(piece)
      open = []
    } else if (piece.skip === 0) open = [piece]
    else if (last !== undefined && follows(last, piece)) open.push(piece)
    else open = []
    if (piece.isEnd && open.length > 0) {
      for (const part of open) settled.add(part)
      open = []
    }
  }
  return settled
}

/** Reads in the order in which it rests, so that a batch of the journal is read once for all that stands in it. */
async function mergeRuns(
  { indexer, content }: { readonly indexer: Indexer; readonly content: ContentReader },
  runs: readonly (readonly Part[])[],
  chunks: NewChunks,
): Promise<void> {
  const placeOf = (sequence: Sequence) => indexer.rows.placeOfBatch(sequence)
  const found = new Map<Part, Buffer>()
  for (const part of runs.flat().sort(inOrderOfRest)) {
    try {
      // Copied, so that it does not keep the whole batch that it was read with.
      found.set(part, Buffer.from(await content.read(part.piece, placeOf)))
    } catch (error) {
      // What need not move stays where it is; verification tells of it.
      if (!part.isSettled || !(isCode(error, 'damaged') || isCode(error, 'not-found'))) throw error
    }
  }
  for (const run of runs) await take(run, found, chunks)
}

async function take(run: readonly Part[], found: Map<Part, Buffer>, chunks: NewChunks): Promise<void> {
  for (let start = 0; start < run.length;) {
    const lost = run.findIndex((part, index) => index >= start && !found.has(part))
    const end = lost === -1 ? run.length : lost
    const parts = run.slice(start, end)
    if (parts.some(({ isSettled }) => !isSettled)) {
      let skip = 0
      const targets = parts.map(({ extent, piece: { bytes } }) => {
        skip += bytes
        return { extent, skip: skip - bytes, bytes }
      })
      await chunks.take(Buffer.concat(parts.map((part) => found.get(part) as Buffer)), targets)
    }
    start = end + 1
  }
  for (const part of run) found.delete(part)
}

const inOrderOfRest = (a: Part, b: Part): number =>
  sequenceOf(a.piece) - sequenceOf(b.piece) || a.extent.content - b.extent.content || a.piece.at - b.piece.at

const sequenceOf = ({ source }: Piece): number => ('chunk' in source ? 0 : source.sequence)
