import { TidemarkError } from '../../base/errors.ts'
import { formatMoment, type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import type { PointRequest, RecoveryPoint, Span } from '../../model/recovery-point.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { type IndexReader, type MarkRow, momentIn, sequenceIn } from '../index/index-reader.ts'
import { activity, type SequenceRange } from './activity.ts'

/** A row of the list of recovery points, or of what has to be known about them. */
export type PointRow =
  | {
      readonly kind: 'activity'
      /** Of its last change, where its tree is. */
      readonly sequence: Sequence
      /** Of its first change. */
      readonly moment: Moment
      readonly until: Moment
      readonly changes: number
      readonly bytes: number
      /** At its end. */
      readonly settled: boolean
      /** Of a volume: what whoever wrote was told to be safe, within the stretch. */
      readonly flushes?: { readonly count: number; readonly last: Sequence }
    }
  | { readonly kind: 'mark'; readonly sequence: Sequence; readonly moment: Moment; readonly label: string }
  | {
      readonly kind: 'suspect' | 'hole'
      readonly sequence: Sequence
      readonly moment: Moment
      /** Undefined while it goes on. */
      readonly until: Moment | undefined
      readonly reason: string
    }
  | {
      readonly kind: 'torn' | 'vanished'
      readonly sequence: Sequence
      readonly moment: Moment
      readonly path: TreePath
    }

export interface HolesRequest {
  readonly from: Moment
  readonly to: Moment
}

export const holesMax = 1_000

export interface PointsRequest {
  readonly from?: Moment
  readonly to?: Moment
  /** At most so many rows of activity, which become coarser, and so many others, the newest. */
  readonly limit: number
  /** Batches further apart than this are two rows of activity; a second where it is left out. */
  readonly restUs?: number
}

const restUsUsual = 1_000_000

export function resolvePoint(rows: IndexReader, wanted: PointRequest): RecoveryPoint {
  const at = sequenceOf(rows, wanted)
  const { checkpoint, indexed } = rows.kept()
  if (at === undefined || at < Math.max(checkpoint, 1) || at > indexed) throw unreachablePoint(rows, wanted)
  return describePoint(rows, at, wanted.kind === 'moment' ? wanted.moment : undefined)
}

function sequenceOf(rows: IndexReader, wanted: PointRequest): Sequence | undefined {
  const state = rows.kept()
  switch (wanted.kind) {
    case 'latest':
      return sequence(state.indexed)
    case 'sequence':
      return wanted.sequence
    case 'mark':
      return rows.userMark(wanted.label)
    case 'flush': {
      const upTo = wanted.moment === undefined ? state.indexed : sequenceAtMoment(rows, wanted.moment)
      return upTo === undefined ? undefined : rows.lastFlush(upTo)
    }
    default:
      return sequenceAtMoment(rows, wanted.moment)
  }
}

function sequenceAtMoment(rows: IndexReader, when: Moment): Sequence | undefined {
  const batch = rows.batchAtMoment(when)
  if (batch !== undefined) return sequenceIn(batch, when)
  const { checkpoint, checkpoint_moment: kept } = rows.kept()
  return when >= kept ? sequence(checkpoint) : undefined
}

/** `asked` is the moment by which the point was found, where it was: a hole is judged by it. */
function describePoint(rows: IndexReader, at: Sequence, asked: Moment | undefined): RecoveryPoint {
  const batch = rows.batchAt(at)
  const when = batch === undefined ? moment(rows.kept().checkpoint_moment) : momentIn(batch, at)
  return {
    sequence: at,
    moment: when,
    received: batch === undefined ? when : moment(batch.received),
    settled: batch?.settled === 1 && batch.last === at,
    suspect: suspectAt(rows, at)?.span,
    hole: holeAt(rows, at, asked ?? moment(Math.max(when - 1, 0))),
  }
}

function suspectAt(rows: IndexReader, at: number): { opened: MarkRow; span: Span } | undefined {
  const closed = rows.lastMark('complete', at)
  const opened = rows.firstMark('suspect', closed?.sequence ?? -1)
  if (opened === undefined || opened.sequence > at || opened.mark.type !== 'suspect') return undefined
  const until = rows.firstMark('complete', at)?.moment
  return { opened, span: { since: opened.moment, until, reason: opened.mark.reason } }
}

/** A hole is told after it happened: it begins at the moment it names and ends with the next `complete`. */
function holeAt(rows: IndexReader, at: number, asked: Moment): Span | undefined {
  const before = rows.lastMark('hole', at)
  const closed = rows.lastMark('complete', at)
  if (before !== undefined && before.sequence > (closed?.sequence ?? -1)) return holeSpan(rows, before)
  const next = rows.firstMark('hole', at)
  return next?.mark.type === 'hole' && next.mark.since <= asked ? holeSpan(rows, next) : undefined
}

/** Of those that lie in a span at least in part, the newest so many, ascending. */
export function listHoles(rows: IndexReader, { from, to }: HolesRequest): Span[] {
  const holes: Span[] = []
  let found = rows.lastMark('hole', rows.kept().indexed)
  while (found !== undefined && holes.length < holesMax) {
    const hole = holeSpan(rows, found)
    // They end in the order in which they were told.
    if (hole?.until !== undefined && hole.until < from) break
    if (hole !== undefined && hole.since < to) holes.push(hole)
    found = rows.lastMark('hole', found.sequence - 1)
  }
  return holes.reverse()
}

/** The newest that is still told. */
export function lastHole(rows: IndexReader): Span | undefined {
  const found = rows.lastMark('hole', rows.kept().indexed)
  return found && holeSpan(rows, found)
}

function holeSpan(rows: IndexReader, { sequence: at, mark }: MarkRow): Span | undefined {
  if (mark.type !== 'hole') return undefined
  return { since: mark.since, until: rows.firstMark('complete', at)?.moment, reason: mark.reason }
}

function unreachablePoint(rows: IndexReader, wanted: PointRequest): TidemarkError {
  const { checkpoint, checkpoint_moment: kept, indexed } = rows.kept()
  const first = rows.batchAfter(0)
  const latest = rows.batchAt(indexed)
  const earliest = checkpoint > 0 ? kept : first?.first_moment
  if (earliest === undefined) {
    return new TidemarkError('point-unreachable', {
      message: 'there is no recovery point yet',
      hint: 'the first comes with the baseline; look at the status of the source',
    })
  }
  const until = latest?.last_moment ?? kept
  return new TidemarkError('point-unreachable', {
    message: `there is no recovery point ${describeRequest(wanted)}`,
    hint:
      `the earliest is ${formatMoment(moment(earliest))} (seq:${Math.max(checkpoint, 1)}), ` +
      `the latest ${formatMoment(moment(until))} (seq:${indexed}); list the points to choose one`,
  })
}

function describeRequest(wanted: PointRequest): string {
  switch (wanted.kind) {
    case 'latest':
      return 'latest'
    case 'moment':
      return `at or before ${formatMoment(wanted.moment)}`
    case 'sequence':
      return `seq:${wanted.sequence}`
    case 'flush':
      return wanted.moment === undefined ? 'at a flush' : `at a flush at or before ${formatMoment(wanted.moment)}`
    default:
      return `with the mark ${JSON.stringify(wanted.label)}`
  }
}

/** Ascending by moment. */
export function listPoints(rows: IndexReader, request: PointsRequest): PointRow[] {
  const { checkpoint, indexed } = rows.kept()
  const earliest = request.from === undefined ? undefined : rows.batchAtMoment(request.from - 1)
  const from = Math.max(earliest === undefined ? 1 : sequenceIn(earliest, (request.from as number) - 1) + 1, checkpoint)
  const latest = request.to === undefined ? undefined : rows.batchAtMoment(request.to)
  const to = request.to === undefined ? indexed : latest === undefined ? 0 : sequenceIn(latest, request.to)
  if (to < from) return []
  const points = [
    ...activity(rows, { from, to, limit: request.limit, restUs: request.restUs ?? restUsUsual }),
    ...told(rows, { from, to, limit: request.limit }),
  ]
  return points.sort((a, b) => a.moment - b.moment || a.sequence - b.sequence)
}

function told(rows: IndexReader, { from, to, limit }: SequenceRange): PointRow[] {
  const open = suspectAt(rows, from - 1)
  const points: PointRow[] =
    open === undefined ? [] : [{ kind: 'suspect', ...placed(open.opened), ...spanRow(open.span) }]
  const marks = rows.marks(from, to, limit, true).reverse()
  let opened: Sequence | undefined
  for (const row of marks) {
    const { mark } = row
    if (mark.type === 'user') points.push({ kind: 'mark', ...placed(row), label: mark.label })
    else if (mark.type === 'torn' || mark.type === 'vanished') {
      points.push({ kind: mark.type, ...placed(row), path: mark.path })
    } else if (mark.type === 'hole') {
      const span = holeSpan(rows, row)
      if (span !== undefined) points.push({ kind: 'hole', ...placed(row), moment: mark.since, ...spanRow(span) })
    } else if (mark.type === 'suspect' && row.sequence !== opened) {
      // A span is told where it opens; what is suspect within it opens nothing.
      const found = suspectAt(rows, row.sequence)
      if (found?.opened.sequence !== row.sequence) continue
      opened = row.sequence
      points.push({ kind: 'suspect', ...placed(row), ...spanRow(found.span) })
    }
  }
  return points
}

const placed = ({ sequence: at, moment: when }: MarkRow) => ({ sequence: at, moment: when })
const spanRow = ({ until, reason }: Span) => ({ until, reason })
