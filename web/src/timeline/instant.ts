/** Microseconds since the Unix epoch, UTC. As a number they are exact until the year 2255. */
export type Instant = number

/** The moments of the vault's API have microseconds, which Date does not keep. */
export const toInstant = (iso: string): Instant =>
  Date.parse(`${iso.slice(0, 19)}Z`) * 1000 +
  Number((/^\.(\d+)/.exec(iso.slice(19))?.[1] ?? '').padEnd(6, '0').slice(0, 6))

export const toIso = (instant: Instant): string =>
  `${new Date(Math.floor(instant / 1000)).toISOString().slice(0, 23)}${String(Math.round(instant) % 1000).padStart(3, '0')}Z`

/** Minutes that the zone is ahead of UTC at an instant. */
export type Zone = (instant: Instant) => number

export const browserZone: Zone = (instant) => -new Date(Math.floor(instant / 1000)).getTimezoneOffset()

const minuteUs = 60_000_000
/** The date and time of the zone, as if it were UTC. */
export const toLocal = (instant: Instant, zone: Zone): number => instant + zone(instant) * minuteUs
/** The offset is looked up where it applies; an hour that a zone skips or repeats is taken as the later one. */
export function fromLocal(local: number, zone: Zone): Instant {
  const near = local - zone(local) * minuteUs
  return local - zone(near) * minuteUs
}

/** `2026-11-22 14:03:11.250`, or with the six digits that tell one change from the next. */
export function writeLocal(instant: Instant, zone: Zone, digits: 0 | 3 | 6): string {
  const iso = toIso(toLocal(Math.floor(instant), zone))
  const seconds = `${iso.slice(0, 10)} ${iso.slice(11, 19)}`
  return digits === 0 ? seconds : `${seconds}.${iso.slice(20, 20 + digits)}`
}

/** What a person types: `2026-11-22 14:03[:11[.250]]` or only a time, of the day of `near`. Undefined where it is neither. */
export function readLocal(text: string, zone: Zone, near: Instant): Instant | undefined {
  const parts =
    /^\s*(?:(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T\s]+|$))?(?:(\d{1,2})[:：时](\d{2})分?(?:[:：]?(\d{2})(?:[.,](\d{1,6}))?秒?)?)?\s*$/.exec(
      text,
    )
  if (parts === null || text.trim() === '') return undefined
  const [, year, month, day, hour, minute = '0', second = '0', fraction = ''] = parts
  const [ofYear, ofMonth, ofDay] =
    year === undefined ? writeLocal(near, zone, 0).slice(0, 10).split('-') : [year, month, day]
  const numbers = [ofYear, ofMonth, ofDay, hour ?? '0', minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const ms = Date.UTC(numbers[0], numbers[1] - 1, numbers[2], numbers[3], numbers[4], numbers[5])
  const told = new Date(ms)
  const isReal =
    told.getUTCMonth() === numbers[1] - 1 &&
    told.getUTCDate() === numbers[2] &&
    told.getUTCHours() === numbers[3] &&
    told.getUTCMinutes() === numbers[4] &&
    numbers[5] < 60
  return isReal ? fromLocal(ms * 1000 + Number(fraction.padEnd(6, '0')), zone) : undefined
}
