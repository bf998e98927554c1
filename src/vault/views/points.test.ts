import assert from 'node:assert/strict'
import { test } from 'node:test'
import { indexOf } from '../../../test/oracle/judge.ts'
import { MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { isCode } from '../../base/errors.ts'
import type { Change, Mark } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { sequence } from '../../model/sequence.ts'
import { IndexReader } from '../index/index-reader.ts'
import { listHoles, listPoints, resolvePoint } from './points.ts'

const second = 1_000_000
const write: Change = { kind: 'write', path: 'log' as TreePath, at: 0, data: Buffer.from('x') }
const mark = (told: Mark): Change => ({ kind: 'mark', mark: told })

/** Rows of an index of these changes; each batch is given as the second of each of its changes. */
async function rowsOf(batches: readonly (readonly [at: number, change: Change])[][], settled = true) {
  const journal = new MemoryJournal()
  for (const changes of batches) {
    journal.append(
      changes.map(([at, change]) => ({ moment: moment(Math.round(at * second)), change })),
      settled,
    )
  }
  const index = await indexOf(journal)
  return { rows: new IndexReader(index.database, index.sealing), [Symbol.dispose]: () => index[Symbol.dispose]() }
}

const atSecond = (at: number) => ({ kind: 'moment', moment: moment(at * second) }) as const

test('a moment means the last change at or before it, also in the middle of a batch', async () => {
  using world = await rowsOf([
    [
      [10, write],
      [10, write],
      [12, write],
    ],
    [[20, write]],
    [
      [30, write],
      [31, write],
    ],
  ])
  const at = (when: number): number => resolvePoint(world.rows, atSecond(when)).sequence
  assert.deepEqual([10, 11, 12, 19.9, 20, 30, 30.5, 31, 99].map(at), [2, 2, 3, 3, 4, 5, 5, 6, 6])
  const { moment: when, settled, suspect } = resolvePoint(world.rows, atSecond(19))
  assert.deepEqual({ when, settled, suspect }, { when: 12 * second, settled: true, suspect: undefined })
  assert.equal(resolvePoint(world.rows, atSecond(11)).settled, false, 'inside of a batch')
  assert.throws(
    () => at(9),
    (error) => isCode(error, 'point-unreachable') && /earliest is .*seq:1/.test(error.hint ?? ''),
  )
  assert.throws(
    () => resolvePoint(world.rows, { kind: 'sequence', sequence: sequence(7) }),
    (error) => isCode(error, 'point-unreachable'),
  )
})

test('suspect spans and holes are told at the points that they concern, and at no others', async () => {
  using world = await rowsOf([
    [
      [10, mark({ type: 'suspect', reason: 'baseline' })],
      [11, write],
    ],
    [[20, mark({ type: 'complete', reason: 'baseline' })]],
    [[30, write]],
    [
      [40, mark({ type: 'hole', since: moment(35 * second), reason: 'the spool was full' })],
      [40, mark({ type: 'suspect', reason: 'spool-full' })],
      [41, write],
    ],
    [
      [50, mark({ type: 'complete', reason: 'spool-full' })],
      [51, write],
    ],
  ])
  const told = (when: number): string => {
    const { suspect, hole } = resolvePoint(world.rows, atSecond(when))
    return `${suspect?.reason ?? '-'} ${hole?.reason ?? '-'}`
  }
  assert.deepEqual([10, 11, 20, 30, 34, 36, 41, 50, 51].map(told), [
    'baseline -',
    'baseline -',
    '- -',
    '- -',
    '- -',
    '- the spool was full',
    'spool-full the spool was full',
    '- -',
    '- -',
  ])
  assert.equal(resolvePoint(world.rows, { kind: 'sequence', sequence: sequence(4) }).hole, undefined, 'just before it')
  const spans = listPoints(world.rows, { limit: 100 }).filter(({ kind }) => kind === 'suspect' || kind === 'hole')
  assert.deepEqual(
    spans.map((row) => [row.kind, row.moment / second, ('until' in row ? (row.until ?? 0) : 0) / second]),
    [
      ['suspect', 10, 20],
      ['hole', 35, 50],
      ['suspect', 40, 50],
    ],
  )
})

test('marks are found by their label, the newest of it', async () => {
  using world = await rowsOf([
    [
      [1, mark({ type: 'user', label: 'a' })],
      [2, mark({ type: 'user', label: 'b' })],
      [3, mark({ type: 'user', label: 'a' })],
      [4, write],
    ],
  ])
  assert.equal(resolvePoint(world.rows, { kind: 'mark', label: 'a' }).sequence, 3)
  assert.throws(
    () => resolvePoint(world.rows, { kind: 'mark', label: 'c' }),
    (error) => isCode(error, 'point-unreachable'),
  )
})

test('activity is told by runs without a rest, and more coarsely where there are too many', async () => {
  using world = await rowsOf(
    Array.from({ length: 100 }, (_, run) => [0, 0.4, 0.8].map((at) => [[run * 10 + 1 + at, write] as const])).flat(),
  )
  const all = listPoints(world.rows, { limit: 1000 })
  assert.equal(all.length, 100)
  assert.deepEqual(all[1], {
    kind: 'activity',
    sequence: 6,
    moment: 11 * second,
    until: 11.8 * second,
    changes: 3,
    bytes: 3,
    settled: true,
  })
  const some = listPoints(world.rows, { from: moment(300 * second), to: moment(400 * second), limit: 1000 })
  assert.deepEqual([some.length, some[0]?.moment, some.at(-1)?.moment], [10, 301 * second, 391 * second])
  const coarse = listPoints(world.rows, { limit: 7 })
  assert.equal(coarse.length, 7)
  const changes = coarse.reduce((sum, row) => sum + (row.kind === 'activity' ? row.changes : 0), 0)
  assert.equal(changes, 300)
  assert.deepEqual(listPoints(world.rows, { from: moment(2000 * second) as Moment, limit: 10 }), [])
})

test('flushes are found by moment, and counted in stretches of activity', async () => {
  const flush = mark({ type: 'flush' })
  using world = await rowsOf([
    [
      [1, write],
      [2, flush],
      [3, write],
    ],
    [
      [10, flush],
      [11, flush],
      [11, write],
    ],
    [[20, write]],
  ])
  const { rows } = world
  const last = (at?: number): number =>
    resolvePoint(rows, { kind: 'flush', moment: at === undefined ? undefined : moment(at * second) }).sequence
  assert.deepEqual([last(), last(2), last(9), last(10), last(10.5), last(11), last(99)], [5, 2, 2, 4, 4, 5, 5])
  assert.throws(
    () => last(1.5),
    (error) => isCode(error, 'point-unreachable'),
  )
  const told = listPoints(rows, { limit: 10 }).map((row) => row.kind === 'activity' && [row.changes, row.flushes])
  assert.deepEqual(told, [
    [3, { count: 1, last: 2 }],
    [3, { count: 2, last: 5 }],
    [1, undefined],
  ])
})

test('batches side by side are one row of activity, or rows of their own for who looks closely', async () => {
  using world = await rowsOf([[[10, write]], [[10.4, write]], [[10.9, write]], [[20, write]]])
  const rowsAt = (restUs?: number) =>
    listPoints(world.rows, { limit: 50, ...(restUs === undefined ? {} : { restUs }) }).length
  assert.deepEqual([rowsAt(), rowsAt(0), rowsAt(450_000), rowsAt(60 * second)], [2, 4, 3, 1])
})

test('holes of a span are told however many other marks there are, one that only reaches into it and one that goes on too', async () => {
  const hole = (since: number, reason: string): Change => mark({ type: 'hole', since: moment(since * second), reason })
  const complete = mark({ type: 'complete', reason: 'schedule' })
  const users = Array.from(
    { length: 3_000 },
    (_, at) => [[41 + at / 1_000, mark({ type: 'user', label: `${at}` })]] as const,
  )
  using world = await rowsOf([
    [[10, write]],
    [[20, hole(15, 'first')]],
    [[25, complete]],
    [[40, hole(35, 'second')]],
    ...users.map((changes) => [...changes]),
    [[50, complete]],
    [[70, hole(65, 'third')]],
  ])
  const told = (from: number, to: number) =>
    listHoles(world.rows, { from: moment(from * second), to: moment(to * second) }).map(({ reason }) => reason)
  assert.deepEqual(told(0, 100), ['first', 'second', 'third'])
  assert.deepEqual(told(45, 46), ['second'])
  assert.deepEqual([told(26, 35), told(0, 15), told(51, 60)], [[], [], []])
  assert.deepEqual([told(25, 36), told(90, 100)], [['first', 'second'], ['third']])
})
