import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Lsn, lsn, timeline, walSegmentName } from '../model/lsn.ts'
import { clip, historyOf, leadsTo, listsAlong, newestTimeline, reachAlong } from './wal-known.ts'

const segmentBytes = 1 << 20
const mib = (count: number): Lsn => lsn(count * segmentBytes)
const name = (on: number, segment: number): string => walSegmentName(timeline(on), mib(segment), segmentBytes)

/** Timeline 2 left 1 within segment 5, and 3 left 2 within segment 8. */
const history = historyOf(timeline(3), Buffer.from('1\t0/580000\tno recovery target\n\n2\t0/880000\twhy\n'))

test('a history is told in stretches, of which the last has no end', () => {
  assert.deepEqual(history, [
    { timeline: 1, start: 0, end: 0x58_0000 },
    { timeline: 2, start: 0x58_0000, end: 0x88_0000 },
    { timeline: 3, start: 0x88_0000 },
  ])
  assert.deepEqual(historyOf(timeline(1), undefined), [{ timeline: 1, start: 0 }])
  assert.throws(() => historyOf(timeline(3), Buffer.from('1\t0/2\tx\n2\t0/1\tx\n')), /goes back/)
})

test('a baseline leads to what follows it on its own branch only', () => {
  assert.ok(leadsTo(history, 1, mib(5)))
  assert.ok(!leadsTo(history, 1, mib(6)))
  assert.ok(leadsTo(history, 2, mib(6)))
  assert.ok(!leadsTo(history, 2, mib(9)))
  assert.ok(leadsTo(history, 3, mib(100)))
  assert.ok(!leadsTo(history, 4, mib(100)))
})

test('a part of a history keeps what lies between its ends', () => {
  assert.deepEqual(clip(history, mib(6), mib(7)), [{ timeline: 2, start: mib(6), end: mib(7) }])
  assert.deepEqual(clip(history, mib(8)), [
    { timeline: 2, start: mib(8), end: 0x88_0000 },
    { timeline: 3, start: 0x88_0000 },
  ])
})

test('WAL is taken from the newest timeline that had begun, up to the first file that lacks something', () => {
  const sizes = new Map<string, number>()
  for (const [on, from, to] of [
    [1, 3, 6],
    [2, 5, 8],
    [3, 8, 9],
  ] as const)
    for (let segment = from; segment <= to; segment++) sizes.set(name(on, segment), segmentBytes)
  sizes.set(name(3, 10), 1000)
  const { files, end } = reachAlong(sizes, history, lsn(mib(3) + 40), segmentBytes)
  assert.deepEqual(
    files.map((file) => file.name),
    [name(1, 3), name(1, 4), name(2, 5), name(2, 6), name(2, 7), name(3, 8), name(3, 9), name(3, 10)],
  )
  assert.equal(end, mib(10) + 1000)
  // A promotion is known before anything of its log is.
  const without = new Map([...sizes].filter(([one]) => !one.startsWith('00000002') && !one.startsWith('00000003')))
  assert.deepEqual(
    reachAlong(without, history, mib(4), segmentBytes).files.map((file) => file.name),
    [name(1, 4), name(1, 5)],
  )
  sizes.delete(name(2, 6))
  assert.equal(reachAlong(sizes, history, mib(3), segmentBytes).end, mib(6))
  assert.equal(reachAlong(sizes, history, mib(1), segmentBytes).end, mib(1))
})

test('lists come in the order of the history, without those of branches that were left', () => {
  const names = [name(3, 8), name(1, 5), name(1, 6), name(2, 5), name(2, 8), name(1, 4), 'other', name(7, 5)]
  assert.deepEqual(listsAlong(names, history, segmentBytes), [
    name(1, 4),
    name(1, 5),
    name(2, 5),
    name(2, 8),
    name(3, 8),
  ])
  assert.deepEqual(listsAlong(names, clip(history, mib(6)), segmentBytes), [name(2, 8), name(3, 8)])
})

test('the newest timeline is known from segments and histories', () => {
  assert.equal(newestTimeline([name(1, 4), '00000003.history', name(2, 5), 'x']), 3)
  assert.equal(newestTimeline([]), undefined)
})
