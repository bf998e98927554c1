import assert from 'node:assert/strict'
import { test } from 'node:test'
import { moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { sequence } from '../model/sequence.ts'
import { lagBytes } from './answers.ts'

const report: CaptureReport = {
  state: 'live',
  covered: moment(1),
  upTo: sequence(20),
  dirty: 0,
  backlogBytes: 1000,
  watching: 'volume-log',
  problems: [],
}

test('a source is behind by what its agent holds, as long as it has not come, and by what the source still keeps', () => {
  assert.equal(lagBytes(undefined, 0), 0)
  assert.equal(lagBytes(report, 19), 1000)
  assert.equal(lagBytes(report, 20), 0)
  assert.equal(lagBytes({ ...report, uncapturedBytes: 300 }, 19), 1300)
  assert.equal(lagBytes({ ...report, uncapturedBytes: 300 }, 20), 300)
})
