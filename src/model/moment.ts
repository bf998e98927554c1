import { Malformed } from '../base/bytes.ts'

/** A moment of the agent's clock: whole microseconds since the Unix epoch, UTC. */
export type Moment = number & { readonly is: 'Moment' }

export function moment(microseconds: number): Moment {
  if (!Number.isSafeInteger(microseconds) || microseconds < 0) throw new Malformed(`moment ${microseconds}`)
  return microseconds as Moment
}

export const fromMilliseconds = (ms: number): Moment => moment(Math.round(ms * 1000))

const unitsMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `90s`, `15m`, `2h`, `7d`, `1h30m` in milliseconds; undefined where the text is no duration. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(text)) return undefined
  let total = 0
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)) {
    total += Number(count) * (unitsMs[unit as string] as number)
  }
  return total
}

/**
 * A moment as a person writes it: ISO 8601 (`2026-11-22T14:03:11.250+08:00`, `…Z`), the same with a blank and without
 * a zone, then in the zone of this process (`2026-11-22 14:03:11.250`), or `10m ago`. Up to six decimals of a second.
 * Undefined where the text is none of these.
 */
export function parseMoment(text: string, now: Moment): Moment | undefined {
  const ago = /^(\S+) ago$/.exec(text)
  if (ago) {
    const ms = parseDurationMs(ago[1] as string)
    return ms === undefined || ms * 1000 > now ? undefined : moment(Math.round(now - ms * 1000))
  }
  const parts = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,6}))?)?)? ?(Z|[+-]\d\d:?\d\d)?$/.exec(text)
  if (!parts) return undefined
  const [, day, minute = '00:00', second = '00', fraction = '', zone = ''] = parts
  const ms = Date.parse(`${day}T${minute}:${second}.000${zone.replace(/^([+-]\d\d)(\d\d)$/, '$1:$2')}`)
  if (Number.isNaN(ms) || ms < 0) return undefined
  return moment(ms * 1000 + Number(fraction.padEnd(6, '0')))
}

/** `2026-11-22 14:03:11.250 +08:00`: in the zone of this process, and unambiguous. */
export function formatMoment(value: Moment): string {
  const ms = Math.floor(value / 1000)
  const offsetMinutes = -new Date(ms).getTimezoneOffset()
  const local = new Date(ms + offsetMinutes * 60_000).toISOString()
  const sign = offsetMinutes < 0 ? '-' : '+'
  const ahead = Math.abs(offsetMinutes)
  const zone = `${sign}${two(Math.floor(ahead / 60))}:${two(ahead % 60)}`
  const micros = value % 1000 === 0 ? '' : String(value % 1000).padStart(3, '0')
  return `${local.slice(0, 10)} ${local.slice(11, 23)}${micros} ${zone}`
}

/** ISO 8601 in UTC with microseconds, for machines. */
export const isoMoment = (value: Moment): string =>
  `${new Date(Math.floor(value / 1000)).toISOString().slice(0, 23)}${String(value % 1000).padStart(3, '0')}Z`

const two = (value: number): string => String(value).padStart(2, '0')
