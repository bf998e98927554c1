import { unreachable } from '../../base/assert.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { CommitListEntry } from '../../format/commits.ts'
import type { Baseline } from '../../format/postgres-tree.ts'
import { formatLsn, type Lsn, lsn, type Timeline } from '../../model/lsn.ts'
import { formatMoment, type Moment } from '../../model/moment.ts'
import type { PostgresPoint } from '../../model/postgres-point.ts'
import type { RestorePoint } from '../../model/recovery-point.ts'
import { Past, type Period } from '../../postgres-past/past.ts'
import {
  entriesAlong,
  findStop,
  findStopFromEnd,
  isCommit,
  isFoundFromEnd,
  type Stop,
  type Target,
} from '../../postgres-past/targets.ts'
import type { TreeReader } from '../../postgres-past/tree-reader.ts'
import { clip, reachAlong, type WalFile } from '../../postgres-past/wal-known.ts'

/** How a cluster is brought back: from which baseline, over which WAL, up to where. */
export interface RecoveryPlan {
  readonly baseline: Baseline
  /** Where the baseline is read. */
  readonly base: RestorePoint
  /** Where the WAL is read. */
  readonly view: RestorePoint
  /** The branch of history that recovery follows. */
  readonly timeline: Timeline
  readonly recoverTo: Stop['recoverTo']
  /** The last entry of the commit lists that will be there; undefined where there is none after the baseline. */
  readonly kept: CommitListEntry | undefined
  readonly firstDropped: CommitListEntry | undefined
  /** Commits known along this history that will not be there. */
  readonly droppedCommits: number
  /** The WAL that recovery will ask for, in that order. */
  readonly wal: readonly WalFile[]
  readonly walBytes: number
  /** Up to where WAL is read: the end of what is known, or of the record that decides the stop. */
  readonly walEnd: Lsn
  readonly notes: readonly string[]
}

/** Where a recovery to `point` starts and stops. Refuses what cannot be reached, with what can; reads only. */
export async function planRecovery(tree: TreeReader, point: PostgresPoint): Promise<RecoveryPlan> {
  if (point.kind === 'journal') return await planWhole(await Past.read(tree, point.text))
  const branch = point.kind === 'moment' ? undefined : point.timeline
  const past = await Past.read(tree, 'latest', branch)
  const target = targetOf(point)
  const newer: Period[] = []
  let oldest: Period | undefined
  for await (const period of past.periods()) {
    oldest = period
    const stop = await stopIn(past, period, target)
    if (stop !== undefined && isOf(period, target, stop)) return await planned(past, period, newer, target, stop)
    newer.push(period)
  }
  if (oldest === undefined) throw await notThere(past, point)
  const stop = await atItsBeginning(past, oldest, target)
  if (stop === undefined) throw await notThere(past, point)
  return await planned(past, oldest, newer.slice(0, -1), target, stop)
}

/** All WAL that is known at a place in the journal. */
async function planWhole(past: Past): Promise<RecoveryPlan> {
  const period = await past.newest()
  if (period.view.at !== past.at.at) throw newestElsewhere(past)
  const target: Target = { kind: 'latest' }
  const stop = (await stopIn(past, period, target)) ?? bareStop(past.timeline)
  return await planned(past, period, [], target, stop)
}

/** Reads as few lists as the target allows. */
const stopIn = (past: Past, period: Period, target: Target): Promise<Stop | undefined> =>
  isFoundFromEnd(target)
    ? findStopFromEnd(past.listsFromEnd(period), period.stretches, target)
    : findStop(past.lists(period), period.stretches, target)

function targetOf(point: Exclude<PostgresPoint, { kind: 'journal' }>): Target {
  switch (point.kind) {
    case 'moment':
      return { kind: 'time', time: point.moment }
    case 'lsn':
      return { kind: 'lsn', lsn: point.lsn, inclusive: point.inclusive }
    case 'xid':
      return { kind: 'xid', xid: point.xid, inclusive: point.inclusive }
    case 'restore-point':
      return { kind: 'restore-point', name: point.name }
    default:
      return unreachable(point)
  }
}

/** Whether a stop before the first entry of a period is a stop in it, and not one that the period before may know better. */
function isOf({ baseline }: Period, target: Target, stop: Stop): boolean {
  if (stop.kept !== undefined) return true
  switch (target.kind) {
    case 'lsn':
      return target.lsn >= baseline.end
    case 'time':
      return false
    default:
      return true
  }
}

/** A stop behind the oldest baseline and before any entry, if that is what the target means. */
async function atItsBeginning(past: Past, period: Period, target: Target): Promise<Stop | undefined> {
  const { baseline } = period
  const stop = (await stopIn(past, period, target)) ?? bareStop(past.timeline)
  if (target.kind === 'lsn') return target.lsn >= baseline.end ? stop : undefined
  if (target.kind !== 'time' || stop.kept !== undefined) return undefined
  // What the baseline holds must not be later than the time asked for.
  const within = clip(past.history, lsn(baseline.start), lsn(baseline.end))
  let last: Moment | undefined
  for await (const { entry } of entriesAlong(past.lists({ ...period, stretches: within }), within)) last = entry.time
  return target.time >= (last ?? (await past.base(period)).moment) ? stop : undefined
}

const bareStop = (timeline: Timeline): Stop => ({
  recoverTo: 'end',
  kept: undefined,
  timeline,
  firstDropped: undefined,
  droppedCommits: 0,
  droppedNotLater: 0,
})

async function planned(
  past: Past,
  period: Period,
  newer: readonly Period[],
  target: Target,
  stop: Stop,
): Promise<RecoveryPlan> {
  const { baseline, view } = period
  const timeline = stop.recoverTo === 'end' ? past.timeline : stop.timeline
  const history = past.history.slice(0, past.history.findIndex((one) => one.timeline === timeline) + 1)
  const { files, end } = reachAlong(
    await past.walSizes(period),
    [...history.slice(0, -1), { timeline, start: history.at(-1)?.start ?? lsn(0) }],
    lsn(baseline.start),
    past.segmentBytes,
  )
  const decides = stop.recoverTo === 'end' ? undefined : stop.recoverTo.inclusive ? stop.kept : stop.firstDropped
  const wanted = decides?.end ?? (target.kind === 'lsn' ? target.lsn : (stop.kept?.end ?? lsn(baseline.end)))
  if (wanted > end || baseline.end > end) throw walLacks(baseline, wanted, end)
  const walEnd = decides?.end ?? end
  const wal = files.filter(({ start }) => start < walEnd)
  if (target.kind === 'lsn' && target.lsn > end) throw walLacks(baseline, target.lsn, end)
  return {
    baseline,
    base: await past.base(period),
    view,
    timeline,
    recoverTo: stop.recoverTo,
    kept: stop.kept,
    firstDropped: stop.firstDropped,
    droppedCommits: stop.droppedCommits + (await commitsOf(past, newer)),
    wal,
    walBytes: wal.reduce((sum, { bytes }) => sum + bytes, 0),
    walEnd,
    notes: notesOf(target, stop, view),
  }
}

async function commitsOf(past: Past, periods: readonly Period[]): Promise<number> {
  let count = 0
  for (const period of periods) {
    for await (const { entry } of entriesAlong(past.lists(period), period.stretches)) if (isCommit(entry)) count++
  }
  return count
}

function notesOf(target: Target, stop: Stop, view: RestorePoint): string[] {
  const notes: string[] = []
  if (stop.droppedNotLater > 0) {
    notes.push(
      `${stop.droppedNotLater} of the commits left out say that they are not later than the moment asked for: ` +
        'they follow one that is, as the clock of the server went back',
    )
  }
  if (target.kind === 'time' && target.time > view.moment && stop.firstDropped === undefined) {
    notes.push(`the journal knows the server up to ${formatMoment(view.moment)}; what it did after that is not there`)
  }
  return notes
}

const walLacks = ({ number, end: baseEnd }: Baseline, wanted: Lsn, end: Lsn): TidemarkError =>
  new TidemarkError('point-unreachable', {
    message: `WAL is needed up to ${formatLsn(wanted)}, and after baseline ${number} the journal has it without a gap up to ${formatLsn(end)}`,
    hint:
      end > baseEnd
        ? `the last that can be reached there is lsn:${formatLsn(end)}; "tidemark transactions SOURCE" lists what is known`
        : 'choose a point after the next baseline; "tidemark points SOURCE" lists baselines and holes',
  })

/** The tree holds the newest baseline only, and its branch was left before it was taken. */
const newestElsewhere = (past: Past): TidemarkError =>
  new TidemarkError('point-unreachable', {
    message: `the newest baseline there is on another branch than timeline ${past.timeline}, which the server has gone over to`,
    hint: 'choose a point after the next baseline, or name a transaction or an LSN from before the promotion',
  })

async function notThere(past: Past, point: Exclude<PostgresPoint, { kind: 'journal' }>): Promise<TidemarkError> {
  let earliest: string | undefined
  let latest: string | undefined
  for await (const period of past.periods()) {
    const last = await stopIn(past, period, { kind: 'latest' })
    latest ??= last?.kept && `${formatMoment(last.kept.time)} (lsn:${formatLsn(last.kept.start)})`
    const { moment } = await past.base(period)
    earliest = `${formatMoment(moment)} (lsn:${formatLsn(lsn(period.baseline.end))})`
  }
  const range =
    earliest === undefined
      ? 'nothing can be reached'
      : `the earliest that can be reached is ${earliest}, the last commit known ${latest ?? 'none after it'}`
  return new TidemarkError('point-unreachable', {
    message: `${describePoint(point)} is not within reach on timeline ${past.timeline}; ${range}`,
    hint: '"tidemark transactions SOURCE" lists what can be recovered to; a branch that was left is named with @TIMELINE',
  })
}

function describePoint(point: Exclude<PostgresPoint, { kind: 'journal' }>): string {
  switch (point.kind) {
    case 'moment':
      return formatMoment(point.moment)
    case 'lsn':
      return `lsn ${formatLsn(point.lsn)}`
    case 'xid':
      return `a commit of transaction ${point.xid}`
    case 'restore-point':
      return `a restore point "${point.name}"`
    default:
      return unreachable(point)
  }
}
