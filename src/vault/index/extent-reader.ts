import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { chunkBytesMax } from '../../model/batch.ts'
import type { ChunkId } from '../../model/change.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { atOnce } from './at-once.ts'
import type { ContentName } from './content-writer.ts'
import { JournalOrder } from './runs/journal-order.ts'
import { PackedReader } from './runs/packed-reader.ts'
import { RunReader } from './runs/reader.ts'
import { endsChunk, forever } from './schema.ts'

/** A piece of a file and where its bytes are; what no piece covers is zeros. */
export interface Piece {
  readonly at: number
  readonly bytes: number
  readonly skip: number
  /** Not all of the chunk or data. */
  readonly cut: boolean
  /** Known to reach to the end of the chunk. */
  readonly isEnd: boolean
  readonly source:
    | { readonly chunk: ChunkId }
    /** The extent of that change that begins at `origin`. */
    | { readonly sequence: Sequence; readonly origin: number }
}

/** Which extent row, and where it stands in the index of those that stand in the journal. */
export interface ExtentKey {
  readonly content: number
  readonly at: number
  readonly since: number
  readonly location: number
}

/** Neighbours that are parts of one chunk, one after the other, as one piece: all of the chunk where they are all of it. */
export function* joined(pieces: Iterable<Piece>): Generator<Piece> {
  let open: Piece | undefined
  for (const piece of pieces) {
    if (open !== undefined && follows(open, piece)) open = joinedTwo(open, piece)
    else {
      if (open !== undefined) yield open
      open = piece
    }
  }
  if (open !== undefined) yield open
}

const joinedTwo = (one: Piece, next: Piece): Piece => ({
  ...one,
  bytes: one.bytes + next.bytes,
  cut: one.skip > 0 || !next.isEnd,
  isEnd: next.isEnd,
})

/** Whether a piece goes on where another ends, in the file and in the chunk. */
export const follows = (one: Piece, next: Piece): boolean =>
  one.cut &&
  next.cut &&
  'chunk' in one.source &&
  'chunk' in next.source &&
  one.source.chunk === next.source.chunk &&
  one.at + one.bytes === next.at &&
  one.skip + one.bytes === next.skip

/** What an index knows of the parts of files. */
export class ExtentReader {
  readonly packed: PackedReader
  readonly #database: DatabaseSync
  readonly #statements: ReturnType<typeof prepareAll>
  /** Of the packed content that was asked for last. */
  #journalOrder: JournalOrder | undefined

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = prepareAll(database)
    this.packed = new PackedReader(new RunReader(database), (content, { start, end }, at, countMax) =>
      this.#rowsIn(content, start, end, at, countMax),
    )
  }

  /** The pieces of a content that touch the range, ascending, at most about `countMax`. */
  pieces(
    version: { readonly content: ContentName; readonly bytes: number },
    range: { start: number; end: number },
    at: number,
    countMax: number,
  ): Piece[] {
    const { content, bytes } = version
    const end = Math.min(range.end, bytes)
    if (content === null || range.start >= end) return []
    if (typeof content !== 'number' || content < 0) {
      const location = typeof content === 'number' ? -content : content
      return [pieceOf({ at: 0, bytes, skip: 0, cut: 0, location })]
    }
    const { start } = range
    if (!this.packed.runs.isPacked(content)) return this.#rowsIn(content, start, end, at, countMax)
    return atOnce(this.#database, () => this.packed.pieces(content, { start, end }, at, countMax))
  }

  #rowsIn(content: number, start: number, end: number, at: number, countMax: number): Piece[] {
    const { extentsFrom, extentBefore } = this.#statements
    const rows = extentsFrom.all(content, start, end, at, countMax) as unknown as ExtentRow[]
    if (rows[0]?.at === start) return rows.map(pieceOf)
    const before = extentBefore.get(content, start, start - chunkBytesMax, at) as unknown as ExtentRow
    return (before && before.at + before.bytes > start ? [before, ...rows] : rows).map(pieceOf)
  }

  /** Pieces of a content at `at` that stand in the journal, in its order. */
  journalPieces(
    version: { readonly content: number; readonly bytes: number },
    after: { readonly location: number; readonly at: number; readonly since: number },
    at: number,
    countMax: number,
  ): { key: { location: number; at: number; since: number }; piece: Piece }[] {
    const { content } = version
    if (this.packed.runs.isPacked(content)) {
      return this.#inJournalOrder(version, after, at, countMax).map((piece) => ({
        key: { location: 'sequence' in piece.source ? piece.source.sequence : 0, at: piece.at, since: 0 },
        piece,
      }))
    }
    const { location, at: place, since } = after
    const rows = this.#statements.journalPieces.all(location, content, place, since, content, at, at, countMax)
    return (rows as unknown as (ExtentRow & { location: number; since: number })[]).map((row) => ({
      key: { location: row.location, at: row.at, since: row.since },
      piece: pieceOf(row),
    }))
  }

  #inJournalOrder(
    { content, bytes }: { readonly content: number; readonly bytes: number },
    after: { readonly location: number; readonly at: number },
    at: number,
    countMax: number,
  ): Piece[] {
    const known = this.#journalOrder
    const found =
      known?.content === content && known.at === at && known.bytes === bytes ? known.behind(after, countMax) : undefined
    if (found !== undefined) return found
    const order = new JournalOrder({ content, at, bytes }, after)
    for (let start = 0; start < bytes;) {
      const pieces = this.pieces({ content, bytes }, { start, end: bytes }, at, lookedThroughAtOnce)
      for (const piece of pieces) order.add(piece)
      const last = pieces.at(-1)
      if (last === undefined || pieces.length < lookedThroughAtOnce) break
      start = last.at + last.bytes
    }
    order.finish()
    this.#journalOrder = order
    return order.behind(after, countMax) ?? []
  }

  /** Whether a content was written to, or had parts made zeros, after `from` and up to `to`. */
  isWritten(content: number, from: number, to: number): boolean {
    return (
      this.#statements.writtenAfter.get(from, to, content) !== undefined ||
      this.#statements.endedAfter.get(from, to, content) !== undefined ||
      atOnce(this.#database, () => this.packed.runs.isWritten(content, { after: from, upTo: to }))
    )
  }

  // What follows is about rows of extents alone: retention folds what stands in runs into them first.

  /** Extents that hold at `at` and begin in the range, ascending. */
  standing(content: number, range: { start: number; end: number }, at: number): { extent: ExtentKey; piece: Piece }[] {
    const rows = this.#statements.extentsFrom.all(content, range.start, range.end, at, -1) as unknown as ExtentKeyRow[]
    return rows.map((row) => keyedPiece(content, row))
  }

  /**
   * Extents that hold at or after `at`: those whose bytes stand in changes up to there (`inline`), or those that hold at
   * `at` itself and are a part of a chunk (`cut`).
   */
  unsettledExtents(
    find: 'inline' | 'cut',
    after: ExtentKey,
    at: number,
    countMax: number,
  ): { extent: ExtentKey; piece: Piece }[] {
    const place = [after.content, after.at, after.since]
    const rows = (find === 'inline'
      ? this.#statements.inlineExtents.all(after.location, ...place, at, at, countMax)
      : this.#statements.cutExtents.all(...place, at, at, countMax)) as unknown as (ExtentKeyRow & {
      content: number
    })[]
    return rows.map((row) => keyedPiece(row.content, row))
  }
}

const lookedThroughAtOnce = 65_536

interface ExtentRow {
  readonly at: number
  readonly bytes: number
  readonly skip: number
  readonly cut: number
  readonly location: Uint8Array | number
}

type ExtentKeyRow = ExtentRow & { readonly since: number }

const keyedPiece = (content: number, row: ExtentKeyRow): { extent: ExtentKey; piece: Piece } => ({
  extent: { content, at: row.at, since: row.since, location: typeof row.location === 'number' ? row.location : 0 },
  piece: pieceOf(row),
})

function pieceOf({ at, bytes, skip, cut, location }: ExtentRow): Piece {
  const source =
    typeof location === 'number'
      ? { sequence: sequence(location), origin: at - skip }
      : { chunk: Buffer.from(location.buffer, location.byteOffset, location.byteLength).toString('latin1') as ChunkId }
  return { at, bytes, skip, cut: cut > 0, isEnd: cut === endsChunk, source }
}

function prepareAll(database: DatabaseSync) {
  // From place to place, and at each to the last extent that began there by ?4: a place that was written over very often
  // costs no more than another.
  const standing = `
    SELECT e.at, e.since, e.bytes, e.skip, e.cut, e.location FROM place CROSS JOIN extent e
    WHERE e.content = ?1 AND e.at = place.at AND e.until > ?4
      AND e.since = (SELECT since FROM extent WHERE content = ?1 AND at = place.at AND since <= ?4 ORDER BY since DESC LIMIT 1)`
  return {
    extentsFrom: database.prepare(`
      WITH RECURSIVE place(at) AS (
        SELECT (SELECT at FROM extent WHERE content = ?1 AND at >= ?2 AND at < ?3 ORDER BY at LIMIT 1)
        UNION ALL
        SELECT (SELECT at FROM extent WHERE content = ?1 AND at > place.at AND at < ?3 ORDER BY at LIMIT 1)
        FROM place WHERE place.at IS NOT NULL)
      ${standing} LIMIT ?5`),
    extentBefore: database.prepare(`
      WITH RECURSIVE place(at) AS (
        SELECT (SELECT at FROM extent WHERE content = ?1 AND at < ?2 AND at > ?3 ORDER BY at DESC LIMIT 1)
        UNION ALL
        SELECT (SELECT at FROM extent WHERE content = ?1 AND at < place.at AND at > ?3 ORDER BY at DESC LIMIT 1)
        FROM place WHERE place.at IS NOT NULL)
      ${standing} LIMIT 1`),
    inlineExtents: database.prepare(`
      SELECT content, at, since, bytes, skip, cut, location FROM extent INDEXED BY extent_inline
      WHERE typeof(location) = 'integer' AND (location, content, at, since) > (?, ?, ?, ?)
        AND location <= ? AND until > ? ORDER BY location, content, at, since LIMIT ?`),
    writtenAfter: database.prepare(`
      SELECT 1 AS found FROM extent INDEXED BY extent_inline
      WHERE typeof(location) = 'integer' AND location > ? AND location <= ? AND content = ? LIMIT 1`),
    endedAfter: database.prepare(`
      SELECT 1 AS found FROM extent INDEXED BY extent_ended
      WHERE until < ${forever} AND until > ? AND until <= ? AND content = ? LIMIT 1`),
    journalPieces: database.prepare(`
      SELECT at, since, bytes, skip, cut, location FROM extent INDEXED BY extent_inline
      WHERE typeof(location) = 'integer' AND (location, content, at, since) > (?, ?, ?, ?)
        AND content = ? AND since <= ? AND until > ? ORDER BY location, content, at, since LIMIT ?`),
    cutExtents: database.prepare(`
      SELECT content, at, since, bytes, skip, cut, location FROM extent INDEXED BY extent_cut
      WHERE cut > 0 AND typeof(location) = 'blob' AND (content, at, since) > (?, ?, ?)
        AND since <= ? AND until > ? ORDER BY content, at, since LIMIT ?`),
  } satisfies Record<string, StatementSync>
}
