import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { moment } from './moment.ts'
import { parsePoint } from './recovery-point.ts'

const now = moment(1_800_000_000_000_000)

test('a point is latest, a moment, a sequence, a mark or a flush', () => {
  assert.deepEqual(parsePoint('latest', now), { kind: 'latest' })
  assert.deepEqual(parsePoint('10m ago', now), { kind: 'moment', moment: now - 600_000_000 })
  assert.deepEqual(parsePoint('2026-11-22T14:03:11.25Z', now), { kind: 'moment', moment: 1_795_356_191_250_000 })
  assert.deepEqual(parsePoint('seq:42', now), { kind: 'sequence', sequence: 42 })
  assert.deepEqual(parsePoint('seq:000000000000002a', now), { kind: 'sequence', sequence: 42 })
  assert.deepEqual(parsePoint('mark:before the upgrade', now), { kind: 'mark', label: 'before the upgrade' })
  assert.deepEqual(parsePoint('flush', now), { kind: 'flush', moment: undefined })
  assert.deepEqual(parsePoint('flush:10m ago', now), { kind: 'flush', moment: now - 600_000_000 })
})

test('anything else is refused with examples of what is not', () => {
  for (const text of [
    '',
    'yesterday',
    'seq:',
    'seq:-1',
    'seq:2a',
    'seq:ffffffffffffffff',
    'mark:',
    'flush:',
    'flush:latest',
    '99999w ago',
  ]) {
    assert.throws(
      () => parsePoint(text, now),
      (error) => isCode(error, 'bad-request') && error.hint?.includes('seq:N') === true,
      text,
    )
  }
})
