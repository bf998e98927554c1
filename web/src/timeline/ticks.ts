import { fromLocal, type Instant, toLocal, type Zone } from './instant.ts'
import { type Scale, until } from './scale.ts'

/** What a label of the axis has to tell. */
export type TickUnit = 'year' | 'month' | 'day' | 'minute' | 'second' | 'fraction'

export interface Tick {
  readonly at: Instant
  readonly unit: TickUnit
}

export interface Ticks {
  readonly fine: readonly Tick[]
  /** What the fine ones leave out: the day of a time, the year of a month. The first one is the left edge's, and stands before it. */
  readonly coarse: readonly Tick[]
}

interface Step {
  readonly unit: TickUnit
  readonly coarse: TickUnit
  /** Microseconds; of months and years as long as one at most is. */
  readonly length: number
  readonly months?: number
}

const second = 1_000_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const fixed = (unit: TickUnit, coarse: TickUnit, lengths: readonly number[]): Step[] =>
  lengths.map((length) => ({ unit, coarse, length }))
const calendar = (unit: TickUnit, coarse: TickUnit, months: readonly number[]): Step[] =>
  months.map((count) => ({ unit, coarse, length: count * 31 * day, months: count }))

const steps: readonly Step[] = [
  ...fixed(
    'fraction',
    'second',
    [1, 10, 100, 1000, 10_000, 100_000].flatMap((one) => [one, 2 * one, 5 * one]),
  ),
  ...fixed('second', 'day', [second, 2 * second, 5 * second, 10 * second, 15 * second, 30 * second]),
  ...fixed(
    'minute',
    'day',
    [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((count) => count * minute),
  ),
  ...fixed('day', 'month', [day, 2 * day, 7 * day]),
  ...calendar('month', 'year', [1, 3, 6]),
  ...calendar('year', 'year', [12, 24, 60, 120, 240, 600]),
]

/** Round places of the zone's calendar, at least `apart` pixels from each other. */
export function ticksOf(scale: Scale, zone: Zone, apart: number): Ticks {
  const step = steps.find(({ length }) => length >= apart * scale.perPixel) ?? (steps.at(-1) as Step)
  const to = until(scale)
  const coarse = step.unit === 'year' ? [] : coarseTicks(step.coarse, scale.from, to, zone)
  return { fine: roundPlaces(step, scale.from, to, zone), coarse }
}

function roundPlaces({ unit, length, months }: Step, from: Instant, to: Instant, zone: Zone): Tick[] {
  const found: Tick[] = []
  if (months === undefined) {
    // Days are counted from the first of the epoch, weeks from its first Monday.
    const origin = length === 7 * day ? 4 * day : 0
    const first = Math.ceil((toLocal(from, zone) - origin) / length)
    for (let count = first; ; count++) {
      const at = fromLocal(origin + count * length, zone)
      if (at > to) return found
      if (at >= from) found.push({ at, unit })
    }
  }
  const start = new Date(Math.floor(toLocal(from, zone) / 1000))
  const first = Math.floor((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months)
  for (let count = first; ; count++) {
    const at = fromLocal(monthUs(count * months), zone)
    if (at > to) return found
    if (at >= from) found.push({ at, unit })
  }
}

/** Months of the calendar since the year 0. */
const monthUs = (months: number): number => Date.UTC(Math.floor(months / 12), months % 12, 1) * 1000

const coarseSteps: Record<TickUnit, Step> = {
  fraction: { unit: 'fraction', coarse: 'second', length: 1 },
  second: { unit: 'second', coarse: 'day', length: second },
  minute: { unit: 'minute', coarse: 'day', length: minute },
  day: { unit: 'day', coarse: 'month', length: day },
  month: { unit: 'month', coarse: 'year', length: 31 * day, months: 1 },
  year: { unit: 'year', coarse: 'year', length: 366 * day, months: 12 },
}

function coarseTicks(unit: TickUnit, from: Instant, to: Instant, zone: Zone): Tick[] {
  const step = coarseSteps[unit]
  return roundPlaces(step, from - step.length, to, zone).filter(
    ({ at }, index, all) => at > from || (all[index + 1]?.at ?? Infinity) > from,
  )
}
