import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Mark } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { BinaryString } from '../../model/path.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { ByteReader } from '../../base/bytes.ts'
import type { BatchPlace } from '../reader.ts'
import { atOnce } from './at-once.ts'
import { ActivityReader } from './activity-reader.ts'
import type { ContentName } from './content-writer.ts'
import { ExtentReader } from './extent-reader.ts'
import { markOf, type StateRow } from './index-writer.ts'
import { NameReader } from './name-reader.ts'
import { NearReader } from './near-reader.ts'
import { type NodeType, nodeTypes } from './packing.ts'
import { entryColumns, forever, versionColumns } from './schema.ts'
import { type Sealing, shortTag } from './sealing.ts'

/** A name in a directory, from `since` on and before `until`. */
export interface EntryRow {
  readonly id: number
  readonly parent: number
  readonly tag: number
  readonly name: Uint8Array
  readonly since: number
  readonly until: number
  readonly node: number
  readonly type: number
}

export interface VersionRow {
  readonly id: number
  readonly node: number
  readonly since: number
  readonly linked: number
  readonly bytes: number
  readonly attributes: Uint8Array
  readonly content: ContentName
  readonly detail: Uint8Array | null
}

/** How far the chunks of an index were listed. */
export type ChunkCursor =
  | { readonly version: number }
  | { readonly content: number; readonly at: number; readonly since: number }
  | { readonly packed: number; readonly since: number; readonly at: number }

export interface ChunkPage {
  readonly ids: readonly Uint8Array[]
  /** Undefined after the last page. */
  readonly next: ChunkCursor | undefined
}

export interface BatchRow {
  readonly first: number
  readonly last: number
  readonly first_moment: number
  readonly last_moment: number
  readonly received: number
  readonly settled: number
  readonly bytes: number
  /** Of all batches up to this one. */
  readonly bytes_total: number
  readonly moments: Uint8Array | null
  readonly entry_from: number
  readonly version_from: number
}

export interface MarkRow {
  readonly sequence: Sequence
  readonly moment: Moment
  readonly mark: Mark
}

/** The questions that an index answers. Each is one statement: it sees one consistent state of the database. */
export class IndexReader {
  readonly sealing: Sealing
  readonly extents: ExtentReader
  readonly activity: ActivityReader
  readonly near: NearReader
  readonly names: NameReader
  readonly #statements: ReturnType<typeof prepareAll>
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync, sealing: Sealing) {
    this.sealing = sealing
    this.#database = database
    this.extents = new ExtentReader(database)
    this.activity = new ActivityReader(database)
    this.near = new NearReader(database)
    this.names = new NameReader(database, sealing)
    this.#statements = prepareAll(database)
  }

  /** All questions that `ask` asks see the same state, and cost less. */
  atOnce<T>(ask: () => T): T {
    return atOnce(this.#database, ask)
  }

  /** As of the last commit of the writer. */
  state(): StateRow {
    return this.#statements.state.get() as unknown as StateRow
  }

  /** From where to where there are points, as of the last commit. */
  kept(): { indexed: number; checkpoint: number; checkpoint_moment: number } {
    return this.#statements.kept.get() as unknown as ReturnType<IndexReader['kept']>
  }

  child(parent: number, name: BinaryString, at: number): EntryRow | undefined {
    const sealed = this.sealing.sealName(name)
    return this.#statements.child.get(parent, shortTag(sealed), at, at, sealed) as unknown as EntryRow | undefined
  }

  /** All spans in which the directory had this name, oldest first. */
  childThroughTime(parent: number, name: BinaryString): EntryRow[] {
    const sealed = this.sealing.sealName(name)
    return this.#statements.childThroughTime.all(parent, shortTag(sealed), sealed) as unknown as EntryRow[]
  }

  /** Children in order of their tags, at least one more than `after`; all with tags up to the last one's. */
  children(parent: number, at: number, after: number, countMax: number): EntryRow[] {
    let count = countMax
    for (;;) {
      const rows = this.#statements.children.all(parent, after, at, at, count) as unknown as EntryRow[]
      if (rows.length < count) return rows
      // The last tag may be shared by rows that were cut off.
      const last = (rows.at(-1) as EntryRow).tag
      const whole = rows.filter(({ tag }) => tag !== last)
      if (whole.length > 0) return whole
      count *= 2
    }
  }

  namesOf(node: number, at: number): EntryRow[] {
    return this.#statements.names.all(node, at, at) as unknown as EntryRow[]
  }

  version(node: number, at: number): VersionRow | undefined {
    return this.#statements.version.get(node, at) as unknown as VersionRow | undefined
  }

  /** The version at `since` and all later ones before `until`, oldest first, a page at a time. */
  versions(node: number, since: number, until: number, countMax: number): VersionRow[] {
    return this.#statements.versions.all(node, since, until, countMax) as unknown as VersionRow[]
  }

  /** Where the batch that holds `at` rests. */
  placeOfBatch(at: number): BatchPlace | undefined {
    const row = this.#statements.batchPlace.get(at) as unknown as { [K in keyof BatchPlace]: number | null } | undefined
    return row === undefined || row.segment === null ? undefined : (row as BatchPlace)
  }

  /** The batch that holds `at`, or the last one before it. */
  batchAt(at: number): BatchRow | undefined {
    return this.#statements.batchAt.get(at) as unknown as BatchRow | undefined
  }

  batchAfter(at: number): BatchRow | undefined {
    return this.#statements.batchAfter.get(at) as unknown as BatchRow | undefined
  }

  /** The last batch that began at or before `when`. */
  batchAtMoment(when: number): BatchRow | undefined {
    return this.#statements.batchAtMoment.get(when) as unknown as BatchRow | undefined
  }

  marks(from: number, to: number, countMax: number, newestFirst = false): MarkRow[] {
    const statement = newestFirst ? this.#statements.marksNewest : this.#statements.marks
    return (statement.all(from, to, countMax) as unknown as SealedMarkRow[]).map((row) => this.#opened(row))
  }

  /** Marks of suspect spans and holes that no `complete` up to `at` has closed, oldest first. */
  openMarks(at: number): MarkRow[] {
    return (this.#statements.openMarks.all(at, at) as unknown as SealedMarkRow[]).map((row) => this.#opened(row))
  }

  /** Users' marks up to `at`, or after it, the nearest first. */
  userMarks(at: number, side: 'before' | 'after', countMax: number): MarkRow[] {
    const statement = side === 'before' ? this.#statements.userMarksUpTo : this.#statements.userMarksAfter
    return (statement.all(at, countMax) as unknown as SealedMarkRow[]).map((row) => this.#opened(row))
  }

  /** The newest user's mark of this label. */
  userMark(label: string): Sequence | undefined {
    const row = this.#statements.userMark.get(this.sealing.seal(Buffer.from(label, 'utf8')))
    return row === undefined ? undefined : sequence(row['sequence'] as number)
  }

  /** The last flush up to `upTo`. */
  lastFlush(upTo: number): Sequence | undefined {
    const row = this.#statements.flushUpTo.get(upTo)
    return row === undefined ? undefined : sequence(row['sequence'] as number)
  }

  /** The first flush from `from` on. */
  firstFlush(from: number): Sequence | undefined {
    const row = this.#statements.flushFrom.get(from)
    return row === undefined ? undefined : sequence(row['sequence'] as number)
  }

  /** How many flushes there are from the one change to the other. */
  countFlushes(from: number, to: number): number {
    const first = this.#statements.flushFrom.get(from) as { sequence: number; number: number } | undefined
    const last = this.#statements.flushUpTo.get(to) as { sequence: number; number: number } | undefined
    return first === undefined || last === undefined || first.sequence > last.sequence
      ? 0
      : last.number - first.number + 1
  }

  /** The oldest mark of a type after `after`. */
  firstMark(type: Mark['type'], after: number): MarkRow | undefined {
    const row = this.#statements.firstMark.get(type, after)
    return row === undefined ? undefined : this.#opened(row as unknown as SealedMarkRow)
  }

  /** The newest mark of a type up to `upTo`. */
  lastMark(type: Mark['type'], upTo: number): MarkRow | undefined {
    const row = this.#statements.lastMark.get(type, upTo)
    return row === undefined ? undefined : this.#opened(row as unknown as SealedMarkRow)
  }

  /** Versions whose bytes stand in changes up to `at`, oldest change last. */
  inlineVersions(
    after: { content: number; id: number },
    at: number,
    countMax: number,
  ): (Omit<VersionRow, 'content'> & { content: number })[] {
    return this.#statements.inlineVersions.all(-at, after.content, after.id, countMax) as unknown as ReturnType<
      IndexReader['inlineVersions']
    >
  }

  /** Whether a node has a name at any point after `at`, or at it. */
  hasNameAfter(node: number, at: number): boolean {
    return this.#statements.nameAfter.get(node, at) !== undefined
  }

  /** At least as many as there are places that name a chunk. */
  chunkCountMax(): number {
    return (this.#statements.chunkCountMax.get() as { count: number }).count
  }

  /** Chunks that the index names, with repetitions: first those of versions, then those of extents, then those of runs. */
  chunks(after: ChunkCursor, countMax: number): ChunkPage {
    if ('version' in after) {
      const rows = this.#statements.versionChunks.all(after.version, countMax) as unknown as {
        id: number
        content: ContentName
      }[]
      const last = rows.at(-1)
      const next = last === undefined ? { content: 0, at: -1, since: -1 } : { version: last.id }
      return { ids: rows.map(({ content }) => content).filter((name) => name instanceof Uint8Array), next }
    }
    if ('packed' in after) {
      const found = this.#statements.runChunks.all(after.packed, after.since, after.at, countMax)
      const rows = found as unknown as { packed: number; since: number; at: number; chunk: Uint8Array }[]
      return { ids: rows.map(({ chunk }) => chunk), next: rows.at(-1) }
    }
    const rows = this.#statements.extentChunks.all(after.content, after.at, after.since, countMax) as unknown as {
      content: number
      at: number
      since: number
      location: Uint8Array | number
    }[]
    const ids = rows.map(({ location }) => location).filter((name) => name instanceof Uint8Array)
    return { ids, next: rows.at(-1) ?? { packed: 0, since: -1, at: -1 } }
  }

  /** Rows of entry that began after the row `after` and before the row `before`. */
  entriesById(after: number, before: number, countMax: number): EntryRow[] {
    return this.#statements.entriesById.all(after, before, countMax) as unknown as EntryRow[]
  }

  versionsById(after: number, before: number, countMax: number): VersionRow[] {
    return this.#statements.versionsById.all(after, before, countMax) as unknown as VersionRow[]
  }

  /** Rows that held at `from` and ended by `to`, in order of their end, then of their number. */
  entriesEnded(from: number, to: number, after: { until: number; id: number }, countMax: number): EntryRow[] {
    return this.#statements.entriesEnded.all(after.until, after.id, to, from, countMax) as unknown as EntryRow[]
  }

  #opened(row: SealedMarkRow): MarkRow {
    return {
      sequence: sequence(row.sequence),
      moment: moment(row.moment),
      mark: markOf(row, row.detail === null ? Buffer.alloc(0) : this.sealing.open(row.detail)),
    }
  }
}

interface SealedMarkRow {
  readonly sequence: number
  readonly moment: number
  readonly type: string
  readonly since: number | null
  readonly detail: Uint8Array | null
}

export const typeOf = (row: { readonly type: number }): NodeType => nodeTypes[row.type] as NodeType

/** The moment of a change within its batch. */
export function momentIn(batch: BatchRow, at: number): Moment {
  if (batch.moments === null) return moment(batch.first_moment)
  const reader = new ByteReader(batch.moments)
  let when = batch.first_moment
  for (let next = batch.first; next <= at; next++) when += reader.varint()
  return moment(when)
}

/** The last change of the batch at or before the moment; the batch must have begun by then. */
export function sequenceIn(batch: BatchRow, when: number): Sequence {
  if (batch.last_moment <= when || batch.moments === null) return sequence(batch.last)
  const reader = new ByteReader(batch.moments)
  let found = batch.first
  let at = batch.first_moment + reader.varint()
  for (let next = batch.first + 1; next <= batch.last; next++) {
    at += reader.varint()
    if (at > when) break
    found = next
  }
  return sequence(found)
}

function prepareAll(database: DatabaseSync) {
  const entry = `SELECT ${entryColumns} FROM entry`
  const version = `SELECT ${versionColumns} FROM version`
  const batch = `
    SELECT first, last, first_moment, last_moment, received, settled, bytes, bytes_total, moments, entry_from, version_from
    FROM batch`
  const mark = 'SELECT sequence, moment, type, since, detail FROM mark'
  return {
    state: database.prepare(`
      SELECT indexed, moment, checkpoint, checkpoint_moment, pruned, node, content, files, bytes, bytes_total, misfits FROM state`),
    kept: database.prepare('SELECT indexed, checkpoint, checkpoint_moment FROM state'),
    child: database.prepare(`${entry} WHERE parent = ? AND tag = ? AND until > ? AND since <= ? AND name = ?`),
    childThroughTime: database.prepare(`${entry} WHERE parent = ? AND tag = ? AND name = ? ORDER BY until`),
    children: database.prepare(
      `${entry} WHERE parent = ? AND tag > ? AND until > ? AND since <= ? ORDER BY tag LIMIT ?`,
    ),
    names: database.prepare(`${entry} WHERE node = ? AND since <= ? AND until > ? ORDER BY id`),
    version: database.prepare(`${version} WHERE node = ? AND since <= ? ORDER BY since DESC LIMIT 1`),
    versions: database.prepare(`${version} WHERE node = ? AND since >= ? AND since < ? ORDER BY since LIMIT ?`),
    inlineVersions: database.prepare(`
      ${version} INDEXED BY version_inline
      WHERE content < 0 AND content >= ? AND (content, id) > (?, ?) ORDER BY content, id LIMIT ?`),
    nameAfter: database.prepare('SELECT 1 AS found FROM entry WHERE node = ? AND until > ? LIMIT 1'),
    chunkCountMax: database.prepare(`
      SELECT (SELECT count(*) FROM extent) + (SELECT count(*) FROM version) + (SELECT count(*) FROM run_chunk) AS count`),
    versionChunks: database.prepare('SELECT id, content FROM version WHERE id > ? ORDER BY id LIMIT ?'),
    extentChunks: database.prepare(`
      SELECT content, at, since, location FROM extent WHERE (content, at, since) > (?, ?, ?)
      ORDER BY content, at, since LIMIT ?`),
    runChunks: database.prepare(`
      SELECT content AS packed, since, at, chunk FROM run_chunk WHERE (content, since, at) > (?, ?, ?)
      ORDER BY content, since, at LIMIT ?`),
    batchAt: database.prepare(`${batch} WHERE first <= ? ORDER BY first DESC LIMIT 1`),
    batchPlace: database.prepare(
      'SELECT segment, frame_at AS at, frame_bytes AS bytes FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1',
    ),
    batchAtMoment: database.prepare(`${batch} WHERE first_moment <= ? ORDER BY first_moment DESC, first DESC LIMIT 1`),
    batchAfter: database.prepare(`${batch} WHERE first > ? ORDER BY first LIMIT 1`),
    marks: database.prepare(`${mark} WHERE sequence >= ? AND sequence <= ? ORDER BY sequence, id LIMIT ?`),
    marksNewest: database.prepare(
      `${mark} WHERE sequence >= ? AND sequence <= ? ORDER BY sequence DESC, id DESC LIMIT ?`,
    ),
    openMarks: database.prepare(`
      ${mark} WHERE type IN ('suspect', 'hole') AND sequence <= ?
        AND sequence > coalesce((SELECT max(sequence) FROM mark WHERE type = 'complete' AND sequence <= ?), -1)
      ORDER BY sequence, id`),
    userMark: database.prepare(
      `SELECT sequence FROM mark WHERE type = 'user' AND detail = ? ORDER BY sequence DESC LIMIT 1`,
    ),
    userMarksUpTo: database.prepare(
      `${mark} WHERE type = 'user' AND sequence <= ? ORDER BY sequence DESC, id DESC LIMIT ?`,
    ),
    userMarksAfter: database.prepare(`${mark} WHERE type = 'user' AND sequence > ? ORDER BY sequence, id LIMIT ?`),
    firstMark: database.prepare(`${mark} WHERE type = ? AND sequence > ? ORDER BY sequence, id LIMIT 1`),
    lastMark: database.prepare(`${mark} WHERE type = ? AND sequence <= ? ORDER BY sequence DESC, id DESC LIMIT 1`),
    flushFrom: database.prepare('SELECT sequence, number FROM flush WHERE sequence >= ? ORDER BY sequence LIMIT 1'),
    flushUpTo: database.prepare(
      'SELECT sequence, number FROM flush WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1',
    ),
    entriesById: database.prepare(`${entry} WHERE id > ? AND id < ? ORDER BY id LIMIT ?`),
    versionsById: database.prepare(`${version} WHERE id > ? AND id < ? ORDER BY id LIMIT ?`),
    entriesEnded: database.prepare(`
      ${entry} INDEXED BY entry_ended
      WHERE until < ${forever} AND (until, id) > (?, ?) AND until <= ? AND since <= ? ORDER BY until, id LIMIT ?`),
  } satisfies Record<string, StatementSync>
}
