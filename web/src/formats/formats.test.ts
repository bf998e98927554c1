import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatDuration } from './duration.ts'
import { formatMomentExactly } from './moment.ts'
import { formatCount, formatShare } from './number.ts'
import { formatBytes, formatRate } from './size.ts'

const words = { ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd' }

test('a size has three figures and the unit in which they say most', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '0.98 KiB'],
    [1024, '1.00 KiB'],
    [10_239, '10.0 KiB'],
    [1_536_000, '1.46 MiB'],
    [107_374_182_400, '100 GiB'],
    [2 ** 60, '1024 PiB'],
  ]
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text)
  assert.equal(formatRate(2 ** 20), '1.00 MiB/s')
})

test('a duration is told in its two largest units, and never as 60 of one', () => {
  const cases: [number, string][] = [
    [-5, '0 ms'],
    [0.494, '0.5 ms'],
    [340, '340 ms'],
    [999.6, '1.0 s'],
    [4_249, '4.2 s'],
    [59_499, '59 s'],
    [59_500, '1 min'],
    [192_000, '3 min 12 s'],
    [3_599_600, '1 h'],
    [7_500_000, '2 h 5 min'],
    [86_399_000, '1 d'],
    [1_047_600_000, '12 d 3 h'],
  ]
  for (const [ms, text] of cases) assert.equal(formatDuration(ms, words), text)
})

test('a moment is shown in local time, to the millisecond where that matters', () => {
  const local = new Date(2026, 10, 23, 14, 3, 7, 214)
  assert.equal(formatMomentExactly(local.toISOString()), '2026-11-23 14:03:07.214')
})

test('numbers are grouped, shares are per cent', () => {
  assert.equal(formatCount(12_345_678), '12\u202f345\u202f678')
  assert.equal(formatCount(999), '999')
  assert.equal(formatShare(0.3812), '38 %')
  assert.equal(formatShare(0.004), '0.4 %')
  assert.equal(formatShare(0), '0 %')
})
