import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Life, MachineClock, SimulatedTime } from '../../test/sim/clock.ts'
import { Trace } from '../../test/sim/trace.ts'
import type { Clock } from '../base/clock.ts'
import { sequence } from '../model/sequence.ts'
import { bandwidthLimits } from '../api/tasks.ts'
import { type BandwidthLimit, limitAt } from '../model/bandwidth.ts'
import { Pace } from './pace.ts'
import { Window, windowBytesMin } from './window.ts'

const never = new AbortController().signal

function inVirtualTime<T>(world: (clock: Clock) => Promise<T>): Promise<T> {
  const time = new SimulatedTime()
  return time.run(world(new MachineClock(time, new Life('test', new Trace()), { us: 1.7e15 })), 3_600_000)
}

const always = (bytesPerSecond: number): BandwidthLimit[] => [{ from: '00:00', to: '24:00', bytesPerSecond }]

test('what is sent stays below the limit, whatever the size of the parts', () =>
  inVirtualTime(async (clock) => {
    for (const part of [100, 10_000, 600_000]) {
      const pace = new Pace(always(1_000_000), clock)
      const started = clock.monotonicMs()
      for (let sent = 0; sent < 10_000_000; sent += part) await pace.take(part, true, never)
      const rate = 10_000_000 / (clock.monotonicMs() - started)
      assert.ok(rate < 1070 && rate > 900, `${rate} bytes per ms in parts of ${part}`)
    }
  }))

test('live changes go before bulk that waits', () =>
  inVirtualTime(async (clock) => {
    const pace = new Pace(always(100_000), clock)
    const order: string[] = []
    const take = async (what: string, bulk: boolean): Promise<void> => {
      await pace.take(50_000, bulk, never)
      order.push(what)
    }
    await Promise.all([
      take('bulk 1', true),
      take('bulk 2', true),
      take('bulk 3', true),
      clock.sleep(10).then(() => take('live', false)),
    ])
    assert.ok(order.indexOf('live') <= 1, order.join())
  }))

test('of the limits of the server and of the vault the lower holds, from when it is told', () =>
  inVirtualTime(async (clock) => {
    const pace = new Pace(always(1_000_000), clock)
    const measured = async (bytes: number): Promise<number> => {
      const started = clock.monotonicMs()
      for (let sent = 0; sent < bytes; sent += 10_000) await pace.take(10_000, true, never)
      return bytes / (clock.monotonicMs() - started)
    }
    assert.ok((await measured(5_000_000)) > 900)
    pace.limit(always(100_000))
    assert.ok((await measured(500_000)) < 130)
    pace.limit(always(9_000_000))
    assert.ok((await measured(5_000_000)) < 1100)
    const alone = new Pace([], clock)
    await alone.take(1e12, true, never)
    alone.limit(always(1024))
    await alone.take(1024 * 10, true, never)
    const waiting = alone.take(1, true, never)
    alone.limit([])
    const before = clock.monotonicMs()
    await waiting
    assert.ok(clock.monotonicMs() - before <= 1000, 'and so does that there is none any more')
  }))

test('a wait for the line ends when it is aborted', () =>
  inVirtualTime(async (clock) => {
    const pace = new Pace(always(1024), clock)
    await pace.take(1_000_000, false, never)
    const stop = new AbortController()
    const waiting = pace.take(1, false, stop.signal)
    stop.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
  }))

test('a schedule counts by the time of the server, wherever it is looked at', () => {
  const limits: BandwidthLimit[] = [{ from: '08:00', to: '09:00', days: [1], bytesPerSecond: 2000 }]
  // A Monday, 00:30 UTC.
  const nowMs = Date.parse('2026-11-23T00:30:00Z')
  assert.equal(limitAt(limits, nowMs, 480), 2000)
  assert.equal(limitAt(limits, nowMs, 0), undefined)
})

test('a schedule counts by local time and day, also over midnight', () => {
  const limits: BandwidthLimit[] = [
    { from: '22:00', to: '06:00', days: [5], bytesPerSecond: 9000 },
    { from: '08:00', to: '18:00', days: [1, 2, 3, 4, 5], bytesPerSecond: 2000 },
  ]
  const at = (day: number, hour: number, minute = 0): number | undefined =>
    limitAt(limits, new Date(2026, 10, 22 + day, hour, minute).getTime())
  assert.equal(at(1, 8), 2000)
  assert.equal(at(1, 17, 59), 2000)
  assert.equal(at(1, 18), undefined)
  assert.equal(at(6, 12), undefined)
  assert.equal(at(5, 23), 9000)
  assert.equal(at(6, 5, 59), 9000)
  assert.equal(at(6, 6), undefined)
  assert.equal(at(5, 5), undefined)
  assert.ok(bandwidthLimits.safeParse(limits).success)
  assert.ok(!bandwidthLimits.safeParse([{ from: '25:00', to: '06:00', bytesPerSecond: 5000 }]).success)
})

test('the window finds the capacity of a long line and gives bulk no more than it takes', () =>
  inVirtualTime(async (clock) => {
    const bytesPerMs = 5000
    const roundTripMs = 80
    const window = new Window(clock)
    let freeAt = 0
    let acknowledged = 0
    const started = clock.monotonicMs()
    for (let index = 1; clock.monotonicMs() - started < 120_000; index++) {
      await window.room(never)
      const last = sequence(index)
      window.sent(last, 100_000)
      freeAt = Math.max(freeAt, clock.monotonicMs()) + 100_000 / bytesPerMs
      void clock.sleep(freeAt - clock.monotonicMs() + roundTripMs).then(() => {
        acknowledged += 100_000
        window.acknowledged(last)
      })
    }
    const rate = acknowledged / (clock.monotonicMs() - started)
    assert.ok(rate > bytesPerMs * 0.85, `${rate} of ${bytesPerMs} bytes per ms`)
    assert.ok(window.bytesMax < bytesPerMs * (roundTripMs + 150), `${window.bytesMax}`)
    assert.ok(window.bytesMax > windowBytesMin)
  }))
