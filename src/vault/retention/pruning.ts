import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Indexer } from '../index/indexer.ts'
import type { IndexWriter } from '../index/index-writer.ts'
import { forever } from '../index/schema.ts'
import { joinParts } from './joining.ts'

/** Rows looked at in one transaction, so that indexing goes on in between. */
const rowsAtOnce = 2_000

/**
 * Removes the rows that hold at no point from `at` on. May be stopped anywhere and begun again; each transaction removes
 * so many rows at most, whatever they belong to. The order matters: nodes are found by the rows that ended, and the range of
 * versions by the batches, so these go last; and what a row refers to goes before the row.
 */
export async function pruneBefore(indexer: Indexer, at: Sequence, when: Moment): Promise<void> {
  const { pruned } = indexer.rows.state()
  const first = indexer.rows.batchAfter(pruned)
  if (first !== undefined) {
    await prunePages(indexer, (pruner, after) => pruner.versions(after, at), first.version_from - 1)
  }
  await prunePages(indexer, (pruner) => pruner.extents(at))
  await prunePages(indexer, (pruner) => pruner.runs(at))
  await joinParts(indexer, at)
  await prunePages(indexer, (pruner) => pruner.entries(at))
  await indexer.exclusively((index) => new Pruner(index).marks(at, when))
  await prunePages(indexer, (pruner) => pruner.flushes(at))
  await prunePages(indexer, (pruner) => pruner.batches(at))
  await indexer.exclusively((index) => index.setPruned(at))
}

/** Calls `page` until it returns undefined, each time in a transaction of its own. */
async function prunePages(
  indexer: Indexer,
  page: (pruner: Pruner, after: number) => number | undefined,
  first = 0,
): Promise<void> {
  let after: number | undefined = first
  while (after !== undefined) {
    const from: number = after
    after = await indexer.exclusively((index) => {
      let next: number | undefined
      index.transaction(() => {
        next = page(new Pruner(index), from)
      })
      return next
    })
  }
}

interface DeadVersion {
  readonly id: number
  readonly since: number
  readonly content: unknown
}

/** Of one transaction: it is done with once it has removed `rowsAtOnce` rows. */
class Pruner {
  readonly #index: IndexWriter
  readonly #statements: ReturnType<typeof prepareAll>
  #left = rowsAtOnce

  constructor(index: IndexWriter) {
    this.#index = index
    this.#statements = prepareAll(index.database)
  }

  /**
   * Of nodes that got a version after the last time and up to `at`, all but what holds from there on. Goes on after the
   * version `after`; where a node has more than fits, with the same ones again.
   */
  versions(after: number, at: Sequence): number | undefined {
    const rows = this.#statements.versionsUpTo.all(after, at, rowsAtOnce) as unknown as { id: number; node: number }[]
    for (const node of new Set(rows.map((row) => row.node))) {
      const dead = this.#statements.deadVersions.all(node, node, at, this.#left) as unknown as DeadVersion[]
      if (!this.#dropVersions(node, dead)) return after
    }
    return rows.at(-1)?.id
  }

  /** Parts of files that were written over. */
  extents(at: Sequence): number | undefined {
    return dropped(this.#statements.dropEnded.run(at, rowsAtOnce))
  }

  /** What came to packed contents and was folded. */
  runs(at: Sequence): number | undefined {
    return this.#index.contents.runs.dropBefore(at, rowsAtOnce) < rowsAtOnce ? undefined : 0
  }

  /** Names that ended up to `at`, and the nodes that have no other. */
  entries(at: Sequence): number | undefined {
    const rows = this.#statements.entriesEnded.all(at, rowsAtOnce) as unknown as { id: number; node: number }[]
    for (const { id, node } of rows) {
      const isLast = this.#statements.otherName.get(node, id) === undefined
      if (isLast && !this.#dropVersions(node, this.#versionsOf(node))) return 0
      this.#statements.dropEntry.run(id)
      if (--this.#left <= 0) return 0
    }
    return rows.length < rowsAtOnce ? undefined : 0
  }

  flushes(at: Sequence): number | undefined {
    return dropped(this.#statements.dropFlushes.run(at, rowsAtOnce))
  }

  batches(at: Sequence): number | undefined {
    return dropped(this.#statements.dropBatches.run(at, rowsAtOnce))
  }

  /** Only marks whose span goes on at `at` are left, as if they had been made there; so a checkpoint tells them too. */
  marks(at: Sequence, when: Moment): void {
    this.#index.transaction(() => {
      this.#statements.dropMarks.run(at, at)
      this.#statements.moveMarks.run(at, when, at)
    })
  }

  #versionsOf(node: number): DeadVersion[] {
    return this.#statements.oldestVersions.all(node, this.#left) as unknown as DeadVersion[]
  }

  /** Versions that are the oldest of their node, oldest first. False where some, or more than these, are left. */
  #dropVersions(node: number, versions: readonly DeadVersion[]): boolean {
    if (this.#left <= 0) return false
    const { length } = versions
    const isAll = length < this.#left
    for (const { id, since, content } of versions) {
      // Those that name one content stand together: the last of them takes its extents along.
      if (typeof content === 'number' && content > 0) {
        const next = this.#statements.nextVersion.get(node, since) as { content: unknown } | undefined
        if (next?.content !== content && !this.#dropContent(content)) return false
      }
      this.#statements.dropVersion.run(id)
      this.#left--
    }
    return isAll && this.#left > 0
  }

  #dropContent(content: number): boolean {
    this.#left -= Number(this.#statements.dropContent.run(content, Math.max(this.#left, 0)).changes)
    if (this.#left > 0) this.#left -= this.#index.contents.runs.drop(content, this.#left)
    return this.#left > 0
  }
}

/** There may be more where some were found. */
const dropped = ({ changes }: { readonly changes: number | bigint }): number | undefined =>
  Number(changes) > 0 ? 0 : undefined

function prepareAll(database: DatabaseSync) {
  return {
    versionsUpTo: database.prepare(`
      SELECT id, node FROM version
      WHERE id > ? AND id < coalesce((SELECT version_from FROM batch WHERE first > ? ORDER BY first LIMIT 1), 1 << 53)
      ORDER BY id LIMIT ?`),
    entriesEnded: database.prepare(`
      SELECT id, node FROM entry INDEXED BY entry_ended WHERE until < ${forever} AND until <= ? LIMIT ?`),
    dropEntry: database.prepare('DELETE FROM entry WHERE id = ?'),
    otherName: database.prepare('SELECT 1 AS found FROM entry WHERE node = ? AND id <> ? LIMIT 1'),
    // A version is dead once the next one of its node holds at the sequence.
    deadVersions: database.prepare(`
      SELECT id, since, content FROM version
      WHERE node = ? AND since < (SELECT max(since) FROM version WHERE node = ? AND since <= ?) ORDER BY since LIMIT ?`),
    oldestVersions: database.prepare('SELECT id, since, content FROM version WHERE node = ? ORDER BY since LIMIT ?'),
    nextVersion: database.prepare('SELECT content FROM version WHERE node = ? AND since > ? ORDER BY since LIMIT 1'),
    dropVersion: database.prepare('DELETE FROM version WHERE id = ?'),
    dropContent: database.prepare(`
      DELETE FROM extent WHERE (content, at, since) IN
        (SELECT content, at, since FROM extent WHERE content = ? ORDER BY at, since LIMIT ?)`),
    dropEnded: database.prepare(`
      DELETE FROM extent WHERE (content, at, since) IN
        (SELECT content, at, since FROM extent INDEXED BY extent_ended
         WHERE until < ${forever} AND until <= ? ORDER BY until LIMIT ?)`),
    dropMarks: database.prepare(`
      DELETE FROM mark WHERE sequence <= ? AND NOT (
        type IN ('suspect', 'hole')
        AND sequence > coalesce((SELECT max(sequence) FROM mark WHERE type = 'complete' AND sequence <= ?), -1))`),
    moveMarks: database.prepare('UPDATE mark SET sequence = ?, moment = ? WHERE sequence <= ?'),
    dropFlushes: database.prepare(
      'DELETE FROM flush WHERE sequence IN (SELECT sequence FROM flush WHERE sequence <= ? ORDER BY sequence LIMIT ?)',
    ),
    dropBatches: database.prepare(
      'DELETE FROM batch WHERE first IN (SELECT first FROM batch WHERE last <= ? ORDER BY first LIMIT ?)',
    ),
  } satisfies Record<string, StatementSync>
}
