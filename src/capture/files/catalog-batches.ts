import type { DatabaseSync } from 'node:sqlite'
import { assert } from '../../base/assert.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import { bytesOf } from './catalog-schema.ts'

interface BatchEnd {
  readonly last: Sequence
  readonly node: number
  readonly name: number
  readonly page: number
}

/**
 * After which batch the catalog stands, and what is noted of that. What the catalog was before the batches that are not
 * durable yet is kept, so that it can go back to any of their ends.
 */
export class CatalogBatches {
  readonly #database: DatabaseSync
  readonly #statements
  /** Ends of committed batches, with the last undo rows they wrote. */
  readonly #ends: BatchEnd[] = []
  #sequence: Sequence
  #open = false
  #durable = 0

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = prepare(database)
    this.#sequence = this.#statements.state.get()?.['sequence'] as Sequence
  }

  /** The last of the last batch. */
  get sequence(): Sequence {
    return this.#sequence
  }

  /** Starts the changes of the batch whose first change gets this sequence. */
  begin(first: Sequence): void {
    assert(!this.#open, 'one batch of changes at a time')
    this.#database.exec('BEGIN IMMEDIATE')
    this.#statements.setFirst.run(first)
    this.#open = true
  }

  commit(last: Sequence, cursor: Uint8Array): void {
    assert(this.#open, 'a batch of changes is open')
    this.#statements.addBatch.run(last)
    this.#statements.setSequence.run(last, cursor)
    const ends = this.#statements.undoEnds.get() as unknown as Omit<BatchEnd, 'last'>
    this.#database.exec('COMMIT')
    this.#open = false
    this.#sequence = last
    this.#ends.push({ last, node: ends.node, name: ends.name, page: ends.page })
  }

  /** What was changed since `begin` was never so. */
  rollBack(): void {
    if (this.#open) this.#database.exec('ROLLBACK')
    this.#open = false
  }

  /** Nobody will ask to go back to before this sequence. */
  durable(sequence: Sequence): void {
    this.#durable = Math.max(this.#durable, sequence)
    if (this.#open) return
    let forget: BatchEnd | undefined
    while (this.#ends[0] !== undefined && this.#ends[0].last <= this.#durable) forget = this.#ends.shift()
    if (forget === undefined) return
    this.#database.exec('BEGIN IMMEDIATE')
    this.#statements.forgetNodes.run(forget.node)
    this.#statements.forgetNames.run(forget.name)
    this.#statements.forgetPages.run(forget.page)
    this.#statements.forgetBatches.run(forget.last)
    this.#database.exec('COMMIT')
  }

  // --- what is noted of the batches so far, and goes back with them

  /** Every change made before this moment that anybody could tell of is in the catalog; later ones may not be. */
  get drained(): Moment {
    return moment(Number(this.#statements.state.get()?.['drained'] ?? 0))
  }

  /** Not while a batch is open: what is noted is of the batches before it. */
  noteDrained(drained: Moment): void {
    assert(!this.#open, 'what is noted is of whole batches')
    this.#statements.setDrained.run(drained)
  }

  /** Since when changes were missed of which the journal has no mark yet. */
  get gap(): Moment | undefined {
    const since = this.#statements.state.get()?.['gap'] ?? null
    return since === null ? undefined : moment(Number(since))
  }

  /** Like `noteDrained`. */
  noteGap(since: Moment | undefined): void {
    assert(!this.#open, 'what is noted is of whole batches')
    this.#statements.setGap.run(since ?? null)
  }

  // --- going back

  /** To where the batch with this cursor ended at `at`, for good; false where none did, or where it is too far back. */
  goBack(at: Sequence, cursor: Buffer): boolean {
    if (this.#sequence < at) return false
    const isThere =
      this.#sequence === at
        ? cursor.equals(bytesOf(this.#statements.state.get()?.['cursor']))
        : this.#undoAfter(at, cursor)
    if (!isThere) return false
    this.#database.exec(
      'BEGIN IMMEDIATE; DELETE FROM undo_node; DELETE FROM undo_name; DELETE FROM undo_page; DELETE FROM batch; COMMIT',
    )
    this.#database.prepare('UPDATE state SET sequence = ?, first = ?, cursor = ?').run(at, at, cursor)
    this.#sequence = at
    return true
  }

  #undoAfter(at: Sequence, cursor: Buffer): boolean {
    const after = this.#database.prepare('SELECT before, nodes, drained, gap FROM batch WHERE first = ?').get(at + 1)
    if (after === undefined || !cursor.equals(bytesOf(after['before']))) return false
    const nodes = Number(after['nodes'])
    this.#database.exec('BEGIN IMMEDIATE')
    this.#database.exec(`
      DELETE FROM name WHERE node > ${nodes}; DELETE FROM page WHERE node > ${nodes}; DELETE FROM node WHERE id > ${nodes};`)
    this.#database.exec(
      goBack('node', ['id'], ['inode', 'stat', 'xattrs', 'content'], 'stat', { at, nodes, node: 'id' }),
    )
    this.#database.exec(goBack('name', ['parent', 'name'], ['node'], 'node', { at, nodes, node: 'coalesce(node, 0)' }))
    this.#database.exec(goBack('page', ['node', 'page'], ['entries'], 'entries', { at, nodes, node: 'node' }))
    // What was noted since is of what is undone.
    const { drained, gap } = after
    this.#database.prepare('UPDATE state SET drained = ?, gap = ?').run(drained ?? 0, gap ?? null)
    this.#database.exec('COMMIT')
    return true
  }
}

/**
 * Puts back the oldest image of every row that a batch after `at` changed, of nodes there were before; what the triggers
 * add meanwhile is dropped later.
 */
function goBack(
  table: string,
  keys: readonly string[],
  values: readonly string[],
  present: string,
  to: { at: Sequence; nodes: number; node: string },
): string {
  const columns = [...keys, ...values].join(', ')
  return `
    CREATE TEMP TABLE back AS SELECT ${columns}, min(n) AS n FROM undo_${table}
      WHERE at > ${to.at} AND ${to.node} <= ${to.nodes} GROUP BY ${keys.join(', ')};
    DELETE FROM ${table} WHERE (${keys.join(', ')}) IN (SELECT ${keys.join(', ')} FROM back);
    INSERT INTO ${table} (${columns}) SELECT ${columns} FROM back WHERE ${present} IS NOT NULL;
    DROP TABLE back;`
}

function prepare(database: DatabaseSync) {
  return {
    state: database.prepare('SELECT sequence, cursor, drained, gap FROM state'),
    setDrained: database.prepare('UPDATE state SET drained = ?'),
    setGap: database.prepare('UPDATE state SET gap = ?'),
    setFirst: database.prepare('UPDATE state SET first = ?, nodes = (SELECT coalesce(max(id), 0) FROM node)'),
    setSequence: database.prepare('UPDATE state SET sequence = ?, cursor = ?'),
    addBatch: database.prepare(
      'INSERT OR REPLACE INTO batch (first, last, before, nodes, drained, gap) SELECT first, ?, cursor, nodes, drained, gap FROM state',
    ),
    undoEnds: database.prepare(
      `SELECT (SELECT max(n) FROM undo_node) AS node, (SELECT max(n) FROM undo_name) AS name, (SELECT max(n) FROM undo_page) AS page`,
    ),
    forgetNodes: database.prepare('DELETE FROM undo_node WHERE n <= ?'),
    forgetNames: database.prepare('DELETE FROM undo_name WHERE n <= ?'),
    forgetPages: database.prepare('DELETE FROM undo_page WHERE n <= ?'),
    forgetBatches: database.prepare('DELETE FROM batch WHERE last <= ?'),
  }
}
