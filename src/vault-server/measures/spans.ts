import { type MeasureStep } from '../../api/measures.ts'

/** Spans of time that are measured together. They begin at whole ones in UTC, and are counted since the Unix epoch. */
export const stepUs: Readonly<Record<MeasureStep, number>> = {
  minute: 60_000_000,
  hour: 3_600_000_000,
  day: 86_400_000_000,
}

export const minutesPerHour = 60
const hoursPerDay = 24
/** Digits of the strip of an hour. */
export const slicesPerHour = 12
export const minutesPerSlice = minutesPerHour / slicesPerHour

export const hourOfMinute = (minute: number): number => Math.floor(minute / minutesPerHour)
export const dayOfHour = (hour: number): number => Math.floor(hour / hoursPerDay)

/** Whole spans from `from` to before `to`, both moments rounded outwards. */
export interface SpanRange {
  readonly from: number
  readonly to: number
}

export const rangeOf = (fromUs: number, toUs: number, lengthUs: number): SpanRange => ({
  from: Math.floor(fromUs / lengthUs),
  to: Math.ceil(toUs / lengthUs),
})
