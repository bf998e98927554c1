import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { RunBuilder, type BuilderStatements, stands } from './builder.ts'
import { Page } from './page.ts'

/** Of a run that stands in the index. */
export interface RunRow {
  readonly id: number
  readonly first: number
  readonly last: number
  readonly rows: number
}

/** Its pages are dropped little by little. */
export const isGone = 2

const pagesAtOnce = 64

/** Makes one run of some that follow one another in time, a part at a time. Until it is whole nobody sees it. */
export class Merge {
  readonly sources: readonly RunRow[]
  readonly level: number
  readonly #parts: MergeParts
  readonly #after: number
  readonly #cursors: Cursor[]
  readonly #builder: RunBuilder

  /** What came up to the change `after` is left out. */
  constructor(parts: MergeParts, sources: readonly RunRow[], level: number, after: number) {
    this.#parts = parts
    this.sources = sources
    this.level = level
    this.#after = after
    this.#cursors = sources.map(({ id }) => new Cursor(parts.statements, id)).filter(({ isEnd }) => !isEnd)
    this.#builder = new RunBuilder(parts.builder, parts.content, parts.rowsPerPage)
  }

  /** False once it is done, or has become useless because a run of it was dropped. */
  advance(count: number): boolean {
    const { statements } = this.#parts
    if (this.sources.some(({ id }) => statements.state.get(id)?.['state'] !== stands)) {
      statements.drop.run(isGone, this.#builder.id)
      return false
    }
    const cursors = this.#cursors
    for (let left = count; left > 0 && cursors.length > 0; left--) {
      let least = cursors[0] as Cursor
      for (let index = 1; index < cursors.length; index++) {
        const cursor = cursors[index] as Cursor
        if (cursor.at < least.at || (cursor.at === least.at && cursor.since < least.since)) least = cursor
      }
      if (least.since > this.#after) this.#builder.push(least.at, least.since, least.bytes, least.kind)
      least.next()
      if (least.isEnd) cursors.splice(cursors.indexOf(least), 1)
    }
    if (cursors.length > 0) return true
    const first = Math.min(...this.sources.map((source) => source.first))
    this.#builder.finish(first, Math.max(...this.sources.map(({ last }) => last)))
    for (const { id } of this.sources) statements.drop.run(isGone, id)
    return false
  }
}

export interface MergeParts {
  readonly content: number
  readonly rowsPerPage: number
  readonly statements: MergeStatements
  readonly builder: BuilderStatements
}

interface Fence {
  readonly at: number
  readonly since: number
  readonly page: number
}

/** Goes through the rows of a run. */
class Cursor {
  at = 0
  since = 0
  isEnd = false
  readonly #statements: MergeStatements
  readonly #run: number
  #fences: Fence[] = []
  #fence = 0
  #page: Page | undefined
  #row = -1

  constructor(statements: MergeStatements, run: number) {
    this.#statements = statements
    this.#run = run
    this.next()
  }

  get bytes(): number {
    return (this.#page as Page).bytes(this.#row)
  }

  get kind(): number {
    return (this.#page as Page).kind(this.#row)
  }

  next(): void {
    if (this.#page === undefined || ++this.#row >= this.#page.count) {
      if (!this.#turn()) return
    }
    const page = this.#page as Page
    this.at = page.at(this.#row)
    this.since = page.since(this.#row)
  }

  #turn(): boolean {
    if (this.#fence === this.#fences.length) {
      const last = this.#fences.at(-1)
      const after = [this.#run, last?.at ?? -1, last?.since ?? -1, pagesAtOnce] as const
      this.#fences = this.#statements.fences.all(...after) as unknown as Fence[]
      this.#fence = 0
    }
    const fence = this.#fences[this.#fence++]
    this.isEnd = fence === undefined
    this.#page = fence && new Page(this.#statements.page.get(fence.page)?.['data'] as Uint8Array)
    this.#row = 0
    return !this.isEnd
  }
}

export type MergeStatements = ReturnType<typeof mergeStatements>

export function mergeStatements(database: DatabaseSync) {
  return {
    state: database.prepare('SELECT state FROM run WHERE id = ?'),
    drop: database.prepare('UPDATE run SET state = ? WHERE id = ?'),
    fences: database.prepare(
      'SELECT at, since, page FROM fence WHERE run = ? AND (at, since) > (?, ?) ORDER BY at, since LIMIT ?',
    ),
    page: database.prepare('SELECT data FROM page WHERE id = ?'),
  } satisfies Record<string, StatementSync>
}
