import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PointRow } from '../../../src/api/schemas.ts'
import { heightOf, toDensity } from './density.ts'
import { Gestures, wheeled } from './gestures.ts'
import { hitAt, momentOf, roundMoment } from './hit.ts'
import { fromLocal, readLocal, toInstant, toIso, writeLocal, type Zone } from './instant.ts'
import { merged, toHoles, toLandmarks } from './landmarks.ts'
import { bounded, fitted, panned, pixelAt, resized, timeAt, until, zoomed } from './scale.ts'
import { tickLabels } from './tick-labels.ts'
import { ticksOf } from './ticks.ts'
import { childrenOf, columnsOfTile, levelOf, parentOf, tileFrom, tileLength, tilesWanted, tileUntil } from './tiles.ts'

const beijing: Zone = () => 480
const noon = toInstant('2026-11-22T04:00:00.000000Z')
const second = 1_000_000
const hour = 3600 * second
const day = 24 * hour

test('a moment keeps its microseconds from the API to the API', () => {
  for (const iso of ['2026-11-22T14:03:11.250001Z', '2026-11-22T14:03:11.999999Z', '1999-01-01T00:00:00.000000Z'])
    assert.equal(toIso(toInstant(iso)), iso)
  assert.equal(toInstant('2026-11-22T14:03:11Z'), toInstant('2026-11-22T14:03:11.000000Z'))
})

test('a typed time is read in the zone, to the microsecond, in the ways people write it', () => {
  const near = noon
  for (const [text, iso] of [
    ['2026-11-22 14:03:11.250', '2026-11-22T06:03:11.250000Z'],
    ['2026-11-22T14:03', '2026-11-22T06:03:00.000000Z'],
    ['2026年11月22日 14:03:11', '2026-11-22T06:03:11.000000Z'],
    ['14:03:11.000001', '2026-11-22T06:03:11.000001Z'],
    ['2026/1/5', '2026-01-04T16:00:00.000000Z'],
  ] as const)
    assert.equal(toIso(readLocal(text, beijing, near) ?? NaN), iso, text)
  for (const text of ['', 'yesterday', '2026-02-30 10:00', '25:00', '12:61'])
    assert.equal(readLocal(text, beijing, near), undefined, text)
  assert.equal(writeLocal(noon + 250_001, beijing, 6), '2026-11-22 12:00:00.250001')
  assert.equal(readLocal(writeLocal(noon + 7, beijing, 6), beijing, near), noon + 7)
})

test('zooming keeps what is at the cursor, and dragging moves by what was dragged', () => {
  const scale = fitted(noon, noon + day, 1200)
  const at = timeAt(scale, 300)
  const near = zoomed(scale, 300, 0.001)
  assert.ok(Math.abs(pixelAt(near, at) - 300) < 0.01)
  assert.equal(timeAt(panned(scale, 100), 400), timeAt(scale, 300))
  assert.equal(until(resized(scale, 700)), until(scale))
})

test('from a microsecond a pixel to decades, and never beyond what there is', () => {
  let scale = fitted(noon, noon + day, 1000)
  for (let step = 0; step < 200; step++) scale = zoomed(scale, 10, 0.5)
  assert.equal(scale.perPixel, 1)
  const bounds = { earliest: noon - 30 * day, latest: noon }
  for (let step = 0; step < 200; step++) scale = bounded(zoomed(scale, 10, 2), bounds)
  assert.ok(scale.perPixel * scale.width <= 90 * day + 1)
  for (const pixels of [1e9, -1e9]) {
    const far = bounded(panned(scale, pixels), bounds)
    assert.ok(far.from < bounds.latest && until(far) > bounds.earliest)
  }
})

test('ticks stand at round places of the zone, apart enough, at every zoom', () => {
  for (let perPixel = 1; perPixel < 1e12; perPixel *= 1.7) {
    const scale = { from: noon - 500 * perPixel, perPixel, width: 1000 }
    const { fine, coarse } = ticksOf(scale, beijing, 90)
    assert.ok(fine.length <= 1000 / 75 + 1, `${fine.length} ticks at ${perPixel}`)
    for (const [index, { at }] of fine.entries())
      assert.ok(index === 0 || at - fine[index - 1]!.at >= 60 * perPixel, `ticks too near at ${perPixel}`)
    if (fine[0]?.unit !== 'year')
      assert.ok((coarse[0]?.at ?? Infinity) <= scale.from, `the left edge has no day at ${perPixel}`)
  }
  const days = ticksOf(fitted(noon, noon + 8 * day, 1000), beijing, 90).fine
  assert.ok(days.every(({ at }) => writeLocal(at, beijing, 6).endsWith('00:00:00.000000')))
  const months = ticksOf(fitted(noon, noon + 300 * day, 1000), beijing, 60).fine
  assert.ok(months.every(({ at }) => writeLocal(at, beijing, 0).endsWith('01 00:00:00')))
})

test('the axis speaks the language of the user, and tells no more than changes', () => {
  const at = (iso: string) => toInstant(iso)
  const zh = tickLabels('zh-CN', beijing)
  const en = tickLabels('en', beijing)
  assert.equal(zh.fine({ at: noon, unit: 'minute' }), '12:00')
  assert.equal(zh.coarse({ at: noon, unit: 'day' }).replaceAll(' ', ''), '2026年11月22日周日')
  assert.equal(en.coarse({ at: noon, unit: 'month' }), 'November 2026')
  assert.equal(en.fine({ at: at('2026-11-22T04:00:01.250000Z'), unit: 'fraction' }), '.250')
  assert.equal(en.fine({ at: at('2026-11-22T04:00:01.250020Z'), unit: 'fraction' }), '.250020')
  assert.equal(en.fine({ at: at('2026-11-22T04:00:01.000000Z'), unit: 'fraction' }), ':01')
})

test('tiles cover what is seen without a gap, 256 to 512 pixels each, and fit into each other', () => {
  for (let perPixel = 1; perPixel < 1e12; perPixel *= 1.37) {
    const scale = { from: noon, perPixel, width: 1320 }
    const { seen, next } = tilesWanted(scale)
    const pixels = tileLength(levelOf(scale)) / perPixel
    assert.ok(pixels >= 256 && pixels < 512.001, `${pixels} at ${perPixel}`)
    assert.ok(tileFrom(seen[0]!) <= scale.from && tileUntil(seen.at(-1)!) >= until(scale))
    for (const [index, place] of seen.entries())
      if (index > 0) assert.equal(tileFrom(place), tileUntil(seen[index - 1]!))
    assert.ok(next.length <= 16)
  }
  const place = { level: 30, index: 1_666_001 }
  for (const child of childrenOf(place)) assert.deepEqual(parentOf(child), place)
})

const activity = (from: number, to: number, changes: number): PointRow => ({
  kind: 'activity',
  sequence: 1,
  moment: toIso(from),
  until: toIso(to),
  changes,
  settled: true,
})

test('no change is lost or counted twice between tiles', () => {
  const place = { level: 32, index: Math.floor(noon / 2 ** 32) }
  const edge = tileUntil(place)
  const rows = [activity(edge - 10 * second, edge + 30 * second, 4000), activity(edge - hour, edge - hour, 7)]
  const left = toDensity(rows, place)
  const right = toDensity(rows, { ...place, index: place.index + 1 })
  assert.ok(Math.abs(left.changes + right.changes - 4007) < 0.5)
  assert.ok(Math.abs(left.changes - 1007) < 0.5)
  assert.equal(left.columns.length, columnsOfTile)
  assert.equal(toDensity([activity(edge, edge, 3)], place).changes, 0)
})

test('one change is seen beside a million, and nothing is not', () => {
  assert.equal(heightOf(0, 1e6), 0)
  assert.ok(heightOf(1, 1e6) > 0.05)
  assert.equal(heightOf(1e6, 1e6), 1)
  assert.ok(heightOf(5, 1000) < heightOf(50, 1000))
})

test('a span that went on and has ended meanwhile is told once, with its end', () => {
  const row = (until?: number): PointRow => ({
    kind: 'hole',
    sequence: 9,
    moment: toIso(noon),
    label: 'the agent was not watching',
    ...(until === undefined ? {} : { until: toIso(until) }),
  })
  const [open] = toLandmarks([row()])
  assert.equal(open?.until, Infinity)
  const all = merged([toLandmarks([row(noon + second), activity(noon, noon, 1)]), toLandmarks([row()])])
  assert.deepEqual(
    all.map(({ until: end }) => end),
    [noon + second],
  )
})

test('a hole that is told by itself is the same one that the points tell', () => {
  const label = 'the queue was full'
  const told = toHoles([{ moment: toIso(noon), until: null, reason: label }])
  const ended = toLandmarks([{ kind: 'hole', sequence: 9, moment: toIso(noon), until: toIso(noon + second), label }])
  assert.deepEqual(merged([told, ended]), ended)
  assert.deepEqual(merged([ended, told]), ended)
})

test('pointing near a mark or a transaction means it, and within a hole the hole', () => {
  const scale = { from: noon, perPixel: 1000, width: 1000 }
  const mark = { kind: 'mark', sequence: 5, at: noon + 300_250, label: 'before-upgrade' } as const
  const hole = { kind: 'hole', sequence: 6, at: noon + 200_000, until: noon + 500_000, label: 'x' } as const
  const commit = {
    kind: 'commit',
    at: noon + 304_001,
    name: '741',
    bytes: 10,
    after: 'xid:741',
    before: 'before:xid:741',
  } as const
  const track = { landmarks: [hole, mark], transactions: [commit], verified: [] }
  assert.equal(momentOf(hitAt(track, scale, 301)), mark.at)
  assert.equal(momentOf(hitAt(track, scale, 303)), commit.at)
  assert.deepEqual(hitAt(track, scale, 400), { kind: 'landmark', landmark: hole })
  assert.equal(momentOf(hitAt(track, scale, 400)), undefined)
  assert.equal(hitAt(track, scale, 700), undefined)
  assert.equal(roundMoment({ from: noon + 17, perPixel: 1000, width: 9 }, 2), noon + 2000)
})

test('a hand taps, drags and pinches; a shaking tap is a tap, a drag that comes back is none', () => {
  const hand = new Gestures()
  hand.down(1, 100, 50)
  assert.deepEqual(hand.move(1, 102, 50), [])
  assert.deepEqual(hand.up(1), [{ kind: 'tap', x: 102, y: 50 }])
  hand.down(1, 100, 50)
  assert.deepEqual(hand.move(1, 130, 50), [{ kind: 'pan', pixels: 30 }])
  hand.move(1, 100, 50)
  assert.deepEqual(hand.up(1), [])
  hand.down(1, 100, 50)
  hand.down(2, 200, 50)
  const [pan, zoom] = hand.move(2, 300, 50)
  assert.deepEqual(pan, { kind: 'pan', pixels: 50 })
  assert.deepEqual(zoom, { kind: 'zoom', x: 200, factor: 0.5 })
  hand.up(2)
  assert.deepEqual(hand.up(1), [])
  assert.equal(hand.isActive, false)
  assert.deepEqual(wheeled({ deltaX: 0, deltaY: 200, shiftKey: false }, 7), { kind: 'zoom', x: 7, factor: 2 })
  assert.deepEqual(wheeled({ deltaX: 0, deltaY: 50, shiftKey: true }, 7), { kind: 'pan', pixels: -50 })
})

test('local time and back is the same, also where the zone changes', () => {
  const change = noon
  const zone: Zone = (instant) => (instant < change ? 120 : 60)
  for (const at of [noon - 5 * hour, noon - 2 * hour, noon + hour * 2, noon + day])
    assert.equal(fromLocal(at + zone(at) * 60 * second, zone), at)
})
