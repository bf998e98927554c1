import assert from 'node:assert/strict'
import { test } from 'node:test'
import { indexOf } from '../../../test/oracle/judge.ts'
import { MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import type { Change } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import { fromBuffer, fromUtf8, rootPath, type TreePath } from '../../model/path.ts'
import { IndexReader } from '../index/index-reader.ts'
import { type SearchRequest, type SearchRow, searchNames } from './search.ts'

const path = (text: string): TreePath => fromUtf8(text) as TreePath
const write = (text: string): Change => ({ kind: 'write', path: path(text), at: 0, data: Buffer.from(text) })
const remove = (text: string): Change => ({ kind: 'remove', path: path(text) })
const rename = (from: string, to: string): Change => ({ kind: 'rename', path: path(to), from: path(from) })

/** Each change at the second of its sequence. */
async function rowsAfter(...changes: Change[]) {
  const journal = new MemoryJournal()
  for (const change of changes) journal.append([{ moment: moment((journal.last + 1) * 1_000_000), change }])
  const index = await indexOf(journal)
  return { rows: new IndexReader(index.database, index.sealing), [Symbol.dispose]: () => index[Symbol.dispose]() }
}

const asked = (name: string, more: Partial<SearchRequest> = {}): SearchRequest => ({
  name,
  within: rootPath,
  order: 'any',
  limit: 1000,
  ...more,
})

const found = (rows: IndexReader, request: SearchRequest): SearchRow[] =>
  [...searchNames(rows, request)].flatMap((page) => page.rows)

const told = (rows: readonly SearchRow[]): string[] =>
  rows.map(({ path: at, since, until }) => {
    const shown = Buffer.from(at, 'latin1').toString()
    return `${shown} ${since.sequence}-${until?.sequence ?? ''}`
  })

test('a name is found while it is there and after it was removed, in any case, with when it was there', async () => {
  using world = await rowsAfter(
    write('docs/Report-2026.odt'),
    write('docs/other.txt'),
    remove('docs/Report-2026.odt'),
    write('plans/REPORT.pdf'),
    rename('plans/REPORT.pdf', 'plans/final.pdf'),
  )
  assert.deepEqual(told(found(world.rows, asked('report'))), ['plans/REPORT.pdf 4-5', 'docs/Report-2026.odt 1-3'])
  assert.deepEqual(told(found(world.rows, asked('FINAL'))), ['plans/final.pdf 5-'])
  const [gone] = found(world.rows, asked('2026'))
  assert.deepEqual([gone?.bytes, gone?.type, gone?.since.moment], ['docs/Report-2026.odt'.length, 'file', 1_000_000])
  assert.deepEqual(told(found(world.rows, asked('report', { within: path('docs') }))), ['docs/Report-2026.odt 1-3'])
  assert.deepEqual(told(found(world.rows, asked('docs'))), ['docs 1-'])
  assert.deepEqual(found(world.rows, asked('docs/Report')), [], 'a name, not a path')
})

test('what is gone comes the last removed first, and with a directory goes all that was in it', async () => {
  using world = await rowsAfter(
    write('a/old.doc'),
    write('b/new.doc'),
    write('c/stays.doc'),
    remove('b/new.doc'),
    remove('a'),
  )
  assert.deepEqual(told(found(world.rows, asked('doc', { order: 'gone' }))), ['a/old.doc 1-5', 'b/new.doc 2-4'])
})

test('a file that is saved over and over is told once for as long as it was there without a break', async () => {
  const saves = Array.from({ length: 40 }, (_, save) => [
    write('.saving'),
    rename('.saving', `book.odt`),
    save,
  ]).flatMap(([one, two]) => [one as Change, two as Change])
  using world = await rowsAfter(...saves, remove('book.odt'), write('book.odt'))
  assert.deepEqual(told(found(world.rows, asked('book'))), ['book.odt 82-', 'book.odt 2-81'])
  assert.deepEqual(told(found(world.rows, asked('book', { order: 'gone' }))), ['book.odt 2-81'])
})

test('a name is told where it was last, wherever the directories above it went', async () => {
  using world = await rowsAfter(
    write('2025/plan/map.png'),
    rename('2025', 'archive'),
    write('archive/plan/lost.png'),
    remove('archive/plan/lost.png'),
    rename('archive/plan', 'plan'),
  )
  assert.deepEqual(told(found(world.rows, asked('map'))), ['plan/map.png 1-'])
  assert.deepEqual(told(found(world.rows, asked('lost'))), ['archive/plan/lost.png 3-4'])
})

test('letters beyond ASCII are found in any case and however composed, and names that are no UTF-8 break nothing', async () => {
  const odd = fromBuffer(Buffer.from([0x78, 0xff, 0xe5, 0x79])) as TreePath
  using world = await rowsAfter(
    write('年度报表.xlsx'),
    write('ÜBERSICHT.txt'),
    write('cafe\u0301.md'),
    { kind: 'write', path: odd, at: 0, data: Buffer.alloc(1) },
    write('last'),
  )
  assert.deepEqual(told(found(world.rows, asked('报表'))), ['年度报表.xlsx 1-'])
  assert.deepEqual(told(found(world.rows, asked('übersicht'))), ['ÜBERSICHT.txt 2-'])
  assert.deepEqual(told(found(world.rows, asked('CAFÉ'))), ['cafe\u0301.md 3-'])
  assert.deepEqual(
    found(world.rows, asked('y')).map(({ path: at }) => at),
    [odd],
  )
  assert.deepEqual(told(found(world.rows, asked('last'))), ['last 5-'])
})

test('names of any length are looked through in pages, and from where a search ended the next goes on', async () => {
  const names = Array.from(
    { length: 9_000 },
    (_, at) => `${'x'.repeat(at % 120)}-${at}-${at % 3 === 0 ? 'hit' : 'miss'}`,
  )
  const journal = new MemoryJournal()
  for (const name of names) journal.append([{ moment: moment(1), change: write(name) }])
  using index = await indexOf(journal)
  const rows = new IndexReader(index.database, index.sealing)
  const wanted = names.filter((name) => name.endsWith('hit')).reverse()
  assert.deepEqual(
    found(rows, asked('-HIT', { limit: 10_000 })).map(({ path: at }) => at),
    wanted,
  )
  const paged: string[] = []
  for (let after: SearchRequest['after']; ;) {
    const pages = [...searchNames(rows, asked('-hit', { limit: 700, ...(after === undefined ? {} : { after }) }))]
    paged.push(...pages.flatMap((page) => page.rows.map((row) => row.path as string)))
    after = pages.at(-1)?.next
    if (after === undefined) break
  }
  assert.deepEqual(paged, wanted)
})
