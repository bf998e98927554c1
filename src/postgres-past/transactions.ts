import { unreachable } from '../base/assert.ts'
import { TidemarkError } from '../base/errors.ts'
import type { CommitListEntry } from '../format/commits.ts'
import { formatLsn, type Lsn, noLsn, type Timeline } from '../model/lsn.ts'
import type { Moment } from '../model/moment.ts'
import type { PostgresPoint } from '../model/postgres-point.ts'
import { type Between, CommitLists } from './commit-lists.ts'
import { Past } from './past.ts'
import { isCommit, type Placed } from './targets.ts'
import type { TreeReader } from './tree-reader.ts'

/** What a cluster can be recovered to by name. */
export interface Recoverable extends Placed {
  /** WAL since the entry before it: its own and that of others meanwhile. Undefined of the first that is known. */
  readonly bytes: number | undefined
}

export interface TransactionsRequest {
  readonly from?: Bound | undefined
  readonly to?: Bound | undefined
  readonly limit: number
  /** Which end of the span comes first, and is told where there are more than `limit`. */
  readonly order: 'newest' | 'oldest'
  readonly timeline?: Timeline | undefined
}

/** A time or a place in the WAL. */
export type Bound = { readonly moment: Moment } | { readonly lsn: Lsn; readonly inclusive: boolean }

export interface Transactions {
  readonly rows: readonly Recoverable[]
  /** There are others between the bounds. */
  readonly more: boolean
}

/**
 * The recoverable entries between two bounds, which follow one another in the WAL: from the first that is not earlier than `from` up to
 * before the first that is later than `to`. Where clocks went back there may be some among them that say otherwise.
 */
export async function listTransactions(tree: TreeReader, request: TransactionsRequest): Promise<Transactions> {
  const { from, to, limit, order } = request
  const lists = new CommitLists(await Past.read(tree, 'latest', request.timeline))
  const end = to === undefined ? await lists.end() : await lists.find((entry) => isLater(entry, to))
  const start = from === undefined ? undefined : await lists.find((entry) => !isEarlier(entry, from))
  if (order === 'newest') {
    const first = start === undefined ? noLsn : await lsnAt(lists, start)
    return await newestFirst(lists.back(end), ({ start: at }) => at >= first, limit)
  }
  const last = await lsnAt(lists, end)
  const beginning = start ?? (await lists.find(() => true))
  const [before] = (await newestFirst(lists.back(beginning), () => true, 1)).rows
  return await oldestFirst(lists.on(beginning), before, ({ start: at }) => at < last, limit)
}

/** What lies around a point, the nearest first. */
export interface Around {
  readonly before: readonly Recoverable[]
  readonly after: readonly Recoverable[]
}

/** Lists that are looked through, from the end, for what is not searched by halves. */
const listsSearchedMax = 64

/** The last entries that a recovery to `point` would bring back, and the first that it would leave out. */
export async function transactionsAround(tree: TreeReader, point: PostgresPoint, limit: number): Promise<Around> {
  if (point.kind === 'journal') return await aroundJournal(tree, point.text, limit)
  const lists = new CommitLists(await Past.read(tree, 'latest', branchOf(point)))
  return await aroundPlace(lists, await placeOf(lists, point), limit)
}

/** All WAL known at a place in the journal is before; what came later is seen where its branch went on. */
async function aroundJournal(tree: TreeReader, at: string, limit: number): Promise<Around> {
  const past = await Past.read(tree, at)
  const then = new CommitLists(past)
  const known = await aroundPlace(then, await then.end(), limit)
  const [last] = known.before
  if (last === undefined) return known
  const lists = new CommitLists(await Past.read(tree, 'latest'))
  const now = await aroundPlace(lists, await lists.find(({ start }) => start > last.entry.start), limit)
  const [same] = now.before
  const isAlong = same?.entry.start === last.entry.start && same.timeline === last.timeline
  return isAlong ? { before: known.before, after: now.after } : known
}

async function aroundPlace(lists: CommitLists, place: Between, limit: number): Promise<Around> {
  const before = (await newestFirst(lists.back(place), () => true, limit)).rows
  const after = (await oldestFirst(lists.on(place), before[0], () => true, limit)).rows
  return { before, after }
}

/** The branch that a point names, where it names one. */
export const branchOf = (point: PostgresPoint): Timeline | undefined =>
  'timeline' in point ? point.timeline : undefined

async function placeOf(lists: CommitLists, point: Exclude<PostgresPoint, { kind: 'journal' }>): Promise<Between> {
  switch (point.kind) {
    case 'moment':
      return await lists.find((entry) => isCommit(entry) && entry.time > point.moment)
    case 'lsn':
      return await lists.find((entry) => isLater(entry, point))
    case 'xid': {
      const found = await lists.findFromEnd(
        (entry) => isCommit(entry) && 'xid' in entry && entry.xid === point.xid,
        listsSearchedMax,
      )
      return behind(found, point.inclusive) ?? notFound(`commit of transaction ${point.xid}`)
    }
    case 'restore-point': {
      const found = await lists.findFromEnd(
        (entry) => entry.kind === 'restore-point' && entry.name === point.name,
        listsSearchedMax,
      )
      return behind(found, true) ?? notFound(`restore point "${point.name}"`)
    }
    default:
      return unreachable(point)
  }
}

const behind = (found: Between | undefined, inclusive: boolean): Between | undefined =>
  found === undefined || !inclusive ? found : { ...found, entry: found.entry + 1 }

function notFound(what: string): never {
  throw new TidemarkError('point-unreachable', {
    message: `there is no ${what} among the last that are known, which were looked through`,
    hint: 'name it by its moment or its lsn; "tidemark transactions SOURCE --from --to" lists both',
  })
}

/** Of a walk back, with the WAL from each to the one before it. */
async function newestFirst(
  walk: AsyncIterable<Placed>,
  isWithin: (entry: CommitListEntry) => boolean,
  limit: number,
): Promise<Transactions> {
  const rows: Recoverable[] = []
  let newer: Placed | undefined
  for await (const placed of walk) {
    if (newer !== undefined) rows.push({ ...newer, bytes: newer.entry.end - placed.entry.end })
    const within = isWithin(placed.entry)
    if (!within || rows.length === limit) return { rows, more: within }
    newer = placed
  }
  if (newer !== undefined) rows.push({ ...newer, bytes: undefined })
  return { rows, more: false }
}

async function oldestFirst(
  walk: AsyncIterable<Placed>,
  first: Placed | undefined,
  isWithin: (entry: CommitListEntry) => boolean,
  limit: number,
): Promise<Transactions> {
  const rows: Recoverable[] = []
  let before = first
  for await (const placed of walk) {
    const within = isWithin(placed.entry)
    if (!within || rows.length === limit) return { rows, more: within }
    rows.push({ ...placed, bytes: before === undefined ? undefined : placed.entry.end - before.entry.end })
    before = placed
  }
  return { rows, more: false }
}

/** Of the first entry behind a place; beyond all where there is none. */
async function lsnAt(lists: CommitLists, place: Between): Promise<number> {
  for await (const { entry } of lists.on(place)) return entry.start
  return Infinity
}

const isEarlier = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound ? entry.start < bound.lsn : entry.time < bound.moment

const isLater = (entry: CommitListEntry, bound: Bound): boolean =>
  'lsn' in bound
    ? entry.start > bound.lsn || (entry.start === bound.lsn && !bound.inclusive)
    : entry.time > bound.moment

/** Just after an entry, or just before it, as a person or a program asks for it; `branch` is named where the entry is on one that was left. */
export const pointOf = ({ entry }: Placed, side: 'after' | 'before', branch: Timeline | undefined): string =>
  `${side === 'before' ? 'before:' : ''}lsn:${formatLsn(entry.start)}${branch === undefined ? '' : `@${branch}`}`
