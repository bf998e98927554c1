import type { HolesAnswer, PointRow } from '../../../src/api/schemas.ts'
import { type Instant, toInstant } from './instant.ts'

/** What stands out on a track. */
export interface Landmark {
  readonly kind: 'mark' | 'hole' | 'suspect' | 'torn' | 'vanished'
  /** Of a hole that was not told among the points it is 0. */
  readonly sequence: number
  readonly at: Instant
  /** Of a span; infinite while it goes on. */
  readonly until?: Instant
  /** A mark's name, a span's reason, a path. */
  readonly label: string
}

/** What a verification says of the time before it. */
export interface Verified {
  /** When it was made. */
  readonly made: Instant
  /** The point that was verified. */
  readonly at: Instant
  readonly isGood: boolean
  readonly text: string
}

/** A commit, or what else a database can be recovered to. */
export interface Transaction {
  readonly kind: 'commit' | 'commit-prepared' | 'prepare' | 'restore-point'
  readonly at: Instant
  /** A transaction id, or a restore point's name. */
  readonly name: string
  readonly bytes: number | undefined
  /** POINTs. */
  readonly after: string
  readonly before: string
}

export function toLandmarks(rows: readonly PointRow[]): Landmark[] {
  const found: Landmark[] = []
  for (const { kind, sequence, moment, until, label = '' } of rows) {
    if (kind === 'activity') continue
    const isSpan = kind === 'hole' || kind === 'suspect'
    found.push({
      kind,
      sequence,
      at: toInstant(moment),
      label,
      ...(isSpan ? { until: until === undefined ? Infinity : toInstant(until) } : {}),
    })
  }
  return found
}

/** As they are told by themselves: all that lie in a span, wherever they begin and end. */
export const toHoles = (holes: HolesAnswer): Landmark[] =>
  holes.map(({ moment, until, reason }) => ({
    kind: 'hole',
    sequence: 0,
    at: toInstant(moment),
    until: until === null ? Infinity : toInstant(until),
    label: reason,
  }))

/** Of the same one the later list knows more: a span that went on has ended. Ascending by their beginning. */
export function merged(lists: Iterable<readonly Landmark[]>): Landmark[] {
  const byName = new Map<string, Landmark>()
  for (const list of lists) {
    for (const one of list) {
      const name = `${one.kind} ${one.kind === 'hole' ? one.at : one.sequence} ${one.label}`
      const before = byName.get(name)
      if (before === undefined || (before.until ?? 0) > (one.until ?? 0)) byName.set(name, one)
    }
  }
  return [...byName.values()].sort((a, b) => a.at - b.at || a.sequence - b.sequence)
}

/** The nearest before or after an instant, of all tracks. */
export function nearest(
  marks: readonly Landmark[],
  instant: Instant,
  towards: 'earlier' | 'later',
): Landmark | undefined {
  return towards === 'earlier' ? marks.findLast(({ at }) => at < instant) : marks.find(({ at }) => at > instant)
}
