import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatMoment, isoMoment, moment, parseDurationMs, parseMoment } from './moment.ts'

const now = moment(Date.parse('2026-11-22T14:00:00Z') * 1000)

test('what a moment is printed as is read as the same moment', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000_000_000 }), (value) => {
      const one = moment(value)
      assert.equal(parseMoment(formatMoment(one), now), one)
      assert.equal(parseMoment(isoMoment(one), now), one)
    }),
  )
})

test('a moment may be written with or without seconds, fractions and a zone', () => {
  assert.equal(parseMoment('2026-11-22T14:03:11.250Z', now), Date.parse('2026-11-22T14:03:11.250Z') * 1000)
  assert.equal(parseMoment('2026-11-22 14:03:11.250001 +08:00', now), Date.parse('2026-11-22T06:03:11.250Z') * 1000 + 1)
  assert.equal(parseMoment('2026-11-22 14:03', now), Date.parse('2026-11-22T14:03:00') * 1000)
  assert.equal(parseMoment('2026-11-22', now), Date.parse('2026-11-22T00:00:00') * 1000)
})

test('a time ago counts from now', () => {
  assert.equal(parseMoment('10m ago', now), now - 600_000_000)
  assert.equal(parseMoment('1h30m ago', now), now - 5_400_000_000)
})

test('what is no moment is not guessed', () => {
  for (const text of [
    '',
    'yesterday',
    '14:03',
    '2026-13-01',
    'ago',
    '10 minutes ago',
    '2026-11-22T14:03:11.1234567Z',
  ]) {
    assert.equal(parseMoment(text, now), undefined, text)
  }
})

test('durations have units and may be joined', () => {
  assert.equal(parseDurationMs('90s'), 90_000)
  assert.equal(parseDurationMs('7d'), 604_800_000)
  assert.equal(parseDurationMs('1.5h'), 5_400_000)
  for (const text of ['', '7', 'd', '-1s', '1y']) assert.equal(parseDurationMs(text), undefined, text)
})
