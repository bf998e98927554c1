import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lagClassesMs, lagPercentileMs, type MeasureStep } from '../../api/measures.ts'
import type { Id } from '../../model/source.ts'
import { lagClassOf, type Measured } from './measured.ts'
import { Measures } from './measures.ts'
import { measuresKeptMs, type LookedAt, Recorder } from './recorder.ts'
import { minutesPerHour, stepUs } from './spans.ts'

const dayMs = 86_400_000
/** A whole day in UTC. */
const startUs = 20_000 * stepUs.day
const documents = 'd'.repeat(32) as Id
const ledger = 'e'.repeat(32) as Id

class World {
  readonly directory = mkdtempSync(join(tmpdir(), 'tidemark-measures-'))
  readonly path = join(this.directory, 'measures.sqlite')
  readonly told: string[] = []
  readonly sources = new Map<Id, LookedAt>()
  wallUs = startUs
  monotonicMs = 7_000
  measures!: Measures
  recorder!: Recorder

  constructor(context: TestContext) {
    context.after(() => {
      this.measures[Symbol.dispose]()
      rmSync(this.directory, { recursive: true, force: true })
    })
    this.start()
  }

  /** The process begins, having lost what it had in memory. */
  start(): void {
    this.measures?.[Symbol.dispose]()
    this.measures = new Measures(this.path, (line) => this.told.push(line))
    this.recorder = new Recorder({
      clock: { now: () => this.wallUs, monotonicMs: () => this.monotonicMs, sleep: () => Promise.resolve() },
      measures: this.measures,
      look: () => this.sources.values(),
      known: () => new Set(this.sources.keys()),
    })
  }

  put(id: Id, told: Partial<LookedAt> = {}): void {
    this.sources.set(id, { id, state: 'protected', lagMs: 80, isLate: false, changes: 0, bytes: 0, ...told })
  }

  pass(ms: number): void {
    this.wallUs += ms * 1000
    this.monotonicMs += ms
  }

  seconds(count: number): void {
    for (let second = 0; second < count; second++) {
      this.recorder.look()
      this.pass(1_000)
    }
  }

  read(step: MeasureStep, id = documents, fromUs = startUs, toUs = startUs + 3 * stepUs.day): [number, Measured][] {
    const range = { from: Math.floor(fromUs / stepUs[step]), to: Math.ceil(toUs / stepUs[step]) }
    const first = Math.floor(startUs / stepUs[step])
    const rows = this.measures.ask((file) => file.read(id, step, range))
    return rows.map(([at, measured]) => [at - first, measured])
  }

  secondsIn(step: MeasureStep, id = documents): [number, number][] {
    return this.read(step, id).map(([at, { seconds }]) => [at, seconds])
  }
}

test('what is kept counts lags in these classes, and a file tells them by their number', () => {
  assert.deepEqual(
    [...lagClassesMs],
    [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000],
  )
  assert.deepEqual([0, 100, 101, 86_400_000, 86_400_001].map(lagClassOf), [0, 0, 1, 12, 13])
})

test('a minute has its seconds by class of lag, what was late or unknown, the worst state, and what came in', (context) => {
  const world = new World(context)
  world.put(documents, { changes: 5, bytes: 1_000 })
  world.seconds(30)
  world.put(documents, { state: 'late', lagMs: 61_000.2, isLate: true, changes: 8, bytes: 1_500 })
  world.seconds(20)
  world.put(documents, { state: 'paused', lagMs: undefined, changes: 8, bytes: 1_500 })
  world.seconds(10)
  assert.deepEqual(world.read('minute'), [])
  world.recorder.look()
  const [[at, minute] = [], ...others] = world.read('minute')
  assert.deepEqual([at, others], [0, []])
  const lagClasses = [30, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0]
  const counted = { seconds: 60, unknownSeconds: 10, lateSeconds: 20, lagMsMax: 61_001, lagClasses }
  assert.deepEqual(minute, { ...counted, worst: 'late', changes: 8, bytes: 1_500 })
  assert.equal(lagPercentileMs(minute as Measured, 0.5), 100)
  assert.equal(lagPercentileMs(minute as Measured, 0.95), 61_001)
})

test('a crash loses the minute that is not over, and seconds in which the vault did not run are absent', (context) => {
  const world = new World(context)
  world.put(documents)
  world.seconds(150)
  world.start()
  world.pass(600_000)
  world.seconds(61)
  assert.deepEqual(world.secondsIn('minute'), [
    [0, 60],
    [1, 60],
    [12, 30],
  ])
})

test('hours and days are sums of their minutes, whether the vault was started again meanwhile or not', (context) => {
  const world = new World(context)
  world.put(documents)
  world.put(ledger, { lagMs: 400 })
  world.seconds(5_400)
  world.start()
  world.seconds(23 * 3_600)
  for (const id of [documents, ledger]) {
    const minutes = world.secondsIn('minute', id)
    const [hours, days] = [world.secondsIn('hour', id), world.secondsIn('day', id)]
    // The last minute before the start is lost, and the last one of all is not over.
    assert.equal(minutes.length, 24 * 60 + 30 - 2)
    assert.ok(minutes.every(([, seconds]) => seconds === 60))
    const perHour = hours.map(([hour]) => minutes.filter(([minute]) => Math.floor(minute / 60) === hour).length * 60)
    assert.deepEqual(hours, [...perHour.entries()])
    assert.deepEqual(days, [
      [0, 86_400 - 60],
      [1, 1_740],
    ])
  }
  assert.deepEqual(world.read('day', ledger)[0]?.[1].lagClasses.slice(0, 4), [0, 0, 86_340, 0])
})

test('a strip tells the worst lag of each five minutes, of hours that are over and of the present one', (context) => {
  const world = new World(context)
  world.put(documents)
  world.seconds(600)
  world.put(documents, { lagMs: 2_500 })
  world.seconds(1)
  world.put(documents, { lagMs: undefined, state: 'paused' })
  world.seconds(3_600)
  const hour = startUs / stepUs.hour
  const strip = (): string => world.measures.ask((file) => file.strip(documents, { from: hour - 1, to: hour + 2 }))
  assert.equal(strip(), `${'0'.repeat(12)}227${'1'.repeat(9)}11${'0'.repeat(10)}`)
  world.seconds(3_000)
  assert.equal(strip(), `${'0'.repeat(12)}227${'1'.repeat(9)}${'1'.repeat(12)}`)
})

test('a clock that is set back adds to minutes that were written, and one that is set forward leaves a gap', (context) => {
  const world = new World(context)
  world.put(documents)
  world.seconds(2 * 3_600 + 60)
  world.wallUs = startUs + 30 * stepUs.minute
  world.seconds(120)
  world.wallUs = startUs + 5 * stepUs.hour
  world.seconds(3_660)
  const seconds = new Map(world.secondsIn('minute'))
  assert.equal(seconds.get(30), 120)
  assert.equal(seconds.get(31), 120)
  assert.deepEqual([seconds.get(29), seconds.get(32), seconds.get(121)], [60, 60, undefined])
  const sum = (step: MeasureStep): number => world.secondsIn(step).reduce((all, [, one]) => all + one, 0)
  assert.deepEqual([sum('minute'), sum('hour'), sum('day')], [10_980, 10_980, 10_980])
})

test('minutes, hours and days go when they are old, and everything of a source that is no more', (context) => {
  const world = new World(context)
  world.put(documents)
  world.put(ledger)
  world.seconds(2 * 3_600)
  const rows = (id: Id): number[] =>
    (['minute', 'hour', 'day'] as const).map((step) => world.read(step, id, startUs, startUs + stepUs.day).length)
  world.seconds(61)
  assert.deepEqual(rows(documents), [121, 3, 1])
  for (const [step, left] of [
    ['minute', [0, 3, 1]],
    ['hour', [0, 0, 1]],
    ['day', [0, 0, 0]],
  ] as const) {
    world.pass(startUs / 1000 + measuresKeptMs[step] + dayMs - world.wallUs / 1000)
    world.seconds(2 * 3_600)
    assert.deepEqual(rows(documents), left)
  }
  world.sources.delete(ledger)
  world.seconds(3 * 3_600)
  assert.deepEqual(
    world.measures.ask((file) => file.sources),
    [documents],
  )
})

test('a clock that is years ahead for a while does not empty the past', (context) => {
  const world = new World(context)
  world.put(documents)
  world.seconds(2 * 3_600)
  world.wallUs += 10 * 365 * stepUs.day
  world.seconds(1_800)
  world.wallUs -= 10 * 365 * stepUs.day
  world.seconds(3_600)
  assert.equal(world.read('minute').length, 3 * minutesPerHour - 1)
})

test('a file that is damaged is told, put aside, and measuring goes on in a new one', (context) => {
  const world = new World(context)
  world.put(documents)
  world.seconds(120)
  world.measures[Symbol.dispose]()
  writeFileSync(world.path, 'this is no database, and long enough to be looked at as one '.repeat(100))
  world.seconds(121)
  assert.equal(world.told.filter((line) => line.startsWith('DAMAGE')).length, 1)
  assert.ok(existsSync(`${world.path}.damaged`))
  assert.deepEqual(world.secondsIn('minute').at(-1), [3, 60])
})

test('a file that cannot be opened is told once, and what is asked for fails with the reason', (context) => {
  const world = new World(context)
  rmSync(world.directory, { recursive: true })
  world.put(documents)
  world.seconds(300)
  assert.equal(world.told.length, 2, world.told.join())
  assert.throws(() => world.read('minute'), /unable to open/)
})
