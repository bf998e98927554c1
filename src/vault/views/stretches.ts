import type { KeyObject } from 'node:crypto'
import { isCode, TidemarkError } from '../../base/errors.ts'
import {
  blockHead,
  bytesHead,
  damageItem,
  endItem,
  journalItem,
  lostItem,
  pieceItem,
  placeItem,
  reachedItem,
  zerosItem,
} from '../../format/content.ts'
import { chunkIdOf } from '../../format/keys.ts'
import type { ChunkId, Range } from '../../model/change.ts'
import { displayName, type TreePath } from '../../model/path.ts'
import { beforeFirst, type Sequence, sequence } from '../../model/sequence.ts'
import type { Piece } from '../index/extent-reader.ts'
import type { VersionRow } from '../index/index-reader.ts'
import { fileVersion, SentBlocks } from './resting-content.ts'
import type { DataExtents } from './service.ts'
import type { View } from './view.ts'

/** Pieces found before any is read: what bounds the memory, and how often one batch is read for many of them. */
const piecesAtOnce = 65_536

/** A part of a piece that was asked for, or zeros. */
interface Wanted {
  readonly at: number
  readonly bytes: number
  readonly piece?: Piece
}

/**
 * What stands in ranges of a file, encoded as stretches (format/content.ts): in the order in which it rests, so that a
 * batch of the journal is read once for many pieces in it. All data is named, whoever gets it checks the names. What is
 * damaged ends the stretches and says so. With `withoutJournal`, what stands in the journal is not read, only told to be there.
 */
export async function* restingStretches(
  view: View,
  path: TreePath,
  { ranges, withoutJournal }: { readonly ranges: readonly Range[]; readonly withoutJournal: boolean },
  chunkKey: KeyObject,
): AsyncGenerator<Buffer> {
  const version = fileVersion(view, view.find(path))
  for (const range of ranges) checkRange(path, version, range)
  const wanted = wantedIn(view, version, ranges)
  const isLeftOut = withoutJournal ? isInJournal(version) : () => false
  try {
    for (;;) {
      const group = view.atOnce(() => take(wanted, piecesAtOnce))
      for (const { at, bytes } of joined(group.filter(isLeftOut))) yield journalItem(at, bytes)
      yield* sent(
        view,
        version,
        group.filter((one) => !isLeftOut(one)),
        chunkKey,
      )
      if (group.length < piecesAtOnce) break
    }
    view.assertKept()
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
    return yield damageItem(error.message)
  }
  yield endItem()
}

/** Of a file that is one write, that is no matter of order. */
const isInJournal =
  ({ content }: VersionRow) =>
  ({ piece }: Wanted): boolean =>
    typeof content === 'number' && content > 0 && piece !== undefined && 'sequence' in piece.source

/**
 * What of a file stands in the journal after a change, encoded as stretches in the journal's order: each batch is read once.
 * Read before the rest is (`withoutJournal`), nothing is missed: retention moves what stands in the journal to packs, and
 * never back. What is damaged is told, and the rest follows.
 */
export async function* journalStretches(
  view: View,
  path: TreePath,
  after: Sequence,
  chunkKey: KeyObject,
): AsyncGenerator<Buffer> {
  const version = fileVersion(view, view.find(path))
  for await (const { piece, data } of journalPieces(view, version, after)) {
    if (piece === undefined) yield reachedItem(data)
    else if (data instanceof Error) yield lostItem(piece.at, piece.bytes, data.message)
    else yield* [placeItem(piece.at, chunkIdOf(chunkKey, data)), bytesHead(data.length), data]
  }
  view.assertKept()
  yield endItem()
}

type JournalPiece =
  | { readonly piece: Piece; readonly data: Buffer | TidemarkError }
  /** All up to there were told. */
  | { readonly piece?: undefined; readonly data: Sequence }

async function* journalPieces(view: View, version: VersionRow, from: Sequence): AsyncGenerator<JournalPiece> {
  const { content, bytes } = version
  if (typeof content !== 'number' || content < 0) return
  for (let after = { location: from as number, at: Number.MAX_SAFE_INTEGER, since: 0 }; ;) {
    const found = view.rows.extents.journalPieces({ content, bytes }, after, view.at, journalPiecesAtOnce)
    for (const { piece } of found) yield { piece, data: await readOrDamage(view, version, piece) }
    const last = found.at(-1)
    if (last === undefined || found.length < journalPiecesAtOnce) return
    after = last.key
    // Of the last change there may be more.
    yield { data: sequence(after.location - 1) }
  }
}

async function readOrDamage(view: View, version: VersionRow, piece: Piece): Promise<Buffer | TidemarkError> {
  try {
    return await view.readPiece(version, piece)
  } catch (error) {
    if (isCode(error, 'damaged')) return error
    throw error
  }
}

/** Reads and checks all bytes of a file as they rest, and tells how many at a time. What is damaged throws. */
export async function* readAtRest(view: View, version: VersionRow): AsyncGenerator<number> {
  for await (const { piece, data } of journalPieces(view, version, beforeFirst)) {
    if (data instanceof Error) throw data
    if (piece !== undefined) yield piece.bytes
  }
  const isRead = isInJournal(version)
  for (const wanted of wantedIn(view, version, [{ at: 0, bytes: version.bytes }])) {
    if (isRead(wanted)) continue
    if (wanted.piece !== undefined) await view.readPiece(version, wanted.piece)
    yield wanted.bytes
  }
  view.assertKept()
}

const journalPiecesAtOnce = 4_096

async function* sent(
  view: View,
  version: VersionRow,
  group: readonly Wanted[],
  chunkKey: KeyObject,
): AsyncGenerator<Buffer> {
  const blocks = new SentBlocks(view, new Set(group.flatMap(wholeChunk)))
  for (const wanted of group.filter(({ piece }) => piece === undefined)) yield zerosItem(wanted.at, wanted.bytes)
  for (const wanted of inOrderOfRest(group)) {
    const { at, bytes, piece } = wanted
    const [chunk] = wholeChunk(wanted)
    const block = chunk === undefined ? undefined : await blocks.find(chunk, bytes)
    if (chunk !== undefined && block !== undefined) {
      if (block.block !== undefined) yield* [blockHead(block.block.length), block.block]
      yield* [placeItem(at, chunk), pieceItem(block.number, block.at, block.bytes)]
      continue
    }
    const data = (await view.readPiece(version, piece)).subarray(at - piece.at, at - piece.at + bytes)
    yield* [placeItem(at, chunk ?? chunkIdOf(chunkKey, data)), bytesHead(bytes), data]
  }
}

type WantedPiece = Wanted & { readonly piece: Piece }

/** Chunks as they stand in the file, which is mostly how they rest; then what stands in the journal, in its order. */
const inOrderOfRest = (group: readonly Wanted[]): WantedPiece[] =>
  group
    .filter((wanted): wanted is WantedPiece => wanted.piece !== undefined)
    .sort((a, b) => sequenceOf(a.piece) - sequenceOf(b.piece) || a.at - b.at)

const sequenceOf = ({ source }: Piece): number => ('chunk' in source ? 0 : source.sequence)

/** The chunk, if all of it is asked for. */
const wholeChunk = ({ bytes, piece }: Wanted): ChunkId[] =>
  piece !== undefined && 'chunk' in piece.source && !piece.cut && piece.bytes === bytes ? [piece.source.chunk] : []

function take<T>(values: Iterator<T>, countMax: number): T[] {
  const taken: T[] = []
  while (taken.length < countMax) {
    const next = values.next()
    if (next.done) break
    taken.push(next.value)
  }
  return taken
}

function* wantedIn(view: View, version: VersionRow, ranges: readonly Range[]): Generator<Wanted> {
  for (const { at: start, bytes } of ranges) {
    const end = start + bytes
    let reached = start
    for (const piece of view.pieces(version, start, end)) {
      if (piece.at > reached) yield { at: reached, bytes: piece.at - reached }
      const at = Math.max(piece.at, start)
      reached = Math.min(piece.at + piece.bytes, end)
      yield { at, bytes: reached - at, piece }
    }
    if (reached < end) yield { at: reached, bytes: end - reached }
  }
}

/** Where data stands in a range; after `piecesAtOnce` pieces it says how far it came. */
export function dataExtents(view: View, path: TreePath, range: Range): DataExtents {
  const version = fileVersion(view, view.find(path))
  checkRange(path, version, range)
  const found = view.atOnce(() => take(wantedIn(view, version, [range]), piecesAtOnce))
  const data = joined(found.filter(({ piece }) => piece !== undefined))
  view.assertKept()
  const end = found.at(-1)
  return { until: end === undefined ? range.at : end.at + end.bytes, data }
}

/** Of ascending ranges, touching ones made one. */
function joined(ranges: readonly Range[]): Range[] {
  const all: { at: number; bytes: number }[] = []
  for (const { at, bytes } of ranges) {
    const last = all.at(-1)
    if (last !== undefined && last.at + last.bytes === at) last.bytes += bytes
    else all.push({ at, bytes })
  }
  return all
}

function checkRange(path: TreePath, version: VersionRow, { at, bytes }: Range): void {
  if (at + bytes <= version.bytes) return
  throw new TidemarkError('bad-request', {
    message: `${JSON.stringify(displayName(path))} has ${version.bytes} bytes at this point; ${bytes} from ${at} were asked for`,
    hint: 'ask for its size at the same point',
  })
}
