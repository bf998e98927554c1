import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Indexer } from '../index/indexer.ts'
import type { IndexWriter } from '../index/index-writer.ts'
import { forever } from '../index/schema.ts'

/** Rows looked at in one transaction, so that indexing goes on in between. */
const rowsAtOnce = 2_000

/**
 * Removes the rows that hold at no point from `at` on. May be stopped anywhere and begun again. The order matters: nodes
 * are found by the rows that ended, and the range of versions by the batches, so these go last.
 */
export async function pruneBefore(indexer: Indexer, at: Sequence, when: Moment): Promise<void> {
  const { pruned } = indexer.rows.state()
  const first = indexer.rows.batchAfter(pruned)
  if (first !== undefined) {
    await prunePages(indexer, (pruner, after) => pruner.versions(after, at), first.version_from - 1)
  }
  await prunePages(indexer, (pruner) => pruner.entries(at))
  await indexer.exclusively((index) => new Pruner(index.database).marks(index, at, when))
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
        next = page(new Pruner(index.database), from)
      })
      return next
    })
  }
}

class Pruner {
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync) {
    this.#statements = prepareAll(database)
  }

  /** Of nodes that got a version after the last time and up to `at`, all but what holds from there on. Goes on after the version `after`. */
  versions(after: number, at: Sequence): number | undefined {
    const rows = this.#statements.versionsUpTo.all(after, at, rowsAtOnce) as unknown as { id: number; node: number }[]
    for (const node of new Set(rows.map((row) => row.node))) this.#pruneNode(node, at)
    return rows.at(-1)?.id
  }

  /** Names that ended up to `at`, and the nodes that have no other. */
  entries(at: Sequence): number | undefined {
    const rows = this.#statements.entriesEnded.all(at, rowsAtOnce) as unknown as { id: number; node: number }[]
    for (const { id } of rows) this.#statements.dropEntry.run(id)
    for (const node of new Set(rows.map((row) => row.node))) {
      if (this.#statements.anyName.get(node) === undefined) this.#dropNode(node)
    }
    return rows.at(-1)?.id
  }

  batches(at: Sequence): number | undefined {
    return Number(this.#statements.dropBatches.run(at, rowsAtOnce).changes) > 0 ? 0 : undefined
  }

  /** Only marks whose span goes on at `at` are left, as if they had been made there; so a checkpoint tells them too. */
  marks(index: IndexWriter, at: Sequence, when: Moment): void {
    index.transaction(() => {
      this.#statements.dropMarks.run(at, at)
      this.#statements.moveMarks.run(at, when, at)
    })
  }

  #pruneNode(node: number, at: Sequence): void {
    const dead = this.#statements.deadVersions.all(node, node, at) as unknown as { id: number; content: unknown }[]
    for (const { id } of dead) this.#statements.dropVersion.run(id)
    const contents = new Set(dead.map(({ content }) => content).filter(isExtents))
    for (const content of contents) {
      if (this.#statements.anyUse.get(node, content) === undefined) this.#statements.dropContent.run(content)
      else this.#statements.dropExtents.run(content, at)
    }
  }

  #dropNode(node: number): void {
    const versions = this.#statements.allVersions.all(node) as unknown as { id: number; content: unknown }[]
    for (const { id } of versions) this.#statements.dropVersion.run(id)
    for (const content of new Set(versions.map(({ content: name }) => name).filter(isExtents))) {
      this.#statements.dropContent.run(content)
    }
  }
}

const isExtents = (content: unknown): content is number => typeof content === 'number' && content > 0

function prepareAll(database: DatabaseSync) {
  return {
    versionsUpTo: database.prepare(`
      SELECT id, node FROM version
      WHERE id > ? AND id < coalesce((SELECT version_from FROM batch WHERE first > ? ORDER BY first LIMIT 1), 1 << 53)
      ORDER BY id LIMIT ?`),
    entriesEnded: database.prepare(`
      SELECT id, node FROM entry INDEXED BY entry_ended WHERE until < ${forever} AND until <= ? LIMIT ?`),
    dropEntry: database.prepare('DELETE FROM entry WHERE id = ?'),
    anyName: database.prepare('SELECT 1 AS found FROM entry WHERE node = ? LIMIT 1'),
    // A version is dead once the next one of its node holds at the sequence.
    deadVersions: database.prepare(`
      SELECT id, content FROM version
      WHERE node = ? AND since < (SELECT max(since) FROM version WHERE node = ? AND since <= ?)`),
    allVersions: database.prepare('SELECT id, content FROM version WHERE node = ?'),
    dropVersion: database.prepare('DELETE FROM version WHERE id = ?'),
    anyUse: database.prepare('SELECT 1 AS found FROM version WHERE node = ? AND content = ? LIMIT 1'),
    dropContent: database.prepare('DELETE FROM extent WHERE content = ?'),
    dropExtents: database.prepare('DELETE FROM extent WHERE content = ? AND until <= ?'),
    dropMarks: database.prepare(`
      DELETE FROM mark WHERE sequence <= ? AND NOT (
        type IN ('suspect', 'hole')
        AND sequence > coalesce((SELECT max(sequence) FROM mark WHERE type = 'complete' AND sequence <= ?), -1))`),
    moveMarks: database.prepare('UPDATE mark SET sequence = ?, moment = ? WHERE sequence <= ?'),
    dropBatches: database.prepare(
      'DELETE FROM batch WHERE first IN (SELECT first FROM batch WHERE last <= ? ORDER BY first LIMIT ?)',
    ),
  } satisfies Record<string, StatementSync>
}
