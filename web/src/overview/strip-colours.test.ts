import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  lastDay,
  lastDayFromMs,
  runsOf,
  stepColour,
  stepMs,
  stepsOfDay,
  upperBound,
  worstStrip,
} from './strip-colours.ts'

const minuteMs = 60_000

test('a step is coloured by its lag and by what the policy allows', () => {
  const digits = '0123456789abcdef'.split('').map((digit) => Number.parseInt(digit, 16))
  assert.deepEqual(
    digits.map((digit) => stepColour(digit, minuteMs)),
    ['none', 'unknown', '1', '1', '1', '1', '2', '2', '2', '3', '3', 'late', 'late', 'bad', 'bad', 'bad'],
  )
  assert.equal(stepColour(8, 5_000), 'late', 'what one system allows is late for another')
  assert.equal(upperBound(2), 100)
  assert.equal(upperBound(15), null)
})

test('a system is as bad as the worst of its sources, step by step; neighbours of one colour are one', () => {
  assert.deepEqual(worstStrip(['0024', '0b12', '1']), [1, 11, 2, 4])
  assert.deepEqual(worstStrip([]), [])
  assert.deepEqual(runsOf([2, 3, 11, 11, 0], minuteMs), [
    { colour: '1', from: 0, steps: 2 },
    { colour: 'late', from: 2, steps: 2 },
    { colour: 'none', from: 4, steps: 1 },
  ])
})

test('the last day ends now, wherever the vault begins and ends what it tells', () => {
  const fromMs = 1_000 * stepMs
  const nowMs = fromMs + 293.2 * stepMs
  const told = '0'.repeat(293) + '5' + '0'.repeat(6)
  const day = lastDay(told, fromMs, nowMs)
  assert.equal(day.length, stepsOfDay)
  assert.equal(day.at(-1), '5')
  assert.equal(lastDayFromMs(fromMs, nowMs), fromMs + 6 * stepMs)
  assert.equal(lastDay('7', fromMs, fromMs + 1), '7'.padStart(stepsOfDay, '0'))
})
