import type { KeyObject } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { ByteWriter } from '../../base/bytes.ts'
import { lastOf, type Stamped } from '../../model/batch.ts'
import type { Change, Mark } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { fromBuffer, toBuffer } from '../../model/path.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import type { Checkpoint, StoredBatch } from '../reader.ts'
import type { ContentWriter } from './content-writer.ts'
import type { PackingLimits } from './runs/limits.ts'
import { openToWrite } from './schema.ts'
import { Sealing } from './sealing.ts'
import { TreeWriter } from './tree-writer.ts'

/**
 * The one writer of a journal's index. Batches are applied in order, each at most once; what was applied since the
 * last `commit` is lost by a crash and applied again. After an error the index must be closed and opened anew.
 */
export class IndexWriter implements Disposable {
  readonly database: DatabaseSync
  readonly sealing: Sealing
  readonly #tree: TreeWriter
  readonly #statements: ReturnType<typeof prepareAll>
  #indexed: Sequence
  #moment: Moment
  #bytesTotal: number
  #misfits: number
  #flushes: number
  #open = false

  constructor(location: string, indexKey: KeyObject, packing?: Partial<PackingLimits>) {
    this.sealing = new Sealing(indexKey)
    this.database = openToWrite(location, this.sealing)
    this.#statements = prepareAll(this.database)
    const state = this.#statements.state.get() as Record<keyof StateRow, number>
    this.#indexed = sequence(state.indexed)
    this.#moment = moment(state.moment)
    this.#bytesTotal = state.bytes_total
    this.#misfits = state.misfits
    this.#flushes = (this.#statements.lastFlush.get() as { number: number } | undefined)?.number ?? 0
    const { node, content, files, bytes } = state
    this.#tree = new TreeWriter(this.database, this.sealing, { node, content, files, bytes }, packing)
  }

  get contents(): ContentWriter {
    return this.#tree.contents
  }

  /** The last change applied, committed or not. */
  get indexed(): Sequence {
    return this.#indexed
  }

  apply({ batch, received, place }: StoredBatch): void {
    if (lastOf(batch) <= this.#indexed) return
    this.#begin()
    const entryFrom = this.#tree.nextEntry
    const versionFrom = this.#tree.nextVersion
    this.#tree.batchFirst = batch.first
    let bytes = 0
    let at: number = batch.first
    for (const { moment: when, change } of batch.changes) {
      this.#applyChange(change, at as Sequence, when)
      bytes += bytesOf(change)
      at++
    }
    this.#bytesTotal += bytes
    this.#indexed = lastOf(batch)
    this.#moment = (batch.changes.at(-1) as Stamped).moment
    const firstMoment = (batch.changes[0] as Stamped).moment
    this.#statements.insertBatch.run(
      batch.first,
      this.#indexed,
      firstMoment,
      this.#moment,
      received,
      batch.settled ? 1 : 0,
      bytes,
      this.#bytesTotal,
      packMoments(batch.changes),
      entryFrom,
      versionFrom,
      place?.segment ?? null,
      place?.at ?? null,
      place?.bytes ?? null,
    )
  }

  /** Starts an empty index from a checkpoint. */
  async load(checkpoint: Checkpoint): Promise<void> {
    this.#begin()
    this.#tree.batchFirst = checkpoint.at
    this.contents.mayPack = false
    for await (const changes of checkpoint.changes) {
      for (const change of changes) this.#applyChange(change, checkpoint.at, checkpoint.moment)
    }
    this.contents.mayPack = true
    this.#indexed = checkpoint.at
    this.#moment = checkpoint.moment
    this.#statements.setCheckpoint.run(checkpoint.at, checkpoint.moment)
    this.#statements.setPruned.run(checkpoint.at)
    this.commit()
  }

  /**
   * From now on points are kept from `at` on only. Safe against a power cut when it returns, because what the journal
   * has before is dropped next. Called between commits.
   */
  keepFrom(at: Sequence, when: Moment): void {
    this.database.exec('PRAGMA synchronous = FULL')
    this.transaction(() => this.#statements.setCheckpoint.run(at, when))
    this.database.exec('PRAGMA synchronous = NORMAL')
  }

  /** Everything that ended before `at` was removed. Called between commits. */
  setPruned(at: Sequence): void {
    this.transaction(() => this.#statements.setPruned.run(at))
  }

  /** Other changes of rows, between commits; all of them or none. */
  transaction(change: () => void): void {
    this.database.exec('BEGIN IMMEDIATE')
    try {
      change()
      this.database.exec('COMMIT')
    } catch (error) {
      if (this.database.isTransaction) this.database.exec('ROLLBACK')
      throw error
    }
  }

  /** Makes everything applied so far visible to readers. */
  commit(): void {
    if (!this.#open) return
    this.contents.runs.flush()
    const { node, content, files, bytes } = this.#tree.counts
    this.#statements.setState.run(
      this.#indexed,
      this.#moment,
      node,
      content,
      files,
      bytes,
      this.#bytesTotal,
      this.#misfits,
    )
    this.database.exec('COMMIT')
    this.#open = false
  }

  /** Empties SQLite's log; leaves it as it is while somebody reads. Called between commits. */
  shrink(): void {
    this.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  /** What was not committed is dropped. */
  [Symbol.dispose](): void {
    this.database.close()
  }

  /** Undoes what was applied since the last `commit`; the writer is of no use afterwards, its connection stays open. */
  abandon(): void {
    if (this.database.isTransaction) this.database.exec('ROLLBACK')
  }

  #begin(): void {
    if (this.#open) return
    this.database.exec('BEGIN IMMEDIATE')
    this.#tree.begin()
    this.#open = true
  }

  #applyChange(change: Change, at: Sequence, when: Moment): void {
    if (change.kind === 'mark') this.#mark(change.mark, at, when)
    else if (!this.#tree.apply(change, at)) this.#misfits++
  }

  #mark(mark: Mark, at: Sequence, when: Moment): void {
    if (mark.type === 'flush') return void this.#statements.insertFlush.run(at, ++this.#flushes)
    const since = mark.type === 'hole' ? mark.since : null
    this.#statements.insertMark.run(at, when, mark.type, since, this.sealing.seal(toldBy(mark)))
  }
}

type ToldMark = Exclude<Mark, { type: 'flush' }>

/** The one text or path that a mark carries. */
function toldBy(mark: ToldMark): Buffer {
  switch (mark.type) {
    case 'suspect':
    case 'complete':
    case 'hole':
      return Buffer.from(mark.reason, 'utf8')
    case 'torn':
    case 'vanished':
      return toBuffer(mark.path)
    default:
      return Buffer.from(mark.label, 'utf8')
  }
}

/** The mark again that stands in a row. */
export function markOf(row: { type: string; since: number | null }, told: Buffer): ToldMark {
  const type = row.type as ToldMark['type']
  switch (type) {
    case 'suspect':
    case 'complete':
      return { type, reason: told.toString('utf8') as Extract<Mark, { type: 'suspect' }>['reason'] }
    case 'hole':
      return { type, since: moment(row.since as number), reason: told.toString('utf8') }
    case 'torn':
    case 'vanished':
      return { type, path: fromBuffer(told) as Extract<Mark, { type: 'torn' }>['path'] }
    default:
      return { type, label: told.toString('utf8') }
  }
}

/** Microseconds from each change to the next as varints; nothing where all changes have the first moment. */
function packMoments(changes: readonly Stamped[]): Buffer | null {
  const writer = new ByteWriter(changes.length * 3)
  let before = changes[0]?.moment ?? 0
  let all = 0
  for (const { moment: when } of changes) {
    writer.varint(when - before)
    all += when - before
    before = when
  }
  return all === 0 ? null : writer.finish()
}

/** Bytes of content that a change brought, whether they had to be sent or not. */
function bytesOf(change: Change): number {
  switch (change.kind) {
    case 'put':
      return change.content.type === 'file' ? sum(change.content.extents) : 0
    case 'patch':
      return sum(change.extents)
    case 'write':
      return change.data.length
    default:
      return 0
  }
}

const sum = (extents: readonly { readonly bytes: number }[]): number =>
  extents.reduce((total, { bytes }) => total + bytes, 0)

/** Columns of the one row of `state`. */
export interface StateRow {
  indexed: number
  moment: number
  checkpoint: number
  checkpoint_moment: number
  pruned: number
  node: number
  content: number
  files: number
  bytes: number
  bytes_total: number
  misfits: number
}

function prepareAll(database: DatabaseSync) {
  return {
    state: database.prepare(`
      SELECT indexed, moment, checkpoint, checkpoint_moment, pruned, node, content, files, bytes, bytes_total, misfits FROM state`),
    setState: database.prepare(`
      UPDATE state SET indexed = ?, moment = ?, node = ?, content = ?, files = ?, bytes = ?, bytes_total = ?, misfits = ?`),
    setCheckpoint: database.prepare('UPDATE state SET checkpoint = ?, checkpoint_moment = ?'),
    setPruned: database.prepare('UPDATE state SET pruned = ?'),
    insertBatch: database.prepare('INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    insertFlush: database.prepare('INSERT INTO flush VALUES (?, ?)'),
    lastFlush: database.prepare('SELECT number FROM flush ORDER BY sequence DESC LIMIT 1'),
    insertMark: database.prepare('INSERT INTO mark(sequence, moment, type, since, detail) VALUES (?, ?, ?, ?, ?)'),
  } satisfies Record<string, StatementSync>
}
