import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytes, mangled, record } from '../../test/support/arbitrary.ts'
import { Malformed } from '../base/bytes.ts'
import { lsn, timeline } from '../model/lsn.ts'
import { moment } from '../model/moment.ts'
import {
  type CommitListEntry,
  type CommitListHeader,
  commitListHeaderBytes,
  commitListOf,
  commitListPath,
  CommitListReader,
  CommitListWriter,
} from './commits.ts'

const header: CommitListHeader = {
  major: 17,
  systemIdentifier: 0xf000_0000_0000_0007n,
  timeline: timeline(3),
  segmentBytes: 1 << 24,
  segmentStart: lsn(0x16_0300_0000),
}

const u32 = fc.nat(0xffff_ffff)
const time = fc.oneof(
  fc.integer({ min: 1_700_000_000_000_000, max: 1_700_000_100_000_000 }),
  fc.nat({ max: 2 ** 53 - 1 }),
)
const text = fc.string({ maxLength: 60, unit: 'binary' }).map((one) => one.toWellFormed())
const told = {
  gap: fc.nat(20_000),
  length: fc.oneof(fc.integer({ min: 34, max: 90 }), fc.integer({ min: 34, max: 30_000 })),
  time,
  name: text,
  xid: u32,
  subtransactions: fc.oneof(fc.constant(0), u32),
  database: fc.option(fc.oneof(fc.constant(5), u32), { nil: undefined }),
  gid: fc.option(text, { nil: undefined }),
  kind: fc.constantFrom('commit', 'commit', 'commit-prepared', 'prepare', 'restore-point'),
}

/** In the order of the WAL; the first may begin before the segment. */
const entriesOf = (minLength: number) =>
  record({ before: fc.nat(100), list: fc.array(record(told), { minLength, maxLength: 40 }) }).map(
    ({ before, list }) => {
      let at = header.segmentStart - before
      return list.map((one): CommitListEntry => {
        const start = lsn(at + (at < header.segmentStart ? 0 : one.gap))
        const end = lsn(start + one.length + 100)
        at = end
        const place = { start, end, time: moment(one.time) }
        if (one.kind === 'restore-point') return { kind: one.kind, ...place, name: one.name }
        const database = one.database === undefined ? {} : { database: one.database }
        const transaction = { ...place, ...database, xid: one.xid, subtransactions: one.subtransactions }
        switch (one.kind) {
          case 'commit':
            return { kind: one.kind, ...transaction }
          case 'prepare':
            return { kind: one.kind, ...transaction, gid: one.gid ?? '' }
          default:
            return { kind: 'commit-prepared', ...transaction, ...(one.gid === undefined ? {} : { gid: one.gid }) }
        }
      })
    },
  )

const entries = entriesOf(0)
const listOf = (list: readonly CommitListEntry[]): Buffer => new CommitListWriter(header).append(list)

test('a commit list says again what was written, appended in any pieces and by a writer that was resumed', () => {
  fc.assert(
    fc.property(entries, fc.nat(40), (list, cut) => {
      const whole = listOf(list)
      let writer = new CommitListWriter(header)
      const first = writer.append(list.slice(0, cut))
      assert.ok(writer.snapshot().length < 100)
      writer = CommitListWriter.resume(writer.snapshot())
      assert.deepEqual(Buffer.concat([first, writer.append(list.slice(cut))]), whole)
      assert.equal(writer.length, whole.length)
      const reader = new CommitListReader(whole)
      assert.deepEqual(reader.header, header)
      assert.deepEqual([...reader], list)
      assert.equal(reader.validBytes, whole.length)
    }),
  )
})

test('an ordinary commit takes at most 14 bytes', () => {
  const list = Array.from({ length: 1000 }, (_, index): CommitListEntry => {
    const start = lsn(header.segmentStart + 40 + index * 9000)
    const at = moment(1_795_393_148_856_631 + index * 15_000)
    const about = { xid: 7_000_000 + index * 3, subtransactions: 0, time: at, database: 16_384 }
    return { kind: 'commit', start, end: lsn(start + 72), ...about }
  })
  assert.ok((listOf(list).length - commitListHeaderBytes) / list.length <= 14)
})

test('a torn tail is told from what counts, wherever the file is cut', () => {
  const [list = []] = fc.sample(entriesOf(20), { numRuns: 1, seed: 7 })
  const whole = listOf(list)
  const ends = list.map((_, index) => listOf(list.slice(0, index + 1)).length)
  for (let length = 0; length < whole.length; length++) {
    const cut = whole.subarray(0, length)
    if (length < commitListHeaderBytes) assert.throws(() => new CommitListReader(cut), Malformed)
    else {
      const reader = new CommitListReader(cut)
      const count = ends.filter((end) => end <= length).length
      assert.deepEqual([...reader], list.slice(0, count))
      assert.equal(reader.validBytes, ends[count - 1] ?? commitListHeaderBytes)
      const filled = new CommitListReader(Buffer.concat([cut, Buffer.alloc(100)]))
      assert.deepEqual([...filled].slice(0, count), list.slice(0, count))
    }
  }
})

test('a changed byte ends the list there', () => {
  const [list = []] = fc.sample(entriesOf(20), { numRuns: 1, seed: 11 })
  const whole = listOf(list)
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole)
    changed[at] = (changed[at] as number) ^ 0x04
    try {
      const reader = new CommitListReader(changed)
      const read = [...reader]
      assert.ok(at >= commitListHeaderBytes && reader.validBytes <= at)
      assert.deepEqual(read, list.slice(0, read.length))
    } catch (error) {
      assert.ok(error instanceof Malformed && at < commitListHeaderBytes, String(error))
    }
  }
})

test('bytes of any kind are a list, the start of one, or refused', () => {
  const check = (raw: Uint8Array) => {
    try {
      const reader = new CommitListReader(raw)
      assert.ok([...reader].length <= raw.length / 8 && reader.validBytes <= raw.length)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
    }
  }
  fc.assert(fc.property(mangled(entries.map(listOf)), check))
  fc.assert(fc.property(bytes(300), check))
  fc.assert(fc.property(bytes(300), (raw) => check(Buffer.concat([listOf([]), raw]))))
})

test('a snapshot of a writer that is none is refused', () => {
  const good = fc.constant(new CommitListWriter(header).snapshot())
  fc.assert(
    fc.property(mangled(good), (raw) => {
      try {
        CommitListWriter.resume(raw)
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
      }
    }),
  )
})

test('an entry is in the list of the WAL segment that holds its last byte', () => {
  const entry = (start: number, end: number): CommitListEntry => ({
    kind: 'restore-point',
    start: lsn(start),
    end: lsn(end),
    name: 'here',
    time: moment(1),
  })
  assert.equal(commitListOf(entry(0x1ff_fff0, 0x200_0000), 1 << 24), 0x100_0000)
  assert.equal(commitListOf(entry(0x1ff_fff0, 0x200_0048), 1 << 24), 0x200_0000)
  assert.equal(commitListPath(header.timeline, header.segmentStart, 1 << 24), 'commits/000000030000001600000003')
})
