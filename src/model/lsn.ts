import { Malformed } from '../base/bytes.ts'

/**
 * Places in the write-ahead log (WAL) of a PostgreSQL cluster. An LSN is an offset in bytes and says nothing without its
 * timeline, the branch of history: a cluster that is promoted goes on at the same LSN on a new timeline. On disk the WAL is
 * cut into files ("WAL segments") whose names hold both, and so list in order.
 *
 * LSNs are 64 bits; the ones here stay below 2^53, which is 8 PiB of log.
 */
export type Lsn = number & { readonly is: 'Lsn' }

/** Starts at 1, and grows with each promotion and each recovery to a point. */
export type Timeline = number & { readonly is: 'Timeline' }

/** What PostgreSQL writes `0/0`: nowhere, or nothing to say. */
export const noLsn = 0 as Lsn

export function lsn(value: number): Lsn {
  if (!Number.isSafeInteger(value) || value < 0) throw new Malformed(`LSN ${value}`)
  return value as Lsn
}

export function timeline(value: number): Timeline {
  if (!Number.isInteger(value) || value < 1 || value > 0xffff_ffff) throw new Malformed(`timeline ${value}`)
  return value as Timeline
}

export const advanceLsn = (from: Lsn, bytes: number): Lsn => lsn(from + bytes)

/** `16/B374D848`, as PostgreSQL writes it. */
export const formatLsn = (value: Lsn): string =>
  `${Math.floor(value / 2 ** 32).toString(16)}/${(value % 2 ** 32).toString(16)}`.toUpperCase()

export function parseLsn(text: string): Lsn {
  const halves = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text)
  if (!halves) throw new Malformed(`LSN ${JSON.stringify(text.slice(0, 40))}`)
  return lsn(Number.parseInt(halves[1] as string, 16) * 2 ** 32 + Number.parseInt(halves[2] as string, 16))
}

/** A decimal number, as PostgreSQL's answers and history files have it. */
export function parseTimeline(text: string): Timeline {
  if (!/^\d{1,10}$/.test(text)) throw new Malformed(`timeline ${JSON.stringify(text.slice(0, 40))}`)
  return timeline(Number(text))
}

/** Where the WAL segment that holds `at` starts. `segmentBytes` is a power of two from 1 MiB to 1 GiB; 16 MiB unless chosen. */
export const walSegmentStart = (at: Lsn, segmentBytes: number): Lsn => lsn(at - (at % segmentBytes))

/** `000000010000001600000003`: timeline, and the number of the segment in two parts. */
export function walSegmentName(on: Timeline, at: Lsn, segmentBytes: number): string {
  const perPart = 2 ** 32 / segmentBytes
  const number = Math.floor(at / segmentBytes)
  return hex8(on) + hex8(Math.floor(number / perPart)) + hex8(number % perPart)
}

export function parseWalSegmentName(name: string, segmentBytes: number): { timeline: Timeline; start: Lsn } {
  const parts = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name)?.slice(1)
  if (!parts) throw new Malformed(`WAL segment name ${JSON.stringify(name.slice(0, 40))}`)
  const [on, high, low] = parts.map((part) => Number.parseInt(part, 16)) as [number, number, number]
  if (low >= 2 ** 32 / segmentBytes)
    throw new Malformed(`WAL segment name ${name} for segments of ${segmentBytes} bytes`)
  return { timeline: timeline(on), start: lsn(high * 2 ** 32 + low * segmentBytes) }
}

/** `00000002.history`: the file that says from where timeline 2 branched off. */
export const historyFileName = (of: Timeline): string => `${hex8(of)}.history`

const hex8 = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0')
