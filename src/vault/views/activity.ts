import { moment } from '../../model/moment.ts'
import { sequence } from '../../model/sequence.ts'
import type { BatchEnd } from '../index/activity-reader.ts'
import type { BatchRow, IndexReader } from '../index/index-reader.ts'
import type { PointRow } from './points.ts'

export interface SequenceRange {
  readonly from: number
  readonly to: number
  /** At most so many rows. */
  readonly limit: number
}

interface ActivityRange extends SequenceRange {
  /** Batches further apart than this are two rows of activity. */
  readonly restUs: number
}

/** Above so many batches activity is told by stretches of equal length. */
const batchesMax = 10_000

/** When something changed, and how much: exactly where that is not too much to tell, else by stretches of equal length. */
export function activity(rows: IndexReader, range: ActivityRange): PointRow[] {
  const begin = rows.batchAt(range.from) ?? rows.batchAfter(range.from)
  const end = rows.activity.endingAt(range.to)
  if (begin === undefined || end === undefined || end.first < begin.first) return []
  const ends = endsOfRuns(rows, begin.first, end, range) ?? endsOfStretches(rows, begin, end, range.limit)
  const row = tellEach(rows, begin)
  return Array.from(ends, row)
}

/** The last batch of each run of batches; undefined where there are too many. */
function endsOfRuns(
  rows: IndexReader,
  from: number,
  end: BatchEnd,
  { limit, restUs }: ActivityRange,
): BatchEnd[] | undefined {
  if (rows.activity.isMoreThan(batchesMax, from, end.first)) return undefined
  const begins = rows.activity.afterRests(from, end.first, restUs, limit)
  if (begins.length >= limit) return undefined
  return [...begins.map((first) => rows.activity.endingAt(first - 1) as BatchEnd), end]
}

/** The last batch of each stretch of time of equal length in which one began. */
function* endsOfStretches(rows: IndexReader, begin: BatchRow, end: BatchEnd, limit: number): Generator<BatchEnd> {
  const start = begin.first_moment
  const until = rows.activity.beganAt(end.first) as number
  const lengthUs = Math.max(1, Math.ceil((until - start + 1) / limit))
  for (let began = start; ;) {
    const stretch = Math.floor((began - start) / lengthUs)
    const last = rows.activity.lastBefore(start + (stretch + 1) * lengthUs) as BatchEnd
    if (last.first >= end.first) return yield end
    yield last
    began = rows.activity.beganAt(last.last + 1) as number
  }
}

/** Told by what was counted up to the end of the row before. */
function tellEach(rows: IndexReader, begin: BatchRow): (end: BatchEnd) => PointRow {
  const hasFlushes = rows.firstFlush(begin.first) !== undefined
  let told = begin.first - 1
  let bytesTold = begin.bytes_total - begin.bytes
  return (end) => {
    const first = told + 1
    const bytes = end.bytes_total - bytesTold
    told = end.last
    bytesTold = end.bytes_total
    const count = hasFlushes ? rows.countFlushes(first, end.last) : 0
    const lastFlush = count === 0 ? undefined : rows.lastFlush(end.last)
    return {
      kind: 'activity',
      sequence: sequence(end.last),
      moment: moment(rows.activity.beganAt(first) as number),
      until: moment(end.last_moment),
      changes: end.last - first + 1,
      bytes,
      settled: end.settled === 1,
      ...(lastFlush === undefined ? {} : { flushes: { count, last: lastFlush } }),
    }
  }
}
