/**
 * How many bytes per second may be shipped, by time of day. The first entry that covers the present minute counts;
 * where none does, there is no limit. `from` and `to` are local times of the agent's server; a span over midnight belongs to
 * the day it starts on. `days`: 0 is Sunday; absent means every day.
 */
export interface BandwidthLimit {
  readonly from: string
  readonly to: string
  readonly days?: readonly number[] | undefined
  readonly bytesPerSecond: number
}

export const localMinutesAhead = (nowMs: number): number => -new Date(nowMs).getTimezoneOffset()

/** The limit at a moment (milliseconds since the Unix epoch) in a zone so far ahead of UTC, or undefined. */
export function limitAt(
  limits: readonly BandwidthLimit[],
  nowMs: number,
  minutesAhead: number = localMinutesAhead(nowMs),
): number | undefined {
  const local = new Date(nowMs + minutesAhead * 60_000)
  const minute = local.getUTCHours() * 60 + local.getUTCMinutes()
  const today = local.getUTCDay()
  const yesterday = (today + 6) % 7
  return limits.find(({ from, to, days = [0, 1, 2, 3, 4, 5, 6] }) => {
    const [start, end] = [minuteOf(from), minuteOf(to)]
    if (start < end) return days.includes(today) && minute >= start && minute < end
    return (days.includes(today) && minute >= start) || (days.includes(yesterday) && minute < end)
  })?.bytesPerSecond
}

/** Of two that are set, the lower holds. */
export function lower(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Math.min(one, other)
}

const minuteOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3))
