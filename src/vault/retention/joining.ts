import type { DatabaseSync } from 'node:sqlite'
import type { Sequence } from '../../model/sequence.ts'
import type { Indexer } from '../index/indexer.ts'
import { endsChunk } from '../index/schema.ts'
import { chunkPartsMax } from './merging.ts'

/** Rows looked at in one transaction, so that indexing goes on in between; more than the parts of a chunk. */
const rowsAtOnce = 2_000

interface Row {
  readonly content: number
  readonly at: number
  readonly since: number
  readonly until: number
  readonly bytes: number
  readonly skip: number
  readonly cut: number
  readonly location: Uint8Array
}

type After = Pick<Row, 'content' | 'at' | 'since'>

/**
 * Makes one row of those that name all parts of a chunk, as a checkpoint tells it, where they hold at `at` and end together.
 * To be called once no point before `at` is kept: the row says nothing of them. May be stopped anywhere and begun again.
 */
export async function joinParts(indexer: Indexer, at: Sequence): Promise<void> {
  for (let after: After | undefined = { content: 0, at: -1, since: -1 }; after !== undefined;) {
    const from: After = after
    after = await indexer.exclusively((index) => {
      let next: After | undefined
      index.transaction(() => {
        next = joinPage(index.database, from, at)
      })
      return next
    })
  }
}

function joinPage(database: DatabaseSync, from: After, at: Sequence): After | undefined {
  const rows = database
    .prepare(
      `SELECT content, at, since, until, bytes, skip, cut, location FROM extent INDEXED BY extent_cut
       WHERE cut > 0 AND typeof(location) = 'blob' AND (content, at, since) > (?, ?, ?)
         AND since <= ? AND until > ? ORDER BY content, at, since LIMIT ?`,
    )
    .all(from.content, from.at, from.since, at, at, rowsAtOnce) as unknown as Row[]
  const drop = database.prepare('DELETE FROM extent WHERE content = ? AND at = ? AND since = ?')
  const insert = database.prepare(
    `INSERT INTO extent(content, at, since, until, bytes, skip, cut, location) VALUES (?, ?, ?, ?, ?, 0, 0, ?)`,
  )
  let begun: Row[] = []
  let before = from
  let last = from
  for (const row of rows) {
    if (row.skip === 0) {
      begun = [row]
      before = last
    } else if (begun.length > 0 && begun.length < chunkPartsMax && goesOn(begun.at(-1) as Row, row)) begun.push(row)
    else begun = []
    last = row
    if (row.cut !== endsChunk || begun.length === 0) continue
    for (const part of begun) drop.run(part.content, part.at, part.since)
    const { content, at: place, until, location } = begun[0] as Row
    const since = Math.max(...begun.map((part) => part.since))
    const bytes = begun.reduce((sum, part) => sum + part.bytes, 0)
    insert.run(content, place, since, until, bytes, location)
    begun = []
  }
  if (rows.length < rowsAtOnce) return undefined
  // A chunk that begins in this page and ends in the next.
  return begun.length > 0 ? before : last
}

const goesOn = (one: Row, next: Row): boolean =>
  one.content === next.content &&
  one.until === next.until &&
  one.at + one.bytes === next.at &&
  one.skip + one.bytes === next.skip &&
  Buffer.compare(one.location, next.location) === 0
