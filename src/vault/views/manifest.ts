import { changeExtentsMax, inlineBytesMax } from '../../model/batch.ts'
import type { Change, ChunkId, Content, Extent } from '../../model/change.ts'
import { parentOf, rootPath, type TreePath } from '../../model/path.ts'
import type { Piece } from '../index/extent-reader.ts'
import type { VersionRow } from '../index/index-reader.ts'
import { unpackAttributes } from '../index/packing.ts'
import type { Found, View } from './view.ts'

/** Data standing in one change of a manifest; a group of changes must stay well below the limit of a batch. */
const dataBytesMax = 1024 * 1024

/** How bytes that are not a whole chunk are told. */
export type Tell = (view: View, version: VersionRow, piece: Piece) => Promise<Extent[]>

/** As data that stands in the change. */
export const tellInline: Tell = async (view, version, piece) => {
  const data = await view.readPiece(version, piece)
  const extents: Extent[] = []
  for (let start = 0; start < data.length; start += inlineBytesMax) {
    const part = data.subarray(start, start + inlineBytesMax)
    extents.push({ at: piece.at + start, bytes: part.length, data: part })
  }
  return extents
}

/**
 * The changes that make the subtrees at `paths` from nothing, with the directories above them (format/manifest.ts).
 * Throws `not-found` where one of the paths is absent. Memory grows only with the hard-linked files told.
 */
export async function* manifestOf(view: View, paths: readonly TreePath[], tell = tellInline): AsyncGenerator<Change> {
  const wanted = outermost(paths).map((path) => view.find(path))
  const above = new Set<TreePath>()
  const told = new Map<number, { readonly path: TreePath; left: number }>()
  for (const found of wanted) {
    for (const ancestor of ancestorsOf(found.path)) {
      if (above.has(ancestor)) continue
      above.add(ancestor)
      yield* put(view, view.find(ancestor), tell)
    }
    for (const below of view.walk(found)) {
      const version = below.type === 'directory' ? undefined : view.version(below.node)
      if (version?.linked !== 1) {
        yield* put(view, below, tell)
        continue
      }
      const first = told.get(below.node)
      if (first !== undefined) {
        yield { kind: 'link', path: below.path, to: first.path }
        if (--first.left === 0) told.delete(below.node)
      } else {
        const left = view.rows.namesOf(below.node, view.at).length - 1
        if (left > 0) told.set(below.node, { path: below.path, left })
        yield* put(view, below, tell)
      }
    }
  }
}

/** One entry; a file of more extents than one change may hold, or of much data, goes on in patches. */
async function* put(view: View, found: Found, tell: Tell): AsyncGenerator<Change> {
  const version = view.version(found.node)
  if (version === undefined) return
  const { path } = found
  const { attributes, particulars } = unpackAttributes(found.type, version, view.rows.sealing)
  if (particulars.type !== 'file') return yield { kind: 'put', path, attributes, content: particulars as Content }
  let begun = false
  for await (const extents of extentsOf(view, version, tell)) {
    if (begun) yield { kind: 'patch', path, attributes, bytes: version.bytes, extents, zeros: [] }
    else yield { kind: 'put', path, attributes, content: { type: 'file', bytes: version.bytes, extents } }
    begun = true
  }
}

/** Extents of a file in groups that each fit one change; at least one group. */
async function* extentsOf(view: View, version: VersionRow, tell: Tell): AsyncGenerator<Extent[]> {
  let group: Extent[] = []
  let dataBytes = 0
  for (const piece of view.pieces(version)) {
    const { source, at, bytes } = piece
    const told =
      'chunk' in source && !piece.cut ? [wholeChunk(at, bytes, source.chunk)] : await tell(view, version, piece)
    for (const extent of told) {
      if (group.length === changeExtentsMax || dataBytes > dataBytesMax) {
        yield group
        group = []
        dataBytes = 0
      }
      group.push(extent)
      if ('data' in extent) dataBytes += extent.bytes
    }
  }
  yield group
}

const wholeChunk = (at: number, bytes: number, chunk: ChunkId): Extent => ({ at, bytes, chunk })

/** The paths that are not within another of them, in the order of a manifest. */
function outermost(paths: readonly TreePath[]): TreePath[] {
  const given = new Set(paths)
  const kept = [...given].filter((path) => !ancestorsOf(path).some((ancestor) => given.has(ancestor)))
  return kept.sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1))
}

/** Paths compare name by name: no name holds a NUL, and all other bytes come after it. */
const orderOf = (path: TreePath): string => path.replaceAll('/', '\0')

/** From the root down; without the path itself, and none above the root. */
function ancestorsOf(path: TreePath): TreePath[] {
  const ancestors: TreePath[] = []
  for (let at = path; at !== rootPath;) {
    at = parentOf(at)
    ancestors.unshift(at)
  }
  return ancestors
}
