import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type CommitListEntry, CommitListReader, CommitListWriter } from '../../src/format/commits.ts'
import { lsn, timeline } from '../../src/model/lsn.ts'
import { moment } from '../../src/model/moment.ts'

const file = join(import.meta.dirname, 'commits-1', '00000003000000160000000A')

const header = {
  major: 17,
  systemIdentifier: 0xf123_4567_89ab_cdefn,
  timeline: timeline(3),
  segmentBytes: 1 << 24,
  segmentStart: lsn(0x16_0a00_0000),
}
const at = (start: number, end: number, time: number) => ({
  start: lsn(header.segmentStart + start),
  end: lsn(header.segmentStart + end),
  time: moment(time),
})
const noon = 1_795_393_148_856_631
const entries: CommitListEntry[] = [
  { kind: 'commit', ...at(-24, 80, noon), xid: 4_294_967_290, subtransactions: 0 },
  { kind: 'commit', ...at(400, 472, noon + 900), xid: 4_294_967_291, subtransactions: 0, database: 16_384 },
  { kind: 'prepare', ...at(1000, 1200, noon + 700), xid: 5, subtransactions: 2, database: 16_384, gid: 'two phases' },
  { kind: 'restore-point', ...at(1200, 1304, noon + 2_000_000), name: 'vor dem Mittag – é' },
  { kind: 'commit-prepared', ...at(90_000, 90_088, noon + 3_000_000), xid: 5, subtransactions: 2, database: 16_384 },
  { kind: 'commit-prepared', ...at(90_088, 90_200, noon), xid: 3, subtransactions: 0, database: 5, gid: 'other' },
  { kind: 'commit', ...at(90_200, 412_240, noon + 4), xid: 77, subtransactions: 80_000, database: 5 },
]

test('a commit list of format version 1 is read for ever', () => {
  const bytes = readFileSync(file)
  const reader = new CommitListReader(bytes)
  assert.deepEqual(reader.header, header)
  assert.deepEqual([...reader], entries)
  assert.equal(reader.validBytes, bytes.length)
})

test('a commit list of format version 1 is written with the same bytes', () => {
  assert.deepEqual(new CommitListWriter(header).append(entries), readFileSync(file))
})
