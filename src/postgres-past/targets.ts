import { unreachable } from '../base/assert.ts'
import { type CommitListEntry, CommitListReader } from '../format/commits.ts'
import type { Lsn, Timeline } from '../model/lsn.ts'
import type { Moment } from '../model/moment.ts'

/**
 * Where a recovery shall stop, found in the commit lists. Everything becomes an LSN: PostgreSQL's own targets by xid, time and
 * name are not used, since it would stop at another place where an xid or a name was used twice, or fail only after all WAL was applied.
 *
 * The order is the order of commits in the WAL, which is neither that of xids nor that of times. What is open at the stop is rolled back;
 * what is prepared comes back prepared.
 */
export type Target =
  /** All there is. */
  | { readonly kind: 'latest' }
  /** The last entry that starts at `lsn` or before; without `inclusive`, before it. */
  | { readonly kind: 'lsn'; readonly lsn: Lsn; readonly inclusive: boolean }
  /** Just after that transaction's commit; without `inclusive`, just before it. Of two the later one: xids are used again. */
  | { readonly kind: 'xid'; readonly xid: number; readonly inclusive: boolean }
  /**
   * Just before the first commit that is later than `time`: nothing that happened after `time` is there, and it is where PostgreSQL
   * would stop itself. Times may go back a little between neighbours, or far where a clock was set: commits that follow with an
   * earlier time are dropped too, and counted in `droppedNotLater`.
   */
  | { readonly kind: 'time'; readonly time: Moment }
  /** Just after it; of two of a name, the later one. */
  | { readonly kind: 'restore-point'; readonly name: string }
  /** After the last entry that starts before `of`. */
  | { readonly kind: 'previous'; readonly of: Lsn }
  /** After the first entry that starts after `of`. */
  | { readonly kind: 'next'; readonly of: Lsn }

/** A part of a history: `timeline` from `start` up to `end`, where the next one branches off; the last has no end. */
export interface Stretch {
  readonly timeline: Timeline
  readonly start: Lsn
  readonly end?: Lsn
}

export interface Stop {
  /** For `recovery_target_lsn` and `recovery_target_inclusive`; `end` is recovery without a target. */
  readonly recoverTo: { readonly lsn: Lsn; readonly inclusive: boolean } | 'end'
  /** The last entry that is there afterwards; undefined where it stops before the first. */
  readonly kept: CommitListEntry | undefined
  /** The timeline of `kept`, or of the entry that is stopped before. */
  readonly timeline: Timeline
  readonly firstDropped: CommitListEntry | undefined
  readonly droppedCommits: number
  /** Of those, how many say that they are not later than the time asked for; 0 for other targets. */
  readonly droppedNotLater: number
}

/** What a cluster can be recovered to by name, and on which branch of its history it stands. */
export interface Placed {
  readonly entry: CommitListEntry
  readonly timeline: Timeline
}

/**
 * Where recovery along `history` has to stop; undefined where the lists hold no such place. `lists` are the contents of the commit lists
 * of all timelines of the history, in the order of the history; one is held at a time.
 */
export async function findStop(
  lists: AsyncIterable<Uint8Array>,
  history: readonly Stretch[],
  target: Target,
): Promise<Stop | undefined> {
  let before: Placed | undefined
  let stop: StopFound | undefined
  for await (const placed of entriesAlong(lists, history)) {
    const stops = whereItStops(target, placed.entry, stop !== undefined)
    if (stops === 'after') stop = new StopFound(placed)
    else {
      if (stops === 'before') stop = new StopFound(before)
      stop?.drop(placed, target)
    }
    before = placed
  }
  if (stop === undefined && before !== undefined && holdsAtTheEnd(target)) stop = new StopFound(before)
  return stop?.told(target)
}

/** Targets of which the last place counts that fits, or behind which nothing fits: they are found from the end. */
export type TargetFromEnd = Extract<Target, { kind: 'latest' | 'lsn' | 'xid' | 'restore-point' | 'previous' }>

export const isFoundFromEnd = (target: Target): target is TargetFromEnd =>
  target.kind !== 'time' && target.kind !== 'next'

/**
 * The same as `findStop`, of lists that come the newest first: no more are read than what is left out stands in, and the one
 * before. A time is not found so: clocks go back, and the first commit that is later may stand anywhere.
 */
export async function findStopFromEnd(
  listsFromEnd: AsyncIterable<Uint8Array>,
  history: readonly Stretch[],
  target: TargetFromEnd,
): Promise<Stop | undefined> {
  let firstDropped: Placed | undefined
  let droppedCommits = 0
  let stopsBefore = false
  const told = (kept: Placed | undefined): Stop => {
    const stop = new StopFound(kept)
    if (firstDropped !== undefined) stop.drop(firstDropped, target)
    return { ...(stop.told(target) as Stop), droppedCommits }
  }
  for await (const placed of entriesFromEnd(listsFromEnd, history)) {
    if (stopsBefore) return told(placed)
    const stops = whereItStopsFromEnd(target, placed.entry)
    if (stops === 'after') return told(placed)
    firstDropped = placed
    if (isCommit(placed.entry)) droppedCommits++
    stopsBefore = stops === 'before'
  }
  const isPlace = target.kind === 'lsn' || target.kind === 'previous'
  return stopsBefore || (isPlace && firstDropped !== undefined) ? told(undefined) : undefined
}

/** `after` is the last entry that is kept, `before` the first that is not. */
function whereItStopsFromEnd(target: TargetFromEnd, entry: CommitListEntry): 'before' | 'after' | undefined {
  switch (target.kind) {
    case 'latest':
      return 'after'
    case 'lsn':
      return entry.start < target.lsn || (entry.start === target.lsn && target.inclusive) ? 'after' : undefined
    case 'previous':
      return entry.start < target.of ? 'after' : undefined
    case 'xid':
    case 'restore-point':
      return whereItStops(target, entry, false)
    default:
      return unreachable(target)
  }
}

/** The entries along a history, the last one first. */
async function* entriesFromEnd(
  listsFromEnd: AsyncIterable<Uint8Array>,
  history: readonly Stretch[],
): AsyncGenerator<Placed> {
  for await (const bytes of listsFromEnd) yield* [...entriesOf(bytes, history)].reverse()
}

/** The entries along a history: of each timeline those between where it branched off and where the next one did. */
export async function* entriesAlong(
  lists: AsyncIterable<Uint8Array>,
  history: readonly Stretch[],
): AsyncGenerator<Placed> {
  for await (const bytes of lists) yield* entriesOf(bytes, history)
}

/** The entries of one list that are along a history. */
export function* entriesOf(bytes: Uint8Array, history: readonly Stretch[]): Generator<Placed> {
  const list = new CommitListReader(bytes)
  const { timeline } = list.header
  const stretch = history.find((one) => one.timeline === timeline)
  if (stretch === undefined) return
  for (const entry of list) {
    if (entry.start >= stretch.start && (stretch.end === undefined || entry.end <= stretch.end))
      yield { entry, timeline }
  }
}

export const isCommit = ({ kind }: CommitListEntry): boolean => kind === 'commit' || kind === 'commit-prepared'

class StopFound {
  readonly #kept: Placed | undefined
  #firstDropped: Placed | undefined = undefined
  #droppedCommits = 0
  #droppedNotLater = 0

  constructor(kept: Placed | undefined) {
    this.#kept = kept
  }

  drop(placed: Placed, target: Target): void {
    this.#firstDropped ??= placed
    if (!isCommit(placed.entry)) return
    this.#droppedCommits++
    if (target.kind === 'time' && placed.entry.time <= target.time) this.#droppedNotLater++
  }

  told(target: Target): Stop | undefined {
    const at = this.#kept ?? this.#firstDropped
    if (at === undefined) return undefined
    return {
      recoverTo: target.kind === 'latest' ? 'end' : { lsn: at.entry.start, inclusive: this.#kept !== undefined },
      kept: this.#kept?.entry,
      timeline: at.timeline,
      firstDropped: this.#firstDropped?.entry,
      droppedCommits: this.#droppedCommits,
      droppedNotLater: this.#droppedNotLater,
    }
  }
}

/** Whether recovery stops at this entry; of several such entries the last one counts. */
function whereItStops(target: Target, entry: CommitListEntry, stopped: boolean): 'before' | 'after' | undefined {
  switch (target.kind) {
    case 'latest':
      return undefined
    case 'lsn':
      return !stopped && (entry.start > target.lsn || (entry.start === target.lsn && !target.inclusive))
        ? 'before'
        : undefined
    case 'previous':
      return !stopped && entry.start >= target.of ? 'before' : undefined
    case 'next':
      return !stopped && entry.start > target.of ? 'after' : undefined
    case 'time':
      return !stopped && isCommit(entry) && entry.time > target.time ? 'before' : undefined
    case 'xid':
      if (entry.kind !== 'commit' && entry.kind !== 'commit-prepared') return undefined
      if (entry.xid !== target.xid) return undefined
      return target.inclusive ? 'after' : 'before'
    case 'restore-point':
      return entry.kind === 'restore-point' && entry.name === target.name ? 'after' : undefined
    default:
      return unreachable(target)
  }
}

/** Whether a target that no entry has met is met by all of them. */
function holdsAtTheEnd(target: Target): boolean {
  switch (target.kind) {
    case 'latest':
    case 'lsn':
    case 'time':
    case 'previous':
      return true
    case 'xid':
    case 'restore-point':
    case 'next':
      return false
    default:
      return unreachable(target)
  }
}
