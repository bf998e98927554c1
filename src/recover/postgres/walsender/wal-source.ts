import { TidemarkError } from '../../../base/errors.ts'
import { parseTimelineHistory, type TimelineFork } from '../../../format/postgres-wire/timeline-history.ts'
import { formatLsn, type Lsn, type Timeline, walSegmentName } from '../../../model/lsn.ts'

/** Where a walsender gets the WAL of one cluster from. Only bytes that were verified come out of it. */
export interface WalSource {
  /** A number of 64 bits, as text: made by initdb, equal in all members of a cluster. */
  readonly systemId: string
  /** `server_version_num` of the cluster: 170010 is 17.10. */
  readonly version: number
  readonly segmentBytes: number
  /** The newest branch of history, and where its WAL ends as far as it is here. */
  newest(): { readonly timeline: Timeline; readonly end: Lsn }
  /** The bytes of a timeline's history file; undefined where there is none, as of the first one. */
  history(of: Timeline): Promise<Buffer | undefined>
  /**
   * WAL of a timeline from a position on, in pieces that hold until the next is asked for: what is here, then what comes, as
   * it comes. Ends where the newest timeline has left this one, and for nothing else. `database-log-gap` where WAL that has
   * to come next is not here; rejects with the signal's reason when it aborts.
   */
  read(timeline: Timeline, from: Lsn, signal: AbortSignal): AsyncIterable<Uint8Array>
}

/** The forks on the way to the newest timeline, from the oldest on. */
export async function forksToNewest(source: WalSource): Promise<TimelineFork[]> {
  const history = await source.history(source.newest().timeline)
  return history === undefined ? [] : parseTimelineHistory(history)
}

/** In the words that receivers and their users know. */
export const segmentGone = (timeline: Timeline, at: Lsn, segmentBytes: number): TidemarkError =>
  new TidemarkError('database-log-gap', {
    message: `requested WAL segment ${walSegmentName(timeline, at, segmentBytes)} has already been removed`,
    hint: 'make the standby anew from the newest baseline',
  })

/** Of a position that no history leads to. */
export const notInHistory = (timeline: Timeline, from: Lsn, fork: TimelineFork | undefined): TidemarkError =>
  new TidemarkError('database-log-gap', {
    message:
      `requested starting point ${formatLsn(from)} on timeline ${timeline} is not in this server's history` +
      (fork ? `: it forked from timeline ${fork.timeline} at ${formatLsn(fork.leftAt)}` : ''),
    hint: 'the standby has replayed what the newest history does not have: make it anew from the newest baseline',
  })
