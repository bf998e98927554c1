import type { Moment } from '../../model/moment.ts'
import { isWithin, joinPath, stagingName, type TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { type EntryRow, type IndexReader, typeOf } from '../index/index-reader.ts'
import { folded, type NameCursor, type NameOrder, fromTheNewest } from '../index/name-reader.ts'
import type { NodeType } from '../index/packing.ts'
import { Recent } from '../index/recent.ts'
import { forever } from '../index/schema.ts'
import { placed } from './history.ts'
import { pathOf } from './paths.ts'

export interface SearchRequest {
  /** A part of the name itself, not of the path; in any case. */
  readonly name: string
  readonly within: TreePath
  readonly order: NameOrder
  /** At most so many rows. */
  readonly limit: number
  readonly after?: NameCursor
}

/** A name for the time it was there without a break, whatever was saved under it meanwhile. */
export interface SearchRow {
  readonly path: TreePath
  readonly type: NodeType
  readonly since: { readonly sequence: Sequence; readonly moment: Moment }
  /** Undefined while it is there. */
  readonly until: { readonly sequence: Sequence; readonly moment: Moment } | undefined
  /** Of its last version. */
  readonly bytes: number
}

export interface SearchPage {
  readonly rows: readonly SearchRow[]
  /** Names looked through for it. */
  readonly names: number
  /** From where to go on; undefined where all names were looked through. */
  readonly next: NameCursor | undefined
}

/** So many of either take some ten milliseconds: whoever shares the thread waits no longer. */
const namesAtOnce = 4_096
const rowsAtOnce = 256
/** After so many it ends, and may be gone on with. */
const namesMax = 4_000_000
/** Versions saved one over the other that are followed back to where the first began. */
const savesMax = 10_000
const foldersMax = 20_000

/** Pages of what was found, most of them empty; ends with the limit, or when so many names were looked through that it is enough. */
export function* searchNames(rows: IndexReader, request: SearchRequest): Generator<SearchPage> {
  const part = folded(request.name)
  const folders = new Recent<number, TreePath>(foldersMax)
  let after: NameCursor | undefined = request.after ?? fromTheNewest
  for (let names = 0, left = request.limit; names < namesMax && left > 0 && after !== undefined;) {
    const page: SearchPage = rows.atOnce(() =>
      pageAfter(rows, request, { part, left, after: after as NameCursor, folders }),
    )
    yield page
    names += page.names
    left -= page.rows.length
    after = page.next
  }
}

interface Where {
  readonly part: string
  readonly left: number
  readonly after: NameCursor
  /** Paths of directories as they are now. */
  readonly folders: Recent<number, TreePath>
}

function pageAfter(rows: IndexReader, { within, order }: SearchRequest, where: Where): SearchPage {
  const { checkpoint, indexed } = rows.kept()
  const page = rows.names.page(where.part, order, where.after, namesAtOnce)
  const found: SearchRow[] = []
  for (const entry of page.found) {
    const isKept = entry.until > checkpoint && entry.since <= indexed
    // Told where it ended for good, or stands.
    if (!isKept || (entry.until < forever && rows.names.continuing(entry) !== undefined)) continue
    const path = pathOfName(rows, entry, indexed, where.folders)
    if (path === undefined || !isWithin(path, within) || isWithin(path, stagingName as TreePath)) continue
    found.push(rowOf(rows, entry, path, checkpoint))
    if (found.length < Math.min(where.left, rowsAtOnce)) continue
    return { rows: found, names: page.count, next: { until: entry.until, id: entry.id } }
  }
  return { rows: found, names: page.count, next: page.next }
}

/** Where it was last. */
function pathOfName(
  rows: IndexReader,
  { parent, name, until }: EntryRow,
  indexed: number,
  folders: Recent<number, TreePath>,
): TreePath | undefined {
  const isThere = until === forever
  const known = isThere ? folders.get(parent) : undefined
  const folder = known ?? pathOf(rows, parent, isThere ? indexed : until - 1)
  if (folder === undefined) return undefined
  if (isThere && known === undefined) folders.set(parent, folder)
  return joinPath(folder, rows.sealing.openName(name))
}

function rowOf(rows: IndexReader, entry: EntryRow, path: TreePath, checkpoint: number): SearchRow {
  let first = entry
  for (let saves = 0; saves < savesMax && first.since > checkpoint; saves++) {
    const before = rows.names.continued(first)
    if (before === undefined) break
    first = before
  }
  const isThere = entry.until === forever
  return {
    path,
    type: typeOf(entry),
    since: placed(rows, Math.max(first.since, checkpoint)),
    until: isThere ? undefined : placed(rows, entry.until),
    bytes: rows.version(entry.node, isThere ? Number.MAX_SAFE_INTEGER : entry.until - 1)?.bytes ?? 0,
  }
}
