import { type CommitListEntry, commitListHeaderBytes, CommitListReader } from '../format/commits.ts'
import type { Past, Period } from './past.ts'
import { entriesOf, type Placed } from './targets.ts'

/** Between two neighbours of the log: before the entry of this number of that list. */
export interface Between {
  /** The newest list is 0. */
  readonly list: number
  readonly entry: number
}

interface List {
  readonly period: Period
  readonly name: string
}

/** The largest header and first entry. */
const beginningBytes = commitListHeaderBytes + 2 + 1023 + 2
const decodedMax = 4

/**
 * The commit lists of a whole past, the newest first, fetched as they are looked at. A place is searched by halves among their
 * beginnings, so that any of a year of commits is found by reading a few.
 */
export class CommitLists {
  readonly #past: Past
  readonly #periods: AsyncGenerator<Period>
  readonly #known: List[] = []
  readonly #decoded = new Map<number, readonly Placed[]>()

  constructor(past: Past) {
    this.#past = past
    this.#periods = past.periods()
  }

  /**
   * Before the first entry that `isBehind` holds for. It has to hold for all entries from some place on; where clocks went back it does
   * not, and then what counts is the first one in the last list that begins before such an entry, or in the one before that.
   */
  async find(isBehind: (entry: CommitListEntry) => boolean): Promise<Between> {
    const newest = await this.#newestBefore(isBehind)
    for (const list of newest === undefined ? [] : [newest + 1, newest]) {
      const entries = await this.entries(list)
      const entry = entries.findIndex((one) => isBehind(one.entry))
      if (entry >= 0) return { list, entry }
    }
    return newest === undefined
      ? { list: Math.max(this.#known.length - 1, 0), entry: 0 }
      : { list: newest, entry: (await this.entries(newest)).length }
  }

  /** Behind all there is. */
  async end(): Promise<Between> {
    return { list: 0, entry: (await this.entries(0)).length }
  }

  /** Before the newest entry that is the one, which is looked for in so many lists from the end. */
  async findFromEnd(isIt: (entry: CommitListEntry) => boolean, listsMax: number): Promise<Between | undefined> {
    for (let list = 0; list < listsMax && (await this.#list(list)) !== undefined; list++) {
      const entry = (await this.entries(list)).findLastIndex((one) => isIt(one.entry))
      if (entry >= 0) return { list, entry }
    }
    return undefined
  }

  /** From a place back, the nearest first. */
  async *back(from: Between): AsyncGenerator<Placed> {
    for (let list = from.list; (await this.#list(list)) !== undefined; list++) {
      const entries = await this.entries(list)
      yield* entries.slice(0, list === from.list ? from.entry : entries.length).reverse()
    }
  }

  async *on(from: Between): AsyncGenerator<Placed> {
    for (let list = from.list; list >= 0; list--)
      yield* (await this.entries(list)).slice(list === from.list ? from.entry : 0)
  }

  /** The entries of a list along the history; none where there is no such list. */
  async entries(list: number): Promise<readonly Placed[]> {
    const known = this.#decoded.get(list)
    if (known !== undefined) return known
    const found = await this.#list(list)
    if (found === undefined) return []
    const entries = [...entriesOf(await this.#past.readList(found.period, found.name), found.period.stretches)]
    this.#decoded.set(list, entries)
    for (const oldest of this.#decoded.keys()) if (this.#decoded.size > decodedMax) this.#decoded.delete(oldest)
    return entries
  }

  /** The newest list that does not begin with what is behind; undefined where all do. */
  async #newestBefore(isBehind: (entry: CommitListEntry) => boolean): Promise<number | undefined> {
    let behind = -1
    let before = await this.#lastUpTo(0)
    // Ever further back: what is asked for is most often of late.
    while (before !== behind && (await this.#beginsBehind(before, isBehind))) {
      behind = before
      before = await this.#lastUpTo(2 * before + 1)
    }
    if (before === behind) return undefined
    while (before - behind > 1) {
      const middle = Math.floor((before + behind) / 2)
      if (await this.#beginsBehind(middle, isBehind)) behind = middle
      else before = middle
    }
    return before
  }

  /** A list without an entry begins where the one before it does. */
  async #beginsBehind(list: number, isBehind: (entry: CommitListEntry) => boolean): Promise<boolean> {
    for (let at = list; ; at++) {
      const found = await this.#list(at)
      if (found === undefined) return true
      const first = new CommitListReader(await this.#past.readList(found.period, found.name, beginningBytes)).next()
      if (first !== undefined) return isBehind(first)
    }
  }

  async #list(list: number): Promise<List | undefined> {
    await this.#lastUpTo(list)
    return this.#known[list]
  }

  /** The number of this list, or of the oldest there is; -1 where there is none. */
  async #lastUpTo(list: number): Promise<number> {
    while (this.#known.length <= list) {
      const next = await this.#periods.next()
      if (next.done) break
      const period = next.value
      for (const name of (await this.#past.listNames(period)).reverse()) this.#known.push({ period, name })
    }
    return Math.min(list, this.#known.length - 1)
  }
}
