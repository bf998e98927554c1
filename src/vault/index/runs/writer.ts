import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Extent } from '../../../model/change.ts'
import { forever } from '../schema.ts'
import { builderStatements, RunBuilder, stands } from './builder.ts'
import type { PackingLimits } from './limits.ts'
import { isGone, Merge, mergeStatements, type RunRow } from './merge.ts'
import { isChunk, isZeros, Rows, standsInChange } from './page.ts'

/**
 * The one who writes the runs of an index. What is written to a *packed* content is only ever added: nothing is looked up and
 * no row is touched again. A commit makes one run of what came since the last one; so many of about one size, one after the
 * other in time, are made one by and by, so that there are few to look into and each row is written again few times.
 */
export class RunWriter {
  readonly #limits: PackingLimits
  readonly #packed: Set<number>
  readonly #begun = new Map<number, Rows>()
  readonly #merges = new Map<number, Merge[]>()
  readonly #builder: ReturnType<typeof builderStatements>
  readonly #merge: ReturnType<typeof mergeStatements>
  readonly #statements: ReturnType<typeof prepareAll>
  #isTidy = false

  constructor(database: DatabaseSync, limits: PackingLimits) {
    this.#limits = limits
    this.#builder = builderStatements(database)
    this.#merge = mergeStatements(database)
    this.#statements = prepareAll(database)
    const rows = database.prepare('SELECT content FROM packed').all() as unknown as { content: number }[]
    this.#packed = new Set(rows.map(({ content }) => content))
  }

  isPacked(content: number): boolean {
    return this.#packed.has(content)
  }

  /** From here on everything that is written to the content is added to its runs. */
  pack(content: number): void {
    this.#statements.pack.run(content)
    this.#packed.add(content)
  }

  put(content: number, extent: Extent, since: number): void {
    if ('chunk' in extent) {
      this.#statements.insertChunk.run(content, since, extent.at, Buffer.from(extent.chunk, 'latin1'))
      this.#add(content, extent.at, since, extent.bytes, isChunk)
    } else this.#add(content, extent.at, since, extent.bytes, standsInChange)
  }

  /** A long range is told in parts, since whoever looks for what stands at a place looks back as far as the longest row. */
  clear(content: number, start: number, end: number, since: number): void {
    for (let at = start; at < end;) {
      const bytes = Math.min(end, (Math.floor(at / zerosBytesMax) + 1) * zerosBytesMax) - at
      this.#add(content, at, since, bytes, isZeros)
      at += bytes
    }
  }

  #add(content: number, at: number, since: number, bytes: number, kind: number): void {
    let rows = this.#begun.get(content)
    if (rows === undefined) this.#begun.set(content, (rows = new Rows(64)))
    rows.push(at, since, bytes, kind)
    if (rows.count >= rowsHeldMax) this.#turn(content, rows)
  }

  /** Drops all that was written to a content, at most about so many rows at once; how many were dropped. */
  drop(content: number, countMax: number): number {
    const dropped = Number(this.#statements.dropChunks.run(content, forever, countMax).changes)
    if (dropped >= countMax) return dropped
    this.#statements.dropAllRuns.run(content)
    this.#statements.dropFolded.run(content, forever)
    this.#statements.unpack.run(content)
    this.#packed.delete(content)
    this.#merges.delete(content)
    return dropped
  }

  /** What no point from `at` on needs, as it was folded; fewer than `countMax` were dropped where nothing is left of it. */
  dropBefore(at: number, countMax: number): number {
    let dropped = 0
    for (const content of this.#packed) {
      const folded = this.#statements.foldedAt.get(content, at)?.['at'] as number | null
      if (folded === null) continue
      dropped += Number(this.#statements.dropChunks.run(content, folded, countMax - dropped).changes)
      if (dropped >= countMax) return dropped
      this.#statements.dropRuns.run(content, folded)
      this.#statements.dropFolded.run(content, folded - 1)
    }
    return dropped
  }

  /** Makes what came so far be seen with the next commit, and goes on with what there is to merge. */
  flush(): void {
    for (const [content, rows] of [...this.#begun]) this.#turn(content, rows)
  }

  #turn(content: number, rows: Rows): void {
    this.#begun.delete(content)
    if (!this.#isTidy) this.#statements.dropUnfinished.run()
    this.#isTidy = true
    const { at, since, bytes, kind, count } = rows
    const builder = new RunBuilder(this.#builder, content, this.#limits.rowsPerPage)
    for (const row of rows.ascending())
      builder.push(at[row] as number, since[row] as number, bytes[row] as number, kind[row] as number)
    builder.finish(since[0] as number, since[count - 1] as number)
    this.#mergeFurther(content, count)
    this.#dropGone(4 + Math.ceil(count / 64))
  }

  /** Twice as fast as rows come in, at each level: so a merge ends before there is enough for the next. */
  #mergeFurther(content: number, added: number): void {
    const merges = this.#merges.get(content) ?? []
    this.#planMerges(content, merges)
    const going = merges.filter((merge) => merge.advance(2 * added + this.#limits.rowsPerPage))
    if (going.length > 0) this.#merges.set(content, going)
    else this.#merges.delete(content)
  }

  #planMerges(content: number, merges: Merge[]): void {
    const runs = this.#statements.standing.all(content) as unknown as RunRow[]
    const busy = new Set(merges.flatMap(({ sources }) => sources.map(({ id }) => id)))
    // Newest first; a small run before a large one counts as large, so that neighbours in time can become one.
    let level = 0
    let group: RunRow[] = []
    const plan = (): void => {
      const { rowsPerPage, runsPerLevel } = this.#limits
      if (group.length < runsPerLevel || merges.some((merge) => merge.level === level)) return
      const after = this.#statements.dropped.get(content)?.['at'] as number | null
      const parts = { content, rowsPerPage, statements: this.#merge, builder: this.#builder }
      merges.push(new Merge(parts, group.slice(-runsPerLevel).reverse(), level, after ?? 0))
    }
    for (const run of runs) {
      const own = levelOf(run.rows, this.#limits)
      if (own > level || busy.has(run.id)) {
        plan()
        group = []
        level = Math.max(own, level)
      }
      if (!busy.has(run.id)) group.push(run)
    }
    plan()
  }

  #dropGone(pagesMax: number): void {
    for (let left = pagesMax; left > 0;) {
      const run = this.#statements.gone.get()?.['id']
      if (run === undefined) return
      const fences = this.#statements.fencesOf.all(run, left)
      for (const { at, since, page } of fences) {
        this.#statements.dropPage.run(page as number)
        this.#statements.dropFence.run(run, at as number, since as number)
      }
      if (fences.length < left) this.#statements.dropRun.run(run)
      left -= fences.length + 1
    }
  }
}

/** Runs of no more than a page are of level 0. */
const levelOf = (rows: number, { rowsPerPage, runsPerLevel }: PackingLimits): number =>
  rows <= rowsPerPage ? 0 : Math.ceil(Math.log(rows / rowsPerPage) / Math.log(runsPerLevel))

/** What one commit brought is held in memory until it is a run, at most so many rows. */
const rowsHeldMax = 262_144
const zerosBytesMax = 1024 * 1024

function prepareAll(database: DatabaseSync) {
  return {
    pack: database.prepare('INSERT INTO packed VALUES (?)'),
    insertChunk: database.prepare('INSERT INTO run_chunk VALUES (?, ?, ?, ?)'),
    standing: database.prepare(
      `SELECT id, first, last, rows FROM run WHERE content = ? AND state = ${stands} ORDER BY first DESC, id DESC`,
    ),
    dropped: database.prepare(
      'SELECT max(at) AS at FROM folded WHERE content = ? AND at <= (SELECT checkpoint FROM state)',
    ),
    foldedAt: database.prepare('SELECT max(at) AS at FROM folded WHERE content = ? AND at <= ?'),
    dropChunks: database.prepare(`
      DELETE FROM run_chunk WHERE (content, since, at) IN
        (SELECT content, since, at FROM run_chunk WHERE content = ? AND since <= ? ORDER BY since, at LIMIT ?)`),
    dropAllRuns: database.prepare(`UPDATE run SET state = ${isGone} WHERE content = ?`),
    dropRuns: database.prepare(
      `UPDATE run SET state = ${isGone} WHERE content = ? AND state = ${stands} AND last <= ?`,
    ),
    dropFolded: database.prepare('DELETE FROM folded WHERE content = ? AND at <= ?'),
    unpack: database.prepare('DELETE FROM packed WHERE content = ?'),
    gone: database.prepare(`SELECT id FROM run INDEXED BY run_gone WHERE state = ${isGone} LIMIT 1`),
    fencesOf: database.prepare('SELECT at, since, page FROM fence WHERE run = ? LIMIT ?'),
    // Those that were being made when the writer before this one ended.
    dropUnfinished: database.prepare(`UPDATE run SET state = ${isGone} WHERE state <> ${stands}`),
    dropPage: database.prepare('DELETE FROM page WHERE id = ?'),
    dropFence: database.prepare('DELETE FROM fence WHERE run = ? AND at = ? AND since = ?'),
    dropRun: database.prepare('DELETE FROM run WHERE id = ?'),
  } satisfies Record<string, StatementSync>
}
