import { type Moment, moment } from '../model/moment.ts'

/** How much there was at a moment. */
export interface Amount {
  readonly at: Moment
  readonly bytes: number
}

const dayUs = 86_400_000_000
/** Growth is that of so long. */
const growthUs = 14 * dayUs
/** Less than this between the first and the last look says nothing. */
const spanUsMin = dayUs / 2
/** What lies further away is no forecast. */
const forecastDaysMax = 36_500

/** The slope of the straight line that is nearest to what was seen of late; null where too little was. */
export function growthBytesPerDay(amounts: readonly Amount[]): number | null {
  const last = amounts.at(-1)
  if (last === undefined) return null
  const recent = amounts.filter(({ at }) => last.at - at <= growthUs)
  const [first] = recent
  if (first === undefined || last.at - first.at < spanUsMin) return null
  const days = recent.map(({ at }) => (at - first.at) / dayUs)
  const dayMean = mean(days)
  const bytesMean = mean(recent.map(({ bytes }) => bytes))
  const [together, alone] = recent.reduce(
    ([sum, square], { bytes }, index) => {
      const away = (days[index] as number) - dayMean
      return [sum + away * (bytes - bytesMean), square + away * away]
    },
    [0, 0],
  )
  return together / alone
}

/** When so much will be used up; null where it does not grow, or hardly. */
export function fullAt(now: Moment, freeBytes: number, bytesPerDay: number | null): Moment | null {
  if (bytesPerDay === null || bytesPerDay <= 0) return null
  const days = freeBytes / bytesPerDay
  return days > forecastDaysMax ? null : moment(Math.round(now + days * dayUs))
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
