import type { KeyObject } from 'node:crypto'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { blockHead, bytesHead, damageItem, endItem, pieceItem, placeItem, zerosItem } from '../../format/content.ts'
import { chunkIdOf } from '../../format/keys.ts'
import type { ChunkId, Range } from '../../model/change.ts'
import { displayName, type TreePath } from '../../model/path.ts'
import type { Piece, VersionRow } from '../index/index-reader.ts'
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
 * batch of the journal is read once for all the pieces in it. All data is named, whoever gets it checks the names.
 * What is damaged ends the stretches and says so.
 */
export async function* restingStretches(
  view: View,
  path: TreePath,
  ranges: readonly Range[],
  chunkKey: KeyObject,
): AsyncGenerator<Buffer> {
  const version = fileVersion(view, view.find(path))
  for (const range of ranges) checkRange(path, version, range)
  const wanted = wantedIn(view, version, ranges)
  try {
    for (;;) {
      const group = view.atOnce(() => take(wanted, piecesAtOnce))
      yield* sent(view, version, group, chunkKey)
      if (group.length < piecesAtOnce) break
    }
    view.assertKept()
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
    return yield damageItem(error.message)
  }
  yield endItem()
}

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
  const data: { at: number; bytes: number }[] = []
  for (const { at, bytes, piece } of found) {
    const last = data.at(-1)
    if (piece === undefined) continue
    if (last !== undefined && last.at + last.bytes === at) last.bytes += bytes
    else data.push({ at, bytes })
  }
  view.assertKept()
  const end = found.at(-1)
  return { until: end === undefined ? range.at : end.at + end.bytes, data }
}

function checkRange(path: TreePath, version: VersionRow, { at, bytes }: Range): void {
  if (at + bytes <= version.bytes) return
  throw new TidemarkError('bad-request', {
    message: `${JSON.stringify(displayName(path))} has ${version.bytes} bytes at this point; ${bytes} from ${at} were asked for`,
    hint: 'ask for its size at the same point',
  })
}
