import { type Lsn, type Timeline, walSegmentStart } from '../../model/lsn.ts'
import type { LogState } from './cursor.ts'
import { checkOf } from './journal.ts'
import { type TimelineHistory, timelineHistory } from './protocol/replication.ts'
import type { Server } from './server.ts'
import type { TimelineFork } from '../../format/postgres-wire/timeline-history.ts'

/** Where a journal stands in the history of a server. */
export type Place =
  /** Its log goes on, on its own timeline. */
  | { readonly kind: 'same' }
  /** The server's history left a timeline that the journal has up to there, or farther. */
  | { readonly kind: 'forked'; readonly next: Timeline; readonly at: Lsn }
  /** The server knows nothing yet of the timeline that the journal is on. */
  | { readonly kind: 'older' }
  | { readonly kind: 'foreign'; readonly why: string }

/** `history` is that of the server's newest timeline. */
export function placeInHistory(
  { stretches, historyCheck }: Pick<LogState, 'stretches' | 'historyCheck'>,
  newest: Timeline,
  history: TimelineHistory | undefined,
): Place {
  const last = stretches.at(-1)
  if (last === undefined) return { kind: 'foreign', why: 'it holds no log' }
  if (newest < last.timeline) return { kind: 'older' }
  if (newest === last.timeline) {
    const isOther = history !== undefined && checkOf(history) !== historyCheck
    return isOther ? { kind: 'foreign', why: `timeline ${newest} began elsewhere` } : { kind: 'same' }
  }
  const forks = history?.forks ?? []
  const own = forks.find(({ timeline }) => timeline === last.timeline)
  if (own !== undefined && last.end <= own.leftAt) return { kind: 'same' }
  for (const stretch of stretches.toReversed()) {
    const index = forks.findIndex(({ timeline }) => timeline === stretch.timeline)
    const fork = forks[index]
    if (fork === undefined || fork.leftAt < stretch.first || fork.leftAt > stretch.end) continue
    return { kind: 'forked', next: forks[index + 1]?.timeline ?? newest, at: fork.leftAt }
  }
  return { kind: 'foreign', why: `timeline ${newest} did not come from timeline ${last.timeline}` }
}

/** On which timeline the WAL from `start`, which is the start of a segment, is: a segment with a fork is of the new one. */
const timelineAt = (forks: readonly TimelineFork[], newest: Timeline, start: Lsn, segmentBytes: number): Timeline =>
  forks.find(({ leftAt }) => start < walSegmentStart(leftAt, segmentBytes))?.timeline ?? newest

/** The same, as the server knows it. */
export async function timelineAtServer(server: Server, start: Lsn): Promise<Timeline> {
  const { identity, segmentBytes } = server
  const history = await historyOf(server, identity.timeline)
  return timelineAt(history?.forks ?? [], identity.timeline, start, segmentBytes)
}

/** The first timeline has none. */
export const historyOf = async ({ replication }: Server, of: Timeline): Promise<TimelineHistory | undefined> =>
  of === 1 ? undefined : await timelineHistory(replication, of)
