import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Moment, moment } from '../model/moment.ts'
import { type Amount, fullAt, growthBytesPerDay } from './forecast.ts'

const dayUs = 86_400_000_000
const at = (day: number): Moment => moment(20_000 * dayUs + Math.round(day * dayUs))
const amounts = (...bytes: number[]): Amount[] => bytes.map((one, day) => ({ at: at(day), bytes: one }))

test('growth is that of the last fourteen days, and one day out of the row does not make it', () => {
  assert.equal(growthBytesPerDay(amounts(0, 10, 20, 30)), 10)
  const grown = Array.from({ length: 30 }, (_, day) => (day < 15 ? 0 : (day - 15) * 10))
  assert.equal(growthBytesPerDay(amounts(...grown)), 10)
  const growth = growthBytesPerDay(amounts(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 500))
  assert.ok(growth !== null && growth < 30)
})

test('half a day says nothing yet, and what shrinks or hardly grows is never full', () => {
  assert.equal(growthBytesPerDay([]), null)
  assert.equal(
    growthBytesPerDay([
      { at: at(0), bytes: 0 },
      { at: at(0.4), bytes: 10 },
    ]),
    null,
  )
  assert.equal(fullAt(at(0), 100, null), null)
  assert.equal(fullAt(at(0), 100, -1), null)
  assert.equal(fullAt(at(0), 1e12, 0.001), null)
  assert.equal(fullAt(at(0), 100, 10), at(10))
})
