import { TidemarkError } from '../../base/errors.ts'
import { isWithin, joinPath, rootPath, stagingName, type TreePath } from '../../model/path.ts'
import type { Piece } from '../index/extent-reader.ts'
import type { EntryRow, VersionRow } from '../index/index-reader.ts'
import type { NodeType } from '../index/packing.ts'
import { Recent } from '../index/recent.ts'
import { rootNode } from '../index/schema.ts'
import { type Found, foundIn, type NamedRow, type View } from './view.ts'

/**
 * - `added`, `removed`: there at one of the two points only. Of a directory everything below is told too.
 * - `type`: something of another type stands there.
 * - `content`: other extents or another size. Bytes written again as they were, in other pieces, count as changed.
 * - `attributes`: mode, owner, modification time, extended attributes, link target or device.
 */
export interface DiffRow {
  readonly change: 'added' | 'removed' | 'type' | 'content' | 'attributes'
  readonly path: TreePath
  /** At the later point; at the earlier one for what was removed. */
  readonly type: NodeType
}

interface Side {
  readonly from: View
  readonly to: View
}

const rowsAtOnce = 4_096
/** Rows looked at before others who share the thread have their turn. */
const rowsInTurn = 128
const pathsMax = 20_000

/**
 * What differs between two points at and below a path, each path once, in no order. Costs as much as changed between
 * them: it begins with the names and versions that began or ended, and looks at whole subtrees only where a directory
 * came, went, moved or was replaced. Undefined now and then, where much was looked at: others may have their turn.
 */
export function* diffViews(sides: Side, path: TreePath): Generator<DiffRow | undefined> {
  const { from, to } = sides
  if (from.at > to.at) {
    throw new TidemarkError('bad-request', {
      message: `the point ${from.at} to compare from is later than ${to.at}`,
      hint: 'give the earlier point first',
    })
  }
  const before = from.lookup(path)
  const after = to.lookup(path)
  if (before === undefined && after === undefined) to.find(path)
  const steady = new SteadyPaths(sides)
  if (before === undefined || before.node !== after?.node || steady.path(before.node) === undefined) {
    return yield* compare(sides, before, after)
  }
  yield* namesThatChanged(sides, steady, path)
  yield* versionsThatChanged(sides, steady, path)
}

/** A name of an unmoved directory that means another node, or none, at one of the points. */
function* namesThatChanged(sides: Side, steady: SteadyPaths, within: TreePath): Generator<DiffRow | undefined> {
  for (const entry of inTurns(entriesBegun(sides))) {
    if (entry === undefined) yield undefined
    if (entry === undefined || entry.until <= sides.to.at) continue
    const place = placeOf(sides, steady, entry, within)
    if (place === undefined || place.before?.node === place.after?.node) continue
    yield* compare(sides, place.before, place.after)
  }
  for (const entry of inTurns(entriesEnded(sides))) {
    if (entry === undefined) {
      yield undefined
      continue
    }
    const place = placeOf(sides, steady, entry, within)
    if (place?.before === undefined || place.after !== undefined) continue
    yield* compare(sides, place.before, undefined)
  }
}

/** A node that stands at the same path at both points, and got new versions between them, or may have been written to. */
function* versionsThatChanged(sides: Side, steady: SteadyPaths, within: TreePath): Generator<DiffRow | undefined> {
  const { from, to } = sides
  for (const version of inTurns(versionsBegun(sides))) {
    if (version === undefined) yield undefined
    if (version === undefined || to.rows.version(version.node, to.at)?.id !== version.id) continue
    if (version.node === rootNode) {
      if (within === rootPath) yield* compareNode(sides, from.find(rootPath), to.find(rootPath))
      continue
    }
    for (const entry of to.rows.namesOf(version.node, to.at)) {
      const place = placeOf(sides, steady, entry, within)
      if (place?.before === undefined || place.after === undefined) continue
      if (place.before.node === place.after.node) yield* compareNode(sides, place.before, place.after)
    }
  }
}

/** An undefined after so many. */
function* inTurns<T>(rows: Iterable<T>): Generator<T | undefined> {
  let count = 0
  for (const row of rows) {
    yield row
    if (++count % rowsInTurn === 0) yield undefined
  }
}

interface Place {
  readonly before: Found | undefined
  readonly after: Found | undefined
}

/** What an entry's name meant at both points; undefined outside of `within`, or where its directory was moved. */
function placeOf({ from, to }: Side, steady: SteadyPaths, entry: EntryRow, within: TreePath): Place | undefined {
  const parent = steady.path(entry.parent)
  if (parent === undefined) return undefined
  const name = to.rows.sealing.openName(entry.name)
  const path = joinPath(parent, name)
  if (!isWithin(path, within) || isWithin(path, stagingName as TreePath)) return undefined
  const folder: Found = { path: parent, node: entry.parent, type: 'directory' }
  const found = (view: View): Found | undefined => {
    const row = view.rows.child(entry.parent, name, view.at)
    return row === undefined ? undefined : foundIn(folder, { ...row, name })
  }
  return { before: found(from), after: found(to) }
}

/** Paths of the directories that are at both points the same nodes, from the root down. */
class SteadyPaths {
  readonly #sides: Side
  readonly #known = new Recent<number, TreePath | 'moved'>(pathsMax)

  constructor(sides: Side) {
    this.#sides = sides
  }

  path(node: number): TreePath | undefined {
    const { from, to } = this.#sides
    const climbed: { node: number; name: Uint8Array }[] = []
    let next = node
    let reached: TreePath | 'moved' | undefined
    while (reached === undefined) {
      reached = next === rootNode ? rootPath : this.#known.get(next)
      if (reached !== undefined) break
      const [before] = from.rows.namesOf(next, from.at)
      const [after] = to.rows.namesOf(next, to.at)
      const steady = before !== undefined && before.parent === after?.parent && sameBytes(before.name, after.name)
      if (steady) climbed.push({ node: next, name: before.name })
      else this.#known.set(next, (reached = 'moved'))
      next = before?.parent ?? rootNode
    }
    for (const { node: below, name } of climbed.reverse()) {
      reached = reached === 'moved' ? reached : joinPath(reached, to.rows.sealing.openName(name))
      this.#known.set(below, reached)
    }
    return reached === 'moved' ? undefined : reached
  }
}

/** Compares all at and below two nodes that stand at the same path at the two points. */
function* compare(sides: Side, before: Found | undefined, after: Found | undefined): Generator<DiffRow | undefined> {
  const pairs: Place[] = [{ before, after }]
  let count = 0
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    if (++count % rowsInTurn === 0) yield undefined
    if (pair.before === undefined || pair.after === undefined) {
      const [view, found] = pair.after === undefined ? [sides.from, pair.before] : [sides.to, pair.after]
      const change = pair.after === undefined ? 'removed' : 'added'
      for (const { path, type } of found === undefined ? [] : view.walk(found)) yield { change, path, type }
      continue
    }
    yield* compareNode(sides, pair.before, pair.after)
    pairs.push(...childrenOfBoth(sides, pair.before, pair.after))
  }
}

/** Children of either side, paired by name. */
function* childrenOfBoth({ from, to }: Side, before: Found, after: Found): Generator<Place> {
  const old = before.type === 'directory' ? from.children(before) : [][Symbol.iterator]()
  const young = after.type === 'directory' ? to.children(after) : [][Symbol.iterator]()
  let a = nextOf(old)
  let b = nextOf(young)
  while (a !== undefined || b !== undefined) {
    const tag = Math.min(a?.tag ?? Infinity, b?.tag ?? Infinity)
    // Names that share a tag come in any order.
    const shared = new Map<string, { before?: Found; after?: Found }>()
    for (; a?.tag === tag; a = nextOf(old)) shared.set(a.name, { before: foundIn(before, a) })
    for (; b?.tag === tag; b = nextOf(young)) shared.set(b.name, { ...shared.get(b.name), after: foundIn(after, b) })
    for (const pair of shared.values()) yield { before: pair.before, after: pair.after }
  }
}

function nextOf(rows: Iterator<NamedRow>): NamedRow | undefined {
  const next = rows.next()
  return next.done ? undefined : next.value
}

/** The two nodes themselves, without what is below them. */
function* compareNode({ from, to }: Side, before: Found, after: Found): Generator<DiffRow> {
  const { path, type } = after
  if (before.type !== type) return yield { change: 'type', path, type }
  const old = from.version(before.node)
  const young = to.version(after.node)
  if (old?.id === young?.id) {
    if (isWrittenWithin(from, to, young)) yield { change: 'content', path, type }
    return
  }
  if (type === 'file' && !sameContent(from, old, to, young)) yield { change: 'content', path, type }
  else if (!sameAttributes(old, young)) yield { change: 'attributes', path, type }
}

/** Later writes of the batch in which a version began make no other one. */
function isWrittenWithin(from: View, to: View, version: VersionRow | undefined): boolean {
  if (version === undefined || typeof version.content !== 'number' || version.content < 0) return false
  const batch = to.rows.batchAt(version.since)
  return (
    batch !== undefined &&
    batch.last > from.at &&
    to.rows.extents.isWritten(version.content, from.at, Math.min(batch.last, to.at))
  )
}

const sameAttributes = (a: VersionRow | undefined, b: VersionRow | undefined): boolean =>
  a !== undefined &&
  b !== undefined &&
  sameBytes(a.attributes, b.attributes) &&
  (a.detail === null || b.detail === null ? a.detail === b.detail : sameBytes(a.detail, b.detail))

function sameContent(from: View, a: VersionRow | undefined, to: View, b: VersionRow | undefined): boolean {
  if (a === undefined || b === undefined || a.bytes !== b.bytes) return a === b
  const old = from.pieces(a)
  const young = to.pieces(b)
  for (;;) {
    const left = old.next()
    const right = young.next()
    if (left.done || right.done) return left.done === right.done
    if (!samePiece(left.value, right.value)) return false
  }
}

const samePiece = (a: Piece, b: Piece): boolean =>
  a.at === b.at &&
  a.bytes === b.bytes &&
  a.skip === b.skip &&
  ('chunk' in a.source
    ? 'chunk' in b.source && a.source.chunk === b.source.chunk
    : 'sequence' in b.source && a.source.sequence === b.source.sequence && a.source.origin === b.source.origin)

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Names that began after `from` and up to `to`. */
function* entriesBegun({ from, to }: Side): Generator<EntryRow> {
  const bounds = numbersBetween({ from, to }, 'entry_from')
  for (let after = bounds.after; ;) {
    const page = to.rows.entriesById(after, bounds.before, rowsAtOnce)
    for (const row of page) if (row.since > from.at && row.since <= to.at) yield row
    if (page.length < rowsAtOnce) return
    after = (page.at(-1) as EntryRow).id
  }
}

/** With those of the same batch as the first change after `from`. */
function* versionsBegun({ from, to }: Side): Generator<VersionRow> {
  const bounds = numbersBetween({ from, to }, 'version_from')
  for (let after = bounds.after; ;) {
    const page = to.rows.versionsById(after, bounds.before, rowsAtOnce)
    for (const row of page) if (row.since <= to.at) yield row
    if (page.length < rowsAtOnce) return
    after = (page.at(-1) as VersionRow).id
  }
}

/** Names that held at `from` and not any more at `to`. */
function* entriesEnded({ from, to }: Side): Generator<EntryRow> {
  for (let after = { until: from.at as number, id: Infinity }; ;) {
    const page = to.rows.entriesEnded(from.at, to.at, after, rowsAtOnce)
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < rowsAtOnce) return
    after = { until: last.until, id: last.id }
  }
}

/** Numbers of the rows that began in the batches from the one after `from` to the one that holds `to`. */
function numbersBetween({ from, to }: Side, column: 'entry_from' | 'version_from'): { after: number; before: number } {
  const { rows } = to
  const first = rows.batchAt(from.at + 1) ?? rows.batchAfter(from.at)
  const next = rows.batchAfter(to.at)
  return { after: (first?.[column] ?? 0) - 1, before: next?.[column] ?? Number.MAX_SAFE_INTEGER }
}
