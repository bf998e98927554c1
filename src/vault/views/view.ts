import { isCode, TidemarkError } from '../../base/errors.ts'
import { chunkBytesMax } from '../../model/batch.ts'
import type { Attributes, ChunkId } from '../../model/change.ts'
import { formatMoment, moment } from '../../model/moment.ts'
import {
  type BinaryString,
  displayName,
  isWithin,
  joinPath,
  nameOf,
  parentOf,
  rootPath,
  stagingName,
  type TreePath,
} from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { joined, type Piece } from '../index/extent-reader.ts'
import { type EntryRow, type IndexReader, typeOf, type VersionRow } from '../index/index-reader.ts'
import { type NodeType, unpackAttributes } from '../index/packing.ts'
import { Recent } from '../index/recent.ts'
import { rootNode } from '../index/schema.ts'
import type { BatchPlace, RestingBlock } from '../reader.ts'
import type { ContentReader } from './content-reader.ts'

/** What stands at a path at the sequence of a view. */
export interface Entry {
  readonly path: TreePath
  readonly type: NodeType
  /** Size of a file, 0 for anything else. */
  readonly bytes: number
  readonly attributes: Attributes
  /** Names of this file; 1 for anything that is not hard-linked. */
  readonly links: number
  /** The same for all names of a file, never used again for another within one index. */
  readonly node: number
  /** Of a symbolic link. */
  readonly target?: BinaryString
  /** Of a device. */
  readonly device?: { readonly major: number; readonly minor: number }
}

/** A stretch of a file; without data it is a hole: all zeros. */
export interface Stretch {
  readonly at: number
  readonly bytes: number
  readonly data?: Buffer
}

/** A node with the path by which it was found. */
export interface Found {
  readonly path: TreePath
  readonly node: number
  readonly type: NodeType
}

/** Children held at once while they are sorted, twice so many for a while. */
const sortedAtOnce = 250_000
const childrenAtOnce = 8_192
const foldersMax = 1_000
const readsUnchecked = 64
const entriesAtOnce = 1_000
const piecesAtOnce = 4_096

/**
 * The tree at one sequence. Paths are taken as they are: symbolic links are not followed. What a capture builds below
 * the staging name is hidden unless `staging` is asked for.
 * A view whose point leaves the window while it is read fails with `point-unreachable`, never with less than it had.
 */
export class View {
  readonly at: Sequence
  readonly rows: IndexReader
  readonly #content: ContentReader
  readonly #staging: boolean
  readonly #folders = new Recent<TreePath, number>(foldersMax)
  #reads = 0

  constructor(parts: { rows: IndexReader; content: ContentReader; at: Sequence; staging?: boolean }) {
    this.at = parts.at
    this.rows = parts.rows
    this.#content = parts.content
    this.#staging = parts.staging ?? false
    const { indexed } = this.#stillKept()
    if (this.at > indexed) {
      throw new TidemarkError('point-unreachable', {
        message: `the change ${this.at} is not indexed yet; the index has reached ${indexed}`,
        hint: 'ask again in a moment',
      })
    }
  }

  /** Throws `not-found` where nothing is at `path`. */
  stat(path: TreePath): Entry {
    return this.#kept(this.entry(this.find(path)))
  }

  find(path: TreePath): Found {
    const found = this.lookup(path)
    if (found !== undefined) return found
    throw new TidemarkError('not-found', {
      message: `there is no ${JSON.stringify(displayName(path))} at this point`,
      hint: 'ask for the history of the path, or choose another point',
    })
  }

  lookup(path: TreePath): Found | undefined {
    if (!this.#staging && isWithin(path, stagingName as TreePath)) return undefined
    if (path === rootPath) return { path, node: rootNode, type: 'directory' }
    const folder = this.#folder(parentOf(path))
    const row = folder === undefined ? undefined : this.rows.child(folder, nameOf(path), this.at)
    if (row === undefined) return this.#kept(undefined)
    return this.#sometimesKept({ path, node: row.node, type: typeOf(row) })
  }

  /** What stands at a path that something may be below. At one sequence it is always the same. */
  #folder(path: TreePath): number | undefined {
    if (path === rootPath) return rootNode
    const known = this.#folders.get(path)
    if (known !== undefined) return known
    let node: number = rootNode
    for (const name of path.split('/')) {
      const row = this.rows.child(node, name as BinaryString, this.at)
      if (row === undefined) return undefined
      node = row.node
    }
    this.#folders.set(path, node)
    return node
  }

  entry({ path, node, type }: Found): Entry {
    const version = this.version(node)
    if (version === undefined) return { ...impliedRoot, path, type, node }
    const { attributes, particulars } = unpackAttributes(type, version, this.rows.sealing)
    const links = version.linked === 1 ? this.rows.namesOf(node, this.at).length : 1
    const entry = { path, type, bytes: version.bytes, attributes, links, node }
    if (particulars.type === 'symlink') return { ...entry, target: particulars.target }
    if (particulars.type === 'character-device' || particulars.type === 'block-device') {
      return { ...entry, device: { major: particulars.major, minor: particulars.minor } }
    }
    return entry
  }

  /** Undefined for a root of which nothing was ever told. */
  version(node: number): VersionRow | undefined {
    return this.#sometimesKept(this.rows.version(node, this.at))
  }

  /**
   * The children of a directory, or the one entry where `path` is something else, some at a time, ascending by the
   * bytes of their names. Begins after the name `after` where one is given.
   */
  *list(path: TreePath, after?: BinaryString): Generator<Entry[]> {
    const found = this.find(path)
    if (found.type !== 'directory') return yield [this.entry(found)]
    let entries: Entry[] = []
    for (const child of this.#sorted(found, after)) {
      entries.push(this.entry(foundIn(found, child)))
      if (entries.length < entriesAtOnce) continue
      yield entries
      entries = []
    }
    this.#stillKept()
    if (entries.length > 0) yield entries
  }

  /** Everything at and below `found`: a directory, then all below it, ascending by name, before its next sibling. */
  *walk(found: Found): Generator<Found> {
    yield found
    const open: { folder: Found; children: Iterator<Child> }[] = []
    if (found.type === 'directory') open.push({ folder: found, children: this.#sorted(found) })
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const next = top.children.next()
      if (next.done) {
        open.pop()
        continue
      }
      const child = foundIn(top.folder, next.value)
      yield child
      if (child.type === 'directory') open.push({ folder: child, children: this.#sorted(child) })
    }
    this.#stillKept()
  }

  /** Children ascending by name. Of a directory of very many, some of the smallest names at a time are looked for. */
  *#sorted(folder: Found, after: string = ''): Generator<Child> {
    let last = after
    for (;;) {
      let smallest: Child[] = []
      let isMore = false
      for (const { name, node, type } of this.children(folder)) {
        if (name <= last) continue
        smallest.push({ name, node, type })
        if (smallest.length < 2 * sortedAtOnce) continue
        smallest = smallest.sort(byName).slice(0, sortedAtOnce)
        isMore = true
      }
      yield* smallest.sort(byName)
      if (!isMore) return
      last = (smallest.at(-1) as Child).name
    }
  }

  /** Children in the order of their tags, which is the same at every point. */
  *children(folder: Found): Generator<NamedRow> {
    for (const page of this.#pages(folder, -1)) yield* page
  }

  *#pages(folder: Found, after: number): Generator<NamedRow[]> {
    let last = after
    for (;;) {
      const rows = this.#childrenFrom(folder, last, childrenAtOnce)
      if (rows.length === 0) return
      last = (rows.at(-1) as NamedRow).tag
      yield rows
    }
  }

  #childrenFrom(folder: Found, after: number, countMax: number): NamedRow[] {
    const rows = this.#sometimesKept(this.rows.children(folder.node, this.at, after, countMax))
    const named = rows.map((row) => Object.assign(row, { name: this.rows.sealing.openName(row.name) }) as NamedRow)
    const hides = !this.#staging && folder.node === rootNode
    return hides ? named.filter(({ name }) => name !== stagingName) : named
  }

  /** The pieces of a version in a range, ascending; gaps between them are zeros. */
  pieces(version: VersionRow, start = 0, end: number = version.bytes): Generator<Piece> {
    return joined(this.#rowsOfPieces(version, start, end))
  }

  *#rowsOfPieces(version: VersionRow, start: number, end: number): Generator<Piece> {
    for (let from = start; ;) {
      const pieces = this.#sometimesKept(this.rows.extents.pieces(version, { start: from, end }, this.at, piecesAtOnce))
      // Retention may have made one row of some of which the first were told already.
      for (const piece of pieces) yield from > start && piece.at < from ? restOf(piece, from) : piece
      const last = pieces.at(-1)
      if (last === undefined || pieces.length < piecesAtOnce) return
      from = last.at + last.bytes
    }
  }

  /** Bytes `start` up to `end` (or the end of the file), whole and in order; every byte is authenticated. */
  async *read(version: VersionRow, start = 0, end: number = version.bytes): AsyncGenerator<Stretch> {
    const stop = Math.min(end, version.bytes)
    let reached = start
    for (const piece of this.pieces(version, start, stop)) {
      if (piece.at > reached) yield { at: reached, bytes: piece.at - reached }
      reached = Math.max(piece.at, start)
      const pieceEnd = Math.min(piece.at + piece.bytes, stop)
      const data = (await this.readPiece(version, piece)).subarray(reached - piece.at, pieceEnd - piece.at)
      yield { at: reached, bytes: data.length, data }
      reached = pieceEnd
    }
    if (reached < stop) yield { at: reached, bytes: stop - reached }
    this.#stillKept()
  }

  /** Retention may have given the piece another place since its row was read: with the same bytes, so it is looked up again. */
  async readPiece({ node }: VersionRow, piece: Piece): Promise<Buffer> {
    try {
      return await this.#content.read(piece, this.#placeOf)
    } catch (error) {
      if (!isCode(error, 'point-unreachable') && !isCode(error, 'not-found')) throw error
      const version = this.version(node)
      const end = piece.at + piece.bytes
      const parts: Buffer[] = []
      let reached = piece.at
      for (const now of version === undefined ? [] : this.pieces(version, piece.at, end)) {
        if (now.at > reached || isSamePlace(now, piece)) throw error
        const data = await this.#content.read(now, this.#placeOf)
        parts.push(data.subarray(reached - now.at, end - now.at))
        reached = now.at + now.bytes
      }
      if (reached < end) throw error
      return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    }
  }

  readonly #placeOf = (sequence: Sequence): BatchPlace | undefined => this.rows.placeOfBatch(sequence)

  /** The block that a chunk rests in, undefined where it has to be read by itself. */
  block(id: ChunkId): Promise<RestingBlock | undefined> {
    return this.#content.block(id)
  }

  /** Answers many questions at the cost of fewer: the index is locked once for all of them. */
  atOnce<T>(ask: () => T): T {
    return this.rows.atOnce(ask)
  }

  /** For whoever has read last what retention might have taken away before. */
  assertKept(): void {
    this.#stillKept()
  }

  /** Hands on what was just read, having made sure that retention did not take rows away before it was read. */
  #kept<T>(value: T): T {
    this.#stillKept()
    return value
  }

  /** The same, looked at only now and then: whoever reads many rows makes sure once more at the end. */
  #sometimesKept<T>(value: T): T {
    return ++this.#reads % readsUnchecked === 0 ? this.#kept(value) : value
  }

  #stillKept(): { indexed: number } {
    const state = this.rows.kept()
    if (state.checkpoint <= this.at && this.at > 0) return state
    throw new TidemarkError('point-unreachable', {
      message: `the point at change ${this.at} is not kept`,
      hint:
        state.indexed === 0
          ? 'nothing has been captured yet'
          : `the earliest kept is ${formatMoment(moment(state.checkpoint_moment))} (seq:${state.checkpoint}); list the points`,
    })
  }
}

/** The bytes of stretches, zeros written out, in pieces of at most a chunk. */
export async function* filled(stretches: AsyncIterable<Stretch>): AsyncGenerator<Buffer> {
  for await (const { bytes, data } of stretches) {
    if (data !== undefined) yield data
    else for (let rest = bytes; rest > 0; rest -= chunkBytesMax) yield Buffer.alloc(Math.min(rest, chunkBytesMax))
  }
}

export type NamedRow = Omit<EntryRow, 'name'> & { readonly name: BinaryString }

type Child = Pick<NamedRow, 'name' | 'node' | 'type'>

const byName = (a: Child, b: Child): number => (a.name < b.name ? -1 : 1)

export const foundIn = (parent: Found, { name, node, type }: Child): Found => ({
  path: joinPath(parent.path, name),
  node,
  type: typeOf({ type }),
})

const restOf = (piece: Piece, from: number): Piece => ({
  ...piece,
  at: from,
  bytes: piece.at + piece.bytes - from,
  skip: piece.skip + from - piece.at,
  cut: true,
  isEnd: piece.isEnd || !piece.cut,
})

const isSamePlace = ({ source: one }: Piece, { source: other }: Piece): boolean =>
  'chunk' in one
    ? 'chunk' in other && one.chunk === other.chunk
    : 'sequence' in other && one.sequence === other.sequence

const impliedRoot = {
  bytes: 0,
  attributes: { mode: 0o755, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] },
  links: 1,
}
