import { TidemarkError } from '../base/errors.ts'
import { parseDurationMs } from '../model/moment.ts'

/** What options say, as values; `option` is its name for the message. */
export function duration(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDurationMs(text)
  if (ms === undefined)
    throw new TidemarkError('bad-request', {
      message: `${option} ${text} is no duration`,
      hint: 'write it as 90s, 15m, 2h or 7d',
    })
  return ms
}

const units: Record<string, number> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 }

/** `10GiB`, `1.5GiB`, `512MiB`, `4096` */
export function byteCount(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit = 'B'] = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/.exec(text) ?? []
  const bytes = Math.round(Number(count) * (units[unit] as number))
  if (count === undefined || !Number.isSafeInteger(bytes))
    throw new TidemarkError('bad-request', {
      message: `${option} ${text} is no number of bytes`,
      hint: 'write it as 512MiB or 10GiB',
    })
  return bytes
}

/** The same by the second: `50MiB/s`. */
export const byteRate = (option: string, text: string | undefined): number | undefined =>
  byteCount(option, text?.replace(/\/s$/, ''))
