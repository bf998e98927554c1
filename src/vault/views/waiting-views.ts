import type { Clock } from '../../base/clock.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import type { Moment } from '../../model/moment.ts'
import { parsePoint, type RecoveryPoint } from '../../model/recovery-point.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { IndexProgress } from '../index/indexes.ts'
import type { PointRow, PointsRequest } from './points.ts'
import type { ViewService } from './service.ts'

/** Longest time that an answer waits for the index. */
const waitMsMax = 10_000

/**
 * Views that see what was durable when they were asked for: the question is passed on once the index has come so far.
 * Where the index cannot come further, what it has can still be seen.
 */
export function waitingViews(views: ViewService, progress: IndexProgress, clock: Clock): ViewService {
  /** Waits; returns why the index has not come so far, if it has not. */
  const lacking = async (source: Id, at: Sequence): Promise<unknown> => {
    if (progress.indexed(source) >= at) return undefined
    const stop = new AbortController()
    // In halves: where the whole machine stood still for that long, the index gets its time afterwards.
    const half = (): Promise<void> => clock.sleep(waitMsMax / 2, stop.signal)
    const late = half()
      .then(half)
      .then(
        () => stop.abort(),
        () => undefined,
      )
    try {
      await progress.reached(source, at, stop.signal)
      return undefined
    } catch (error) {
      return stop.signal.aborted ? behind(progress.indexed(source), at) : error
    } finally {
      stop.abort()
      await late
    }
  }
  const need = async (source: Id, at: Sequence): Promise<void> => {
    // What is beyond the durable end is refused by the view itself.
    const lack = at <= progress.durable(source) ? await lacking(source, at) : undefined
    if (lack !== undefined) throw lack
  }
  async function* after<T>(source: Id, at: Sequence, begin: () => AsyncIterable<T>): AsyncGenerator<T> {
    await need(source, at)
    yield* begin()
  }

  return {
    async resolve(source: Id, point: string, now: Moment): Promise<RecoveryPoint> {
      const { kind } = parsePoint(point, now)
      const lack = await lacking(source, progress.durable(source))
      const resolved = await views.resolve(source, point, now).catch((error: unknown) => {
        // A point that nobody knows of may be among what could not be indexed.
        throw lack !== undefined && isCode(error, 'point-unreachable') ? lack : error
      })
      // A moment that the index has not come to might mean a later change.
      if (lack !== undefined && kind === 'moment' && resolved.sequence >= progress.indexed(source)) throw lack
      return resolved
    },
    async points(source: Id, request: PointsRequest): Promise<PointRow[]> {
      await lacking(source, progress.durable(source))
      return views.points(source, request)
    },
    async holes(source, request) {
      await lacking(source, progress.durable(source))
      return views.holes(source, request)
    },
    async around(source, at, request) {
      await lacking(source, progress.durable(source))
      return views.around(source, at, request)
    },
    async stat(source, at, path) {
      await need(source, at)
      return views.stat(source, at, path)
    },
    list: (source, at, ...rest) => after(source, at, () => views.list(source, at, ...rest)),
    async *history(source, ...rest) {
      await lacking(source, progress.durable(source))
      yield* views.history(source, ...rest)
    },
    async *search(source, ...rest) {
      await lacking(source, progress.durable(source))
      yield* views.search(source, ...rest)
    },
    diff: (source, from, to, ...rest) => after(source, to, () => views.diff(source, from, to, ...rest)),
    manifest: (source, at, ...rest) => after(source, at, () => views.manifest(source, at, ...rest)),
    content: (source, at, ...rest) => after(source, at, () => views.content(source, at, ...rest)),
    read: (source, at, ...rest) => after(source, at, () => views.read(source, at, ...rest)),
    readResting: (source, at, ...rest) => after(source, at, () => views.readResting(source, at, ...rest)),
    stretches: (source, at, ...rest) => after(source, at, () => views.stretches(source, at, ...rest)),
    journalStretches: (source, at, ...rest) => after(source, at, () => views.journalStretches(source, at, ...rest)),
    async extents(source, at, ...rest) {
      await need(source, at)
      return views.extents(source, at, ...rest)
    },
    verify: (source, at, ...rest) => after(source, at, () => views.verify(source, at, ...rest)),
    statistics: (source) => views.statistics(source),
  }
}

const behind = (indexed: Sequence, wanted: Sequence): TidemarkError =>
  new TidemarkError('point-unreachable', {
    message: `the index has reached change ${indexed}, and ${wanted} is needed`,
    hint: 'everything up to there is durable; ask again in a moment',
  })
