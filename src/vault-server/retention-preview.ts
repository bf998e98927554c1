import type { RetentionAnswer } from '../api/measures.ts'
import { isoMoment, type Moment, moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { SealedSegment } from '../vault/journal.ts'
import type { Context } from './context.ts'

const marksMax = 100
/** Rows that are looked through for marks. */
const rowsMax = 1_000

/** What a window would delete at the next look of retention. Nothing is done. */
export async function previewRetention(
  { vault, derived, held, clock }: Pick<Context, 'vault' | 'derived' | 'held' | 'clock'>,
  source: Id,
  windowMs: number,
): Promise<RetentionAnswer> {
  const { views } = derived
  const now = clock.now() as Moment
  const begins = moment(Math.max(0, now - windowMs * 1000))
  const before = Math.min(begins, held.earliest(source) ?? begins)
  const { earliest, indexed, changes } = await views.statistics(source)
  const earliestNow = earliest === undefined ? null : isoMoment(earliest)
  const nothing = { earliestNow, earliestThen: earliestNow, changes: 0, journalBytes: 0, marks: [] }
  const keptFrom = indexed - changes
  const momentAt = async (at: Sequence): Promise<Moment> => (await views.resolve(source, `seq:${at}`, now)).moment
  const leaves = async (at: Sequence): Promise<boolean> =>
    at <= keptFrom || (at <= indexed && (await momentAt(at)) < before)
  const segments = await vault.journal(source).sealedSegments()
  const count = await countLeaving(segments, leaves)
  const at = count === 0 ? undefined : await (segments[count - 1] as SealedSegment).last()
  if (at === undefined || at <= keptFrom) return nothing
  const rows = await views.points(source, { to: await momentAt(at), limit: rowsMax })
  const marks = rows.flatMap((row) =>
    row.kind === 'mark' && row.sequence <= at ? [{ label: row.label, moment: isoMoment(row.moment) }] : [],
  )
  return {
    earliestNow,
    earliestThen: isoMoment(await momentAt(at)),
    changes: at - keptFrom,
    journalBytes: segments.slice(0, count).reduce((sum, { bytes }) => sum + bytes, 0),
    marks: marks.slice(-marksMax),
  }
}

/** How many of the first segments hold only what leaves. */
async function countLeaving(
  segments: readonly SealedSegment[],
  leaves: (last: Sequence) => Promise<boolean>,
): Promise<number> {
  let low = 0
  let high = segments.length
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (await leaves(await (segments[middle] as SealedSegment).last())) low = middle + 1
    else high = middle
  }
  return low
}
