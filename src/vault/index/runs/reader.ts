import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { ChunkId } from '../../../model/change.ts'
import { sequence } from '../../../model/sequence.ts'
import type { Piece } from '../extent-reader.ts'
import { stands } from './builder.ts'
import { isChunk, isZeros, Page } from './page.ts'
import type { Stroke } from './paint.ts'

/** From a place up to another. */
export interface Stretch {
  readonly start: number
  readonly end: number
}

/** What came after the change `after` and up to `upTo`. */
export interface Span {
  readonly after: number
  readonly upTo: number
}

/** For SQLite, as good as all. */
const fencesMax = 2 ** 40
/** Where little is asked for, one looks no further into the past than until all of it is found. */
const soughtBytesMax = 1024 * 1024

/** Looks into the runs of an index. To be asked within one transaction, as runs go while others are made of them. */
export class RunReader {
  readonly #statements: ReturnType<typeof prepareAll>

  constructor(database: DatabaseSync) {
    this.#statements = prepareAll(database)
  }

  isPacked(content: number): boolean {
    return this.#statements.packed.get(content) !== undefined
  }

  /** Contents that have runs, ascending. */
  packed(): number[] {
    return this.#statements.allPacked.all().map(({ content }) => content as number)
  }

  /** Behind everything that stands in the runs of a content. */
  end(content: number): number {
    return (this.#statements.end.get(content)?.['end'] as number | null) ?? 0
  }

  /** The last change up to which the rows of extents tell all of the content at `at`. */
  folded(content: number, at: number): number {
    return (this.#statements.folded.get(content, at)?.['at'] as number | null) ?? 0
  }

  /**
   * All that was written in the span and touches the stretch, but for what is known to be hidden by something newer. Undefined
   * where that is on more than `pagesMax` pages.
   */
  strokes(content: number, stretch: Stretch, span: Span, pagesMax: number): Stroke[] | undefined {
    const found: Stroke[] = []
    let missing: Stretch[] = stretch.end - stretch.start <= soughtBytesMax ? [stretch] : []
    let pages = 0
    for (const run of this.#statements.runs.all(content, span.upTo, span.after) as unknown as Run[]) {
      const fences = this.#fences(run, stretch, span, Math.min(pagesMax - pages + 1, fencesMax))
      pages += fences.length
      if (pages > pagesMax) return undefined
      const before = found.length
      this.#look({ content, fences, reach: run.bytes_max }, stretch, span, found)
      if (missing.length === 0 || found.length === before) continue
      for (const stroke of found.slice(before)) missing = without(missing, stroke)
      if (missing.length === 0) break
    }
    return found
  }

  /** Whether anything was written in the span. */
  isWritten(content: number, span: Span): boolean {
    for (const run of this.#statements.runs.all(content, span.upTo, span.after) as unknown as Run[]) {
      if (run.first > span.after && run.last <= span.upTo) return true
      for (const { page } of this.#statements.fencesWithin.iterate(run.id)) {
        const rows = this.#page(page as number)
        for (let row = 0; row < rows.count; row++) {
          if (rows.since(row) > span.after && rows.since(row) <= span.upTo) return true
        }
      }
    }
    return false
  }

  /** Pages that may hold something, in their order. */
  #fences(run: Run, { start, end }: Stretch, { upTo }: Span, countMax: number): { page: number }[] {
    const from = start - run.bytes_max
    const first = this.#statements.fenceBefore.get(run.id, from) as { at: number; since: number } | undefined
    const { at, since } = first ?? { at: -1, since: -1 }
    return this.#statements.fences.all(run.id, at, since, end, upTo, upTo, countMax) as unknown as { page: number }[]
  }

  /** From the newest of each place to older ones, which are told only where they are longer. */
  #look(
    { content, fences, reach }: { content: number; fences: readonly { page: number }[]; reach: number },
    { start, end }: Stretch,
    { after, upTo }: Span,
    found: Stroke[],
  ): void {
    let lastAt = -1
    let longest = 0
    for (let index = fences.length - 1; index >= 0; index--) {
      const page = this.#page((fences[index] as { page: number }).page)
      for (let row = page.firstFrom(end) - 1; row >= 0; row--) {
        const at = page.at(row)
        if (at + reach <= start) break
        const since = page.since(row)
        if (since > upTo || since <= after) continue
        const bytes = page.bytes(row)
        if (at === lastAt && bytes <= longest) continue
        lastAt = at
        longest = bytes
        if (at + bytes <= start) continue
        found.push({ at, end: at + bytes, since, piece: this.#piece(content, at, since, bytes, page.kind(row)) })
      }
    }
  }

  #piece(content: number, at: number, since: number, bytes: number, kind: number): Piece | undefined {
    if (kind === isZeros) return undefined
    const whole = { at, bytes, skip: 0, cut: false, isEnd: false }
    if (kind !== isChunk) return { ...whole, source: { sequence: sequence(since), origin: at } }
    const chunk = this.#statements.chunk.get(content, since, at)?.['chunk'] as Uint8Array
    const { buffer, byteOffset, byteLength } = chunk
    return { ...whole, source: { chunk: Buffer.from(buffer, byteOffset, byteLength).toString('latin1') as ChunkId } }
  }

  #page(id: number): Page {
    return new Page(this.#statements.page.get(id)?.['data'] as Uint8Array)
  }
}

interface Run {
  readonly id: number
  readonly first: number
  readonly last: number
  readonly bytes_max: number
}

function without(stretches: readonly Stretch[], { at, end }: Stroke): Stretch[] {
  return stretches.flatMap((stretch) => {
    if (at >= stretch.end || end <= stretch.start) return [stretch]
    const left = { start: stretch.start, end: at }
    const right = { start: end, end: stretch.end }
    return [left, right].filter((rest) => rest.start < rest.end)
  })
}

function prepareAll(database: DatabaseSync) {
  return {
    packed: database.prepare('SELECT 1 AS found FROM packed WHERE content = ?'),
    allPacked: database.prepare('SELECT content FROM packed ORDER BY content'),
    folded: database.prepare('SELECT max(at) AS at FROM folded WHERE content = ? AND at <= ?'),
    end: database.prepare(`SELECT max(end) AS end FROM run WHERE content = ? AND state = ${stands}`),
    runs: database.prepare(`
      SELECT id, first, last, bytes_max FROM run
      WHERE content = ? AND state = ${stands} AND rows > 0 AND first <= ? AND last > ? ORDER BY first DESC, id DESC`),
    fenceBefore: database.prepare(
      'SELECT at, since FROM fence WHERE run = ? AND at <= ? ORDER BY at DESC, since DESC LIMIT 1',
    ),
    fences: database.prepare(`
      SELECT page FROM fence WHERE run = ? AND (at, since) >= (?, ?) AND at < ? AND since_min <= ? AND until > ?
      ORDER BY at, since LIMIT ?`),
    fencesWithin: database.prepare('SELECT page FROM fence WHERE run = ?'),
    page: database.prepare('SELECT data FROM page WHERE id = ?'),
    chunk: database.prepare('SELECT chunk FROM run_chunk WHERE content = ? AND since = ? AND at = ?'),
  } satisfies Record<string, StatementSync>
}
