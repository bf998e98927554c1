import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Extent } from '../../model/change.ts'
import type { Sequence } from '../../model/sequence.ts'
import { type PackingLimits, packingLimits } from './runs/limits.ts'
import { RunWriter } from './runs/writer.ts'
import { forever } from './schema.ts'

/** The bytes of a file as a version names them (schema.ts). */
export type ContentName = null | Uint8Array | number

export interface Located {
  readonly at: number
  readonly bytes: number
  readonly skip: number
  readonly cut: number
  readonly location: Uint8Array | number
}

/** Keeps the extents of contents. Whatever is replaced stays valid up to the sequence that replaced it. */
export class ContentWriter {
  readonly runs: RunWriter
  /** Not while a checkpoint is loaded: all of it begins at one sequence. */
  mayPack = true
  readonly #packedBytesMin: number
  readonly #insert: StatementSync
  readonly #end: StatementSync
  readonly #drop: StatementSync
  readonly #within: StatementSync
  readonly #before: StatementSync
  /** The number the last content got. */
  last: number

  constructor(database: DatabaseSync, last: number, packing: Partial<PackingLimits> = {}) {
    this.last = last
    const limits = { ...packingLimits, ...packing }
    this.runs = new RunWriter(database, limits)
    this.#packedBytesMin = limits.fileBytesMin
    this.#insert = database.prepare(
      `INSERT INTO extent(content, at, since, until, bytes, skip, cut, location) VALUES (?, ?, ?, ${forever}, ?, ?, ?, ?)`,
    )
    this.#end = database.prepare('UPDATE extent SET until = ? WHERE content = ? AND at = ? AND since = ?')
    this.#drop = database.prepare('DELETE FROM extent WHERE content = ? AND at = ? AND since = ?')
    // Named, because by the key of the table all extents that ever stood there would be gone through.
    const columns = 'SELECT at, since, bytes, skip, cut, location FROM extent INDEXED BY extent_now'
    this.#within = database.prepare(
      `${columns} WHERE content = ? AND at >= ? AND at < ? AND until = ${forever} ORDER BY at`,
    )
    this.#before = database.prepare(
      `${columns} WHERE content = ? AND at < ? AND until = ${forever} ORDER BY at DESC LIMIT 1`,
    )
  }

  /** A new content of exactly these extents, in the shortest form. */
  create(extents: readonly Extent[], bytes: number, since: Sequence): ContentName {
    const [only] = extents
    if (only === undefined) return null
    if (extents.length === 1 && only.at === 0 && only.bytes === bytes) {
      return 'chunk' in only ? Buffer.from(only.chunk, 'latin1') : -since
    }
    const content = ++this.last
    for (const extent of extents) this.#add(content, since, located(extent, since))
    return content
  }

  /** The content of a file, to be changed in part from `since` on: its extents, packed where the file is large or is to be. */
  changeable(
    { content: name, bytes }: { readonly content: ContentName; readonly bytes: number },
    isToBePacked: boolean,
    since: Sequence,
  ): number {
    const content = typeof name === 'number' && name > 0 ? name : ++this.last
    if (content !== name && name !== null) {
      this.#add(content, since, { at: 0, bytes, skip: 0, cut: 0, location: typeof name === 'number' ? -name : name })
    }
    if (this.mayPack && (isToBePacked || bytes >= this.#packedBytesMin) && !this.runs.isPacked(content))
      this.runs.pack(content)
    return content
  }

  /** Puts an extent over whatever the range held. */
  put(content: number, extent: Extent, since: Sequence): void {
    if (this.runs.isPacked(content)) this.runs.put(content, extent, since)
    else this.fold(content, located(extent, since), since)
  }

  /** Makes the range from `start` up to `end` hold nothing. */
  clear(content: number, start: number, end: number, since: Sequence): void {
    if (this.runs.isPacked(content)) this.runs.clear(content, start, end, since)
    else this.foldZeros(content, start, end, since)
  }

  /** The same as rows of extents, whether the content is packed or not. */
  fold(content: number, extent: Located, since: Sequence): void {
    this.foldZeros(content, extent.at, extent.at + extent.bytes, since)
    this.#add(content, since, extent)
  }

  /** Extents that reach across an edge are cut there. */
  foldZeros(content: number, start: number, end: number, since: Sequence): void {
    const before = this.#before.get(content, start) as unknown as ExtentRow | undefined
    const touched = this.#within.all(content, start, end) as unknown as ExtentRow[]
    if (before !== undefined && before.at + before.bytes > start) touched.push(before)
    for (const row of touched) {
      if (row.since === since) this.#drop.run(content, row.at, row.since)
      else this.#end.run(since, content, row.at, row.since)
      if (row.at < start) this.#add(content, since, { ...row, bytes: start - row.at, cut: 1 })
      const rest = row.at + row.bytes - end
      if (rest > 0) this.#add(content, since, { ...row, at: end, bytes: rest, skip: row.skip + end - row.at, cut: 1 })
    }
  }

  #add(content: number, since: Sequence, { at, bytes, skip, cut, location }: Located): void {
    this.#insert.run(content, at, since, bytes, skip, cut, location)
  }
}

type ExtentRow = Located & { since: number }

const located = (extent: Extent, since: Sequence): Located => ({
  at: extent.at,
  bytes: extent.bytes,
  skip: 0,
  cut: 0,
  location: 'chunk' in extent ? Buffer.from(extent.chunk, 'latin1') : since,
})
