import assert from 'node:assert/strict'
import { test } from 'node:test'
import { moment, type Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { sequence } from '../model/sequence.ts'
import { LiveSource } from './live.ts'
import { SourceMeter } from './meter.ts'

const report = (covered: number, upTo: number): CaptureReport => ({
  state: 'live',
  covered: moment(covered),
  upTo: sequence(upTo),
  dirty: 0,
  watching: 'fanotify',
  problems: [],
})

test('lag is unknown until something claimed is durable here', () => {
  const meter = new SourceMeter(sequence(0))
  meter.reported(report(1_000_000, 5), moment(1_000_000), moment(1_000_000))
  assert.equal(meter.lagMs(moment(2_000_000)), undefined)
  meter.durable(sequence(5), 5, 100, 0)
  assert.equal(meter.lagMs(moment(2_000_000)), 1000)
})

test('a claim beyond what is durable does not shorten the lag', () => {
  const meter = new SourceMeter(sequence(5))
  meter.reported(report(1_000_000, 5), moment(1_000_000), moment(1_000_000))
  meter.reported(report(3_000_000, 9), moment(3_000_000), moment(3_000_000))
  assert.equal(meter.lagMs(moment(3_000_000)), 2000)
})

test('lag grows while nothing is heard', () => {
  const meter = new SourceMeter(sequence(1))
  meter.reported(report(1_000_000, 1), moment(1_000_000), moment(1_000_000))
  assert.equal(meter.lagMs(moment(61_000_000)), 60_000)
})

test('an agent whose clock is an hour ahead is not an hour early', () => {
  const hour = 3_600_000_000
  const meter = new SourceMeter(sequence(1))
  meter.reported(report(1_000_000 + hour, 1), moment(1_000_000 + hour) as Moment, moment(1_000_000))
  assert.equal(meter.lagMs(moment(1_500_000)), 500)
})

test('rates are those of the last ten seconds', () => {
  const meter = new SourceMeter(sequence(0))
  meter.durable(sequence(10), 10, 1000, 0)
  meter.durable(sequence(20), 10, 1000, 9_000)
  assert.deepEqual(meter.rates(9_500), { changesPerSecond: 2, bytesPerSecond: 200 })
  assert.deepEqual(meter.rates(15_000), { changesPerSecond: 1, bytesPerSecond: 100 })
})

test('what was claimed in a session that is over does not count once other changes take those places', () => {
  const meter = new SourceMeter(sequence(900))
  meter.reported(report(5_000_000, 1000), moment(5_000_000), moment(5_000_000))
  meter.began(sequence(900))
  meter.durable(sequence(1000), 100, 0, 0)
  assert.equal(meter.lagMs(moment(6_000_000)), undefined)
})

test('an agent whose clock steps back does not hide that nothing comes any more', () => {
  const meter = new SourceMeter(sequence(1))
  meter.reported(report(3_600_000_000, 1), moment(3_600_000_000), moment(3_600_000_000))
  for (let second = 1; second <= 20; second++) {
    meter.reported(report(3_600_000_000, 1), moment(second * 1_000_000), moment(3_600_000_000 + second * 1_000_000))
  }
  assert.ok((meter.lagMs(moment(3_600_000_000 + 80_000_000)) ?? 0) >= 60_000)
})

test('the clock of the vault may be set: how old a claim is does not change', () => {
  let nowUs = 3_600_000_000
  let monotonicMs = 5_000
  const clock = { now: () => nowUs, monotonicMs: () => monotonicMs, sleep: () => Promise.resolve() }
  const source = new LiveSource(clock)
  source.meter.began(sequence(1))
  source.reported(report(1_000_000, 1), moment(1_000_000))
  for (const stepUs of [-3_600_000_000, 7_200_000_000]) {
    nowUs += stepUs
    monotonicMs += 1_000
    source.reported(report(1_000_000, 1), moment(1_000_000))
  }
  monotonicMs += 30_000
  assert.equal(source.meter.lagMs(monotonicMs * 1000), 32_000)
})

test('the time a report was under way counts as lag', () => {
  const meter = new SourceMeter(sequence(1))
  meter.reported(report(1_000_000, 1), moment(1_000_000), moment(1_000_000))
  meter.reported(report(2_000_000, 1), moment(2_000_000), moment(7_000_000))
  assert.equal(meter.lagMs(moment(7_000_000)), 5000)
})

test('a line that has become slow is not taken for a quick one because many reports came over it', () => {
  const meter = new SourceMeter(sequence(1))
  meter.reported(report(1_000_000, 1), moment(1_000_000), moment(1_000_000))
  // Ten reports a second for five seconds, each two seconds under way.
  let sent = 1_000_000
  for (let count = 0; count < 50; count++) {
    sent += 100_000
    meter.reported(report(sent, 1), moment(sent), moment(sent + 2_000_000))
  }
  assert.equal(meter.lagMs(moment(sent + 2_000_000)), 2000)
})
