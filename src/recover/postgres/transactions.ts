import type { CommitListEntry } from '../../format/commits.ts'
import type { Lsn, Timeline } from '../../model/lsn.ts'
import type { Moment } from '../../model/moment.ts'
import { Past } from './past.ts'
import { entriesAlong } from './targets.ts'
import type { TreeReader } from './tree-reader.ts'

/** What a cluster can be recovered to by name. */
export interface Recoverable {
  readonly entry: CommitListEntry
  readonly timeline: Timeline
}

export interface TransactionsRequest {
  readonly from?: Bound | undefined
  readonly to?: Bound | undefined
  /** At most so many, the newest. */
  readonly limit: number
  readonly timeline?: Timeline | undefined
}

/** A time or a place in the WAL. */
export type Bound = { readonly moment: Moment } | { readonly lsn: Lsn }

/** The newest recoverable entries between two bounds, in the order of the WAL. */
export async function listTransactions(tree: TreeReader, request: TransactionsRequest): Promise<Recoverable[]> {
  const { from, to, limit } = request
  const past = await Past.read(tree, 'latest', request.timeline)
  let found: Recoverable[] = []
  for await (const period of past.periods()) {
    const inPeriod: Recoverable[] = []
    let isBefore = false
    for await (const placed of entriesAlong(past.lists(period), period.stretches)) {
      const { entry } = placed
      if (from !== undefined && isEarlier(entry, from)) {
        isBefore = true
        continue
      }
      if (to !== undefined && isLater(entry, to)) continue
      inPeriod.push(placed)
      if (inPeriod.length >= limit * 2 + 1000) inPeriod.splice(0, inPeriod.length - limit)
    }
    found = [...inPeriod, ...found].slice(-limit)
    if (found.length >= limit || isBefore) break
  }
  return found
}

const isEarlier = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound ? entry.start < bound.lsn : entry.time < bound.moment

const isLater = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound ? entry.start > bound.lsn : entry.time > bound.moment
