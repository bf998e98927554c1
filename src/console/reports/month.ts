import { isoMoment, type Moment } from '../../model/moment.ts'

export interface Span {
  readonly from: Moment
  /** Not part of it. */
  readonly until: Moment
}

/** `2026-11`, in UTC; one that is not over yet ends now, one that has not begun is empty. */
export function spanOf(month: string, now: Moment): Span {
  const [year = 0, number = 1] = month.split('-').map(Number)
  const from = (Date.UTC(year, number - 1) * 1000) as Moment
  const end = Date.UTC(year, number) * 1000
  return { from, until: Math.max(from, Math.min(end, now)) as Moment }
}

export const isWithin = (iso: string, { from, until }: Span): boolean => {
  const at = Date.parse(iso) * 1000
  return at >= from && at < until
}

export const isoSpan = ({ from, until }: Span): { from: string; to: string } => ({
  from: isoMoment(from),
  to: isoMoment(until),
})
