import { TidemarkError } from '../base/errors.ts'
import { parseDurationMs } from '../model/moment.ts'
import type { ZeroLoss } from '../model/source.ts'

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

const units: Record<string, number> = { B: 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }

/** `10GiB`, `1.5GiB`, `512MiB`, `4096`; `200G` is `200GiB`. */
export function byteCount(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit = 'B'] = /^(\d+(?:\.\d+)?) ?(?:B|([KMGT])(?:iB)?)?$/.exec(text) ?? []
  const bytes = Math.round(Number(count) * (units[unit] as number))
  if (count === undefined || !Number.isSafeInteger(bytes))
    throw new TidemarkError('bad-request', {
      message: `${option} ${text} is no number of bytes`,
      hint: 'write it as 512MiB or 10GiB',
    })
  return bytes
}

/** Of rows, from 1 on. */
export function rowCount(option: string, text: string, max: number): number {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= max) return count
  throw new TidemarkError('bad-request', {
    message: `${option} ${text} is no count`,
    hint: `give a number from 1 to ${max}`,
  })
}

/** The same by the second: `50MiB/s`. */
export const byteRate = (option: string, text: string | undefined): number | undefined =>
  byteCount(option, text?.replace(/\/s$/, ''))

/** `--zero-loss`, `--zero-loss=block`, `--zero-loss=degrade:30s`, and for short `--zero-loss=30s`. */
export function zeroLoss(text: string | true): ZeroLoss {
  if (text === true || text === 'block') return {}
  const degradeMs = parseDurationMs(text.replace(/^degrade:/, ''))
  if (degradeMs === undefined) {
    throw new TidemarkError('bad-request', {
      message: `--zero-loss=${text} is no policy`,
      hint: 'write --zero-loss, --zero-loss=block or --zero-loss=degrade:30s',
    })
  }
  return { degradeMs }
}

/** `host:port`, `[address]:port`. */
export function parseAddress(text: string, what: string): { host: string; port: number } {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const port = Number(parts?.[3])
  const host = parts?.[1] ?? parts?.[2]
  if (host === undefined || port > 65_535)
    throw new TidemarkError('bad-request', { message: `${what} ${text} is no address`, hint: 'write it as HOST:PORT' })
  return { host, port }
}
