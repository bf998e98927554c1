import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TidemarkError } from '../base/errors.ts'
import { type CommitListEntry, CommitListWriter } from '../format/commits.ts'
import { type Baseline, baselinesPath, commitsFolder, encodeBaseline, walFolder } from '../format/postgres-tree.ts'
import { lsn, timeline, walSegmentName, walSegmentStart } from '../model/lsn.ts'
import { type Moment, moment } from '../model/moment.ts'
import { parsePostgresPoint } from '../model/postgres-point.ts'
import { sequence } from '../model/sequence.ts'
import { listTransactions, pointOf, type Recoverable, transactionsAround } from './transactions.ts'
import type { TreeReader } from './tree-reader.ts'

const segmentBytes = 1 << 20
const on = timeline(1)
const now = moment(2_000_000_000_000_000)
const baseline: Baseline = {
  number: 1,
  sequence: 1,
  systemId: '9',
  timeline: 1,
  start: segmentBytes,
  end: segmentBytes,
  version: 170_010,
  segmentBytes,
  files: 0,
  bytes: 0,
  tablespaces: [],
  properties: {},
}

/** The journal of a cluster with these entries; at `seq:N` the first N of them are known. What is read of it is counted. */
class Listed implements TreeReader {
  readonly entries: readonly CommitListEntry[]
  reads = 0

  constructor(entries: readonly CommitListEntry[]) {
    this.entries = entries
  }

  resolve(point: string) {
    const at = point === 'latest' ? this.entries.length : Number(/^seq:(\d+)$/.exec(point)?.[1])
    return Promise.resolve({ at: sequence(at), moment: moment(at) })
  }

  list(folder: string, at: number) {
    const files = [...this.#lists(at)].map(([name, { length: bytes }]) => ({ name, bytes }))
    assert.ok(folder === walFolder || folder === commitsFolder)
    return Promise.resolve(files)
  }

  async *read(path: string, at: number, range?: { from: number; bytes: number }) {
    this.reads++
    const whole = path === baselinesPath ? encodeBaseline(baseline) : this.#lists(at).get(path.slice('commits/'.length))
    if (whole === undefined) throw new TidemarkError('not-found', { message: path })
    yield whole.subarray(range?.from, range && range.from + range.bytes)
  }

  #lists(at: number): Map<string, Buffer> {
    const bySegment = Map.groupBy(this.entries.slice(0, at), ({ end }) => walSegmentStart(lsn(end - 1), segmentBytes))
    return new Map(
      [...bySegment].map(([segmentStart, entries]) => {
        const header = { major: 17, systemIdentifier: 9n, timeline: on, segmentBytes, segmentStart }
        return [walSegmentName(on, segmentStart, segmentBytes), new CommitListWriter(header).append(entries)]
      }),
    )
  }
}

const commit = (start: number, xid: number, time: number): CommitListEntry => ({
  kind: 'commit',
  start: lsn(start),
  end: lsn(start + 80),
  xid,
  subtransactions: 0,
  time: moment(time),
})

/** Commits of which each is a second later than the one before, some of them a segment further on. */
const steady = (count: number, perList: number): CommitListEntry[] =>
  Array.from({ length: count }, (_, index) => {
    const list = 1 + Math.floor(index / perList)
    return commit(list * segmentBytes + 200 * (index % perList), 100 + index, 1_000_000 * (index + 1))
  })

const xids = (rows: readonly Recoverable[]): number[] =>
  rows.map(({ entry }) => (entry.kind === 'restore-point' ? 0 : entry.xid))

test('around a moment stand the last commits not later than it, and the first that are', async () => {
  const tree = new Listed(steady(50, 7))
  const { before, after } = await transactionsAround(tree, { kind: 'moment', moment: moment(20_500_000) }, 3)
  assert.deepEqual(
    [xids(before), xids(after)],
    [
      [119, 118, 117],
      [120, 121, 122],
    ],
  )
  assert.deepEqual(
    before.map((row) => row.bytes),
    [200, 200, 200],
  )
  const early = await transactionsAround(tree, { kind: 'moment', moment: moment(1) }, 2)
  assert.deepEqual([early.before, xids(early.after)], [[], [100, 101]])
  const late = await transactionsAround(tree, { kind: 'moment', moment: now }, 2)
  assert.deepEqual([xids(late.before), late.after], [[149, 148], []])
})

test('each transaction is told with the points just before and just after it, and these mean what they say', async () => {
  const tree = new Listed(steady(40, 6))
  const { rows } = await listTransactions(tree, { limit: 100, order: 'oldest' })
  for (const row of rows) {
    const [own] = xids([row])
    const after = await transactionsAround(tree, parsePostgresPoint(pointOf(row, 'after', undefined), now), 1)
    assert.deepEqual(xids(after.before), [own])
    const before = await transactionsAround(tree, parsePostgresPoint(pointOf(row, 'before', undefined), now), 1)
    assert.deepEqual(xids(before.after), [own])
  }
  assert.equal(pointOf(rows[0] as Recoverable, 'before', timeline(3)), 'before:lsn:0/100000@3')
})

test('a transaction, a restore point and a place in the journal are found as a recovery finds them', async () => {
  const entries = steady(30, 4)
  entries.splice(10, 1, {
    kind: 'restore-point',
    start: entries[10]!.start,
    end: entries[10]!.end,
    name: 'monday',
    time: moment(11_000_000),
  })
  const tree = new Listed(entries)
  const around = async (text: string): Promise<[number[], number[]]> => {
    const { before, after } = await transactionsAround(tree, parsePostgresPoint(text, now), 1)
    return [xids(before), xids(after)]
  }
  assert.deepEqual(await around('xid:115'), [[115], [116]])
  assert.deepEqual(await around('before:xid:115'), [[114], [115]])
  assert.deepEqual(await around('restore-point:monday'), [[0], [111]])
  assert.deepEqual(await around('seq:20'), [[119], [120]])
  assert.deepEqual(await around('latest'), [[129], []])
  await assert.rejects(around('xid:7'), /no commit of transaction 7/)
})

test('a span is told from either end, all of it in pages, and nothing besides', async () => {
  const tree = new Listed(steady(60, 5))
  const from = { moment: moment(10_500_000) }
  const to = { moment: moment(40_500_000) }
  const wanted = Array.from({ length: 30 }, (_, index) => 110 + index)
  const all = await listTransactions(tree, { from, to, limit: 30, order: 'newest' })
  assert.deepEqual([xids(all.rows), all.more], [wanted.toReversed(), false])
  const oldest = await listTransactions(tree, { from, to, limit: 30, order: 'oldest' })
  assert.deepEqual([xids(oldest.rows), oldest.more], [wanted, false])
  assert.deepEqual(
    oldest.rows.map(({ bytes }) => bytes),
    all.rows.map(({ bytes }) => bytes).toReversed(),
  )

  const paged: number[] = []
  for (let upTo: Parameters<typeof listTransactions>[1]['to'] = to; ;) {
    const { rows, more } = await listTransactions(tree, { from, to: upTo, limit: 7, order: 'newest' })
    paged.push(...xids(rows))
    if (!more) break
    upTo = { lsn: rows.at(-1)!.entry.start, inclusive: false }
  }
  assert.deepEqual(paged, wanted.toReversed())
  const nothing = { moment: moment(10_600_000) }
  assert.deepEqual((await listTransactions(tree, { from, to: nothing, limit: 9, order: 'oldest' })).rows, [])
})

test('the same is found as by reading everything, where clocks go back by less than a list holds', async () => {
  let state = 11
  const chance = (): number => (state = (state * 48_271) % 0x7fff_ffff) / 0x7fff_ffff
  for (let round = 0; round < 60; round++) {
    const perList = 1 + Math.floor(chance() * 9)
    const entries = steady(1 + Math.floor(chance() * 80), perList).map((entry) => ({
      ...entry,
      time: moment(entry.time + Math.floor(chance() * 1_000_000 * (perList - 1))),
    }))
    const tree = new Listed(entries)
    const time = moment(Math.floor(chance() * 90_000_000))
    const stop = entries.findIndex((entry) => entry.time > time)
    const split = stop < 0 ? entries.length : stop
    const { before, after } = await transactionsAround(tree, { kind: 'moment', moment: time as Moment }, 5)
    const plain = entries.map((entry) => (entry.kind === 'commit' ? entry.xid : 0))
    assert.deepEqual(xids(before), plain.slice(Math.max(0, split - 5), split).toReversed(), `round ${round}`)
    assert.deepEqual(xids(after), plain.slice(split, split + 5), `round ${round}`)
  }
})

test('a moment long ago is found by reading a few of very many lists', async () => {
  const tree = new Listed(steady(3_000, 1))
  await transactionsAround(tree, { kind: 'moment', moment: moment(1_234_500_000) }, 3)
  assert.ok(tree.reads < 60, `${tree.reads} reads`)
})
