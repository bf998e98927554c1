import type { CommitListEntry } from '../../format/commits.ts'
import type { Lsn, Timeline } from '../../model/lsn.ts'
import type { Moment } from '../../model/moment.ts'
import { Past } from './past.ts'
import { entriesFromEnd } from './targets.ts'
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
  const newestFirst: Recoverable[] = []
  for await (const period of past.periods()) {
    let isBefore = false
    for await (const placed of entriesFromEnd(past.listsFromEnd(period), period.stretches)) {
      if (newestFirst.length >= limit) return newestFirst.reverse()
      const { entry } = placed
      if (from !== undefined && isEarlier(entry, from)) {
        isBefore = true
        // Places only go on; times go back now and then.
        if ('lsn' in from) break
      } else if (to === undefined || !isLater(entry, to)) newestFirst.push(placed)
    }
    if (isBefore) break
  }
  return newestFirst.slice(0, limit).reverse()
}

const isEarlier = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound ? entry.start < bound.lsn : entry.time < bound.moment

const isLater = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound ? entry.start > bound.lsn : entry.time > bound.moment
