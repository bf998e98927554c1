import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseLimit } from './agents.ts'

test('a limit is written by days, times and rate', () => {
  assert.deepEqual(parseLimit('08:00-18:00=2MiB/s'), { from: '08:00', to: '18:00', bytesPerSecond: 2 * 1024 * 1024 })
  assert.deepEqual(parseLimit('mon-fri 22:00-06:00=500KiB/s').days, [1, 2, 3, 4, 5])
  assert.deepEqual(parseLimit('fri-mon 00:00-24:00=1GiB').days, [0, 1, 5, 6])
  assert.deepEqual(parseLimit('sat,sun 00:00-24:00=1GiB').days, [0, 6])
  for (const wrong of ['08:00=1MiB', 'day 08:00-18:00=1MiB', '08:00-18:00=fast', '', 'mon- 08:00-18:00=1MiB'])
    assert.throws(() => parseLimit(wrong), { code: 'bad-request' }, wrong)
})
