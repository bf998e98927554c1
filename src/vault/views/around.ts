import type { Moment } from '../../model/moment.ts'
import { isWithin, joinPath, stagingName, type TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { type EntryRow, type IndexReader, typeOf, type VersionRow } from '../index/index-reader.ts'
import type { NodeType } from '../index/packing.ts'
import { placed } from './history.ts'
import { pathOf } from './paths.ts'

/** What lies before and after a point, the nearest first. */
export interface Around {
  readonly filesBefore: readonly FileRow[]
  readonly filesAfter: readonly FileRow[]
  readonly flushBefore: Place | undefined
  readonly flushAfter: Place | undefined
  readonly marksBefore: readonly (Place & { readonly label: string })[]
  readonly marksAfter: readonly (Place & { readonly label: string })[]
}

export interface AroundRequest {
  /** At most so many rows of each list. */
  readonly limit: number
  /** Whether files are looked for; else those lists are empty. */
  readonly files: boolean
}

export interface Place {
  readonly sequence: Sequence
  readonly moment: Moment
}

export interface FileRow extends Place {
  /** `version`: it came, came under another name, or changed; `removed`: it went, or went under another name. */
  readonly event: 'version' | 'removed'
  readonly path: TreePath
  readonly type: NodeType
  /** Size of the version. */
  readonly bytes?: number
}

/** Rows that are looked at for each one that is told: changes of directories themselves are passed over. */
const rowsForEach = 8
const rowsBesides = 64

export function aroundPoint(rows: IndexReader, at: Sequence, { limit, files }: AroundRequest): Around {
  const flush = (sequence: Sequence | undefined): Place | undefined =>
    sequence === undefined ? undefined : placed(rows, sequence)
  const marks = (side: Side): Around['marksBefore'] =>
    rows
      .userMarks(at, side, limit)
      .flatMap(({ mark, sequence, moment }) => (mark.type === 'user' ? [{ label: mark.label, sequence, moment }] : []))
  return {
    filesBefore: files ? filesAround(rows, at, 'before', limit) : [],
    filesAfter: files ? filesAround(rows, at, 'after', limit) : [],
    flushBefore: flush(rows.lastFlush(at)),
    flushAfter: flush(rows.firstFlush(at + 1)),
    marksBefore: marks('before'),
    marksAfter: marks('after'),
  }
}

type Side = 'before' | 'after'
type Told = Pick<FileRow, 'event' | 'path' | 'type' | 'bytes'> & { readonly at: number }

function filesAround(rows: IndexReader, at: number, side: Side, limit: number): FileRow[] {
  const { checkpoint } = rows.kept()
  const countMax = limit * rowsForEach + rowsBesides
  const ended = rows.near.entriesEnded(at, side, countMax)
  const begun = [
    ...rows.near.entriesBegun(at, side, countMax).map((row) => ({ at: row.since, tell: () => cameUnder(rows, row) })),
    ...rows.near.versions(at, side, countMax).map((row) => ({ at: row.since, tell: () => becameVersion(rows, row) })),
  ]
  const changes = [...begun, ...ended.map((row) => ({ at: row.until, tell: () => went(rows, row) }))]
    // What was there when history was dropped tells no change.
    .filter((one) => one.at > checkpoint)
    .sort((a, b) => (side === 'before' ? b.at - a.at : a.at - b.at))
  const told = new Map<string, Told>()
  for (const change of changes) {
    if (told.size >= limit) break
    const one = change.tell()
    // Whoever takes a name at once is told, not whoever loses it.
    const key = `${change.at} ${one?.path}`
    if (one !== undefined && !told.has(key)) told.set(key, one)
  }
  return [...told.values()].map(({ at: sequence, ...row }) => ({ ...row, ...placed(rows, sequence) }))
}

function cameUnder(rows: IndexReader, row: EntryRow): Told | undefined {
  const path = pathUnder(rows, row, row.since)
  const bytes = rows.version(row.node, row.since)?.bytes
  return path && { at: row.since, event: 'version', path, type: typeOf(row), ...(bytes === undefined ? {} : { bytes }) }
}

function becameVersion(rows: IndexReader, { node, since, bytes }: VersionRow): Told | undefined {
  const [name] = rows.namesOf(node, since)
  // A directory changes with everything in it.
  if (name === undefined || (typeOf(name) === 'directory' && name.since !== since)) return undefined
  const path = pathUnder(rows, name, since)
  return path && { at: since, event: 'version', path, type: typeOf(name), bytes }
}

function went(rows: IndexReader, row: EntryRow): Told | undefined {
  const path = pathUnder(rows, row, row.until - 1)
  return path && { at: row.until, event: 'removed', path, type: typeOf(row) }
}

function pathUnder(rows: IndexReader, { parent, name }: EntryRow, at: number): TreePath | undefined {
  const folder = pathOf(rows, parent, at)
  const path = folder === undefined ? undefined : joinPath(folder, rows.sealing.openName(name))
  return path === undefined || isWithin(path, stagingName as TreePath) ? undefined : path
}
