import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type CommitListEntry, CommitListWriter } from '../format/commits.ts'
import { lsn, timeline, walSegmentStart } from '../model/lsn.ts'
import { moment } from '../model/moment.ts'
import {
  findStop,
  findStopFromEnd,
  isCommit,
  type Stop,
  type Stretch,
  type Target,
  type TargetFromEnd,
} from './targets.ts'

const segmentBytes = 1 << 20
const history: Stretch[] = [{ timeline: timeline(1), start: lsn(0) }]

const at = (value: number) => ({ start: lsn(value), end: lsn(value + 80) })
const commit = (value: number, xid: number, time: number): CommitListEntry => ({
  kind: 'commit',
  ...at(value),
  xid,
  subtransactions: 0,
  time: moment(time),
})
const restorePoint = (value: number, name: string, time: number): CommitListEntry => ({
  kind: 'restore-point',
  ...at(value),
  name,
  time: moment(time),
})

/** Entries over three WAL segments. The xid 12 and the name "monday" come twice; times go back once. */
const all: CommitListEntry[] = [
  commit(0x10_0100, 12, 1000),
  commit(0x10_0200, 11, 2000),
  restorePoint(0x10_0300, 'monday', 2500),
  { kind: 'prepare', ...at(0x20_0000), xid: 13, subtransactions: 1, time: moment(3000), gid: 'g' },
  commit(0x20_0100, 15, 5000),
  commit(0x20_0200, 14, 4000),
  { kind: 'commit-prepared', ...at(0x20_0300), xid: 13, subtransactions: 1, time: moment(6000) },
  restorePoint(0x30_0000, 'monday', 6500),
  commit(0x30_0100, 12, 7000),
]

async function* lists(entries: readonly CommitListEntry[], on = 1): AsyncGenerator<Uint8Array> {
  const bySegment = Map.groupBy(entries, ({ end }) => walSegmentStart(lsn(end - 1), segmentBytes))
  for (const [segmentStart, inSegment] of bySegment) {
    const header = { major: 16, systemIdentifier: 9n, timeline: timeline(on), segmentBytes, segmentStart }
    yield new CommitListWriter(header).append(inSegment)
  }
}

const stopOf = (target: Target) => findStop(lists(all), history, target)

/** The stop after entry `kept` of `all`, counted from 1; 0 is before the first. */
const after = (kept: number, more: Partial<Stop> = {}): Stop => ({
  recoverTo: { lsn: (all[kept - 1] ?? all[0])?.start ?? lsn(0), inclusive: kept > 0 },
  kept: all[kept - 1],
  timeline: timeline(1),
  firstDropped: all[kept],
  droppedCommits: all.slice(kept).filter(isCommit).length,
  droppedNotLater: 0,
  ...more,
})

test('the latest is the end of the WAL', async () => {
  assert.deepEqual(await stopOf({ kind: 'latest' }), after(9, { recoverTo: 'end' }))
})

test('an LSN stops after what starts there, or before it', async () => {
  assert.deepEqual(await stopOf({ kind: 'lsn', lsn: lsn(0x20_0100), inclusive: true }), after(5))
  assert.deepEqual(await stopOf({ kind: 'lsn', lsn: lsn(0x20_0100), inclusive: false }), after(4))
  assert.deepEqual(await stopOf({ kind: 'lsn', lsn: lsn(0x20_01ff), inclusive: true }), after(5))
  assert.deepEqual(await stopOf({ kind: 'lsn', lsn: lsn(0x10_0000), inclusive: true }), after(0))
  assert.deepEqual(await stopOf({ kind: 'lsn', lsn: lsn(0x99_0000), inclusive: false }), after(9))
})

test('a transaction stops at its commit, also one that was prepared; of two with one xid at the later', async () => {
  assert.deepEqual(await stopOf({ kind: 'xid', xid: 15, inclusive: true }), after(5))
  assert.deepEqual(await stopOf({ kind: 'xid', xid: 15, inclusive: false }), after(4))
  assert.deepEqual(await stopOf({ kind: 'xid', xid: 13, inclusive: true }), after(7))
  assert.deepEqual(await stopOf({ kind: 'xid', xid: 12, inclusive: true }), after(9))
  assert.deepEqual(await stopOf({ kind: 'xid', xid: 12, inclusive: false }), after(8))
  assert.equal(await stopOf({ kind: 'xid', xid: 99, inclusive: true }), undefined)
})

test('a time stops before the first commit that is later; earlier ones that follow it are counted', async () => {
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(2000) }), after(4))
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(1999) }), after(1))
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(4500) }), after(4, { droppedNotLater: 1 }))
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(5000) }), after(6))
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(999) }), after(0))
  assert.deepEqual(await stopOf({ kind: 'time', time: moment(9000) }), after(9))
})

test('a restore point stops just after it; of two of a name after the later', async () => {
  assert.deepEqual(await stopOf({ kind: 'restore-point', name: 'monday' }), after(8))
  assert.equal(await stopOf({ kind: 'restore-point', name: 'tuesday' }), undefined)
})

test('the entry before and the one after an LSN are found', async () => {
  assert.deepEqual(await stopOf({ kind: 'previous', of: lsn(0x20_0100) }), after(4))
  assert.deepEqual(await stopOf({ kind: 'next', of: lsn(0x20_0100) }), after(6))
  assert.deepEqual(await stopOf({ kind: 'next', of: lsn(0) }), after(1))
  assert.deepEqual(await stopOf({ kind: 'previous', of: lsn(0x10_0100) }), after(0))
  assert.equal(await stopOf({ kind: 'next', of: lsn(0x30_0100) }), undefined)
})

test('lists without entries hold no place to stop at', async () => {
  for (const kind of ['latest', 'time'] as const) {
    assert.equal(await findStop(lists([]), history, { kind, time: moment(1) } as Target), undefined)
  }
})

test('along a history, what a promotion left behind is not there, and what it copied is there once', async () => {
  const fork = lsn(0x20_0190)
  const two = [commit(0x20_0200, 50, 8000), commit(0x30_0200, 51, 9000)]
  const path: Stretch[] = [
    { timeline: timeline(1), start: lsn(0), end: fork },
    { timeline: timeline(2), start: fork },
  ]
  async function* both() {
    yield* lists(all)
    yield* lists(
      [all[3], all[4], ...two].filter((one) => one !== undefined),
      2,
    )
  }
  const stop = await findStop(both(), path, { kind: 'lsn', lsn: lsn(0x20_0100), inclusive: true })
  assert.deepEqual(stop, after(5, { firstDropped: two[0], droppedCommits: 2 }))
  const later = await findStop(both(), path, { kind: 'xid', xid: 50, inclusive: true })
  assert.equal(later?.timeline, 2)
  assert.equal(later?.droppedCommits, 1)
  assert.equal(await findStop(both(), path, { kind: 'xid', xid: 14, inclusive: true }), undefined)
})

test('nothing later than the time asked for is ever kept, and the counts are right', async () => {
  const times = fc.array(fc.nat(100), { minLength: 1, maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(times, fc.nat(100), async (values, asked) => {
      const entries = values.map((time, index) => commit(0x10_0000 + index * 0x8000, index + 1, time))
      const stop = await findStop(lists(entries), history, { kind: 'time', time: moment(asked) })
      const first = entries.findIndex(({ time }) => time > asked)
      const kept = first < 0 ? entries.length : first
      assert.deepEqual(stop?.kept, entries[kept - 1])
      assert.equal(stop?.droppedCommits, entries.length - kept)
      assert.equal(stop?.droppedNotLater, entries.slice(kept).filter(({ time }) => time <= asked).length)
    }),
  )
})

/** Lists the newest first, counted as they are read. */
function fromEnd(of: readonly Uint8Array[]): { lists: AsyncGenerator<Uint8Array>; read: () => number } {
  let read = 0
  async function* backwards(): AsyncGenerator<Uint8Array> {
    for (const list of [...of].reverse()) {
      read++
      yield list
    }
  }
  return { lists: backwards(), read: () => read }
}

test('from the end the same is found, whatever the lists hold', async () => {
  const entry = fc.record({ kind: fc.nat(3), xid: fc.nat(6), name: fc.nat(2), time: fc.nat(100) })
  const made = fc.array(entry, { maxLength: 30 })
  const target = fc.record({
    kind: fc.nat(5),
    place: fc.nat(32),
    xid: fc.nat(7),
    name: fc.nat(3),
    inclusive: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(made, fc.nat(30), target, async (values, forkAt, wanted) => {
      const entries = values.map(({ kind, xid, name, time }, index): CommitListEntry => {
        const place = 0x10_0000 + index * 0x2_0000
        const parts = { ...at(place), time: moment(time) }
        if (kind === 0) return { kind: 'restore-point', ...parts, name: `n${name}` }
        const transaction = { ...parts, xid, subtransactions: 0 }
        if (kind === 1) return { kind: 'prepare', ...transaction, gid: 'g' }
        return { kind: kind === 2 ? 'commit-prepared' : 'commit', ...transaction }
      })
      const fork = lsn(0x10_0000 + forkAt * 0x2_0000 - 0x100)
      const path: Stretch[] = [
        { timeline: timeline(1), start: lsn(0), end: fork },
        { timeline: timeline(2), start: fork },
      ]
      const both: Uint8Array[] = []
      for await (const list of lists(entries)) both.push(list)
      for await (const list of lists(entries, 2)) both.push(list)
      const place = lsn(0x10_0000 + wanted.place * 0x2_0000)
      const { xid, inclusive } = wanted
      const targets: TargetFromEnd[] = [
        { kind: 'latest' },
        { kind: 'lsn', lsn: place, inclusive },
        { kind: 'lsn', lsn: lsn(place + 1), inclusive },
        { kind: 'previous', of: place },
        { kind: 'xid', xid, inclusive },
        { kind: 'restore-point', name: `n${wanted.name}` },
      ]
      const asked = targets[wanted.kind] as TargetFromEnd
      const forward = (async function* () {
        yield* both
      })()
      assert.deepEqual(await findStopFromEnd(fromEnd(both).lists, path, asked), await findStop(forward, path, asked))
    }),
    { numRuns: 500 },
  )
})

test('from the end no more lists are read than are left out, and the one before', async () => {
  const count = 200
  const entries = Array.from({ length: count }, (_, index) => commit(0x10_0000 * (index + 1), index + 1, index))
  const every: Uint8Array[] = []
  for await (const list of lists(entries)) every.push(list)
  const readFor = async (target: TargetFromEnd): Promise<number> => {
    const { lists: backwards, read } = fromEnd(every)
    assert.ok(await findStopFromEnd(backwards, history, target))
    return read()
  }
  assert.equal(await readFor({ kind: 'latest' }), 1)
  assert.equal(await readFor({ kind: 'xid', xid: count, inclusive: false }), 2)
  assert.equal(await readFor({ kind: 'xid', xid: count - 9, inclusive: true }), 10)
  assert.equal(await readFor({ kind: 'lsn', lsn: lsn(0x10_0000 * (count - 9)), inclusive: true }), 10)
})
