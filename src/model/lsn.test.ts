import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Malformed } from '../base/bytes.ts'
import {
  advanceLsn,
  formatLsn,
  historyFileName,
  lsn,
  parseLsn,
  parseTimeline,
  parseWalSegmentName,
  timeline,
  walSegmentName,
  walSegmentStart,
} from './lsn.ts'

const MiB = 1024 * 1024
const anyLsn = fc.maxSafeNat().map(lsn)
const segmentBytes = fc.integer({ min: 0, max: 10 }).map((power) => MiB * 2 ** power)

test('an LSN is written as PostgreSQL writes it', () => {
  assert.equal(formatLsn(parseLsn('16/B374D848')), '16/B374D848')
  assert.equal(formatLsn(lsn(0)), '0/0')
  assert.equal(parseLsn('1/0'), 2 ** 32)
  assert.equal(formatLsn(advanceLsn(parseLsn('0/FFFFFFFF'), 1)), '1/0')
  fc.assert(fc.property(anyLsn, (value) => assert.equal(parseLsn(formatLsn(value)), value)))
})

test('text that is no LSN, timeline or name of a WAL segment is refused', () => {
  for (const text of ['', '0', '/', '0/', '/0', '0/123456789', 'G/0', '0/0 ', '-1/0', 'FFFFFFFF/FFFFFFFF']) {
    assert.throws(() => parseLsn(text), Malformed, text)
  }
  for (const text of ['', '0', '-1', '1.5', '4294967296', '0x1'])
    assert.throws(() => parseTimeline(text), Malformed, text)
  for (const name of ['', '00000002.history', '000000000000000000000001', '000000010000000000000100', 'x'.repeat(24)]) {
    assert.throws(() => parseWalSegmentName(name, 16 * MiB), Malformed, name)
  }
})

test('WAL segments have the names that pg_walfile_name gives them', () => {
  assert.equal(walSegmentName(timeline(1), parseLsn('16/B374D848'), 16 * MiB), '0000000100000016000000B3')
  assert.equal(walSegmentName(timeline(26), parseLsn('1/0'), 16 * MiB), '0000001A0000000100000000')
  assert.equal(walSegmentName(timeline(1), parseLsn('0/FFFFFFFF'), MiB), '000000010000000000000FFF')
  assert.equal(historyFileName(timeline(26)), '0000001A.history')
})

test('the name of a WAL segment leads back to its start, and names list in order', () => {
  fc.assert(
    fc.property(anyLsn, anyLsn, segmentBytes, fc.integer({ min: 1, max: 0xffff_ffff }), (a, b, bytes, on) => {
      const name = walSegmentName(timeline(on), a, bytes)
      const start = walSegmentStart(a, bytes)
      fc.pre(start < 2 ** 53)
      assert.deepEqual(parseWalSegmentName(name, bytes), { timeline: on, start })
      if (start < walSegmentStart(b, bytes)) assert.ok(name < walSegmentName(timeline(on), b, bytes))
    }),
  )
})
