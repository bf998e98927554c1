import type { Moment } from '../../model/moment.ts'
import type { NameRow, NodeId } from './catalog-tree.ts'

/** Why a name is dirty; several at once. */
export const reason = {
  /** Its content may have changed. */
  content: 1,
  /** Its owner, mode, times, extended attributes. */
  attributes: 2,
  /** It came, went, or stands for something else now. */
  entry: 4,
  /** A directory of which everything below is to be compared. */
  below: 8,
  /** That its times are as known proves nothing. */
  doubt: 16,
} as const

/** One name in one directory of which the catalog may be wrong. */
export interface DirtyName extends NameRow {
  reasons: number
  /** Every change made to it before this moment is in the journal. */
  readonly since: Moment
  /** Where a rename has taken what stood here; that name is looked at first, so that one rename comes of it. */
  movedTo: NameRow | undefined
  /** What was written under this name: where the name is gone by now, the same file may have another. */
  written: bigint[]
  /** Times it was noticed for its content. */
  writes: number
  /** Monotonic milliseconds before which it is left alone. */
  notBeforeMs: number
  /** Captures that failed or were torn, one after the other. */
  failures: number
}

export const dirtyName = (
  { directory, name }: NameRow,
  reasons: number,
  since: Moment,
  notBeforeMs = 0,
): DirtyName => ({
  directory,
  name,
  reasons,
  since,
  movedTo: undefined,
  written: [],
  writes: 0,
  notBeforeMs,
  failures: 0,
})

export type DirtyKey = string
export const dirtyKey = (directory: NodeId, name: string): DirtyKey => `${directory}/${name}`

/** Past this a comparison of everything is cheaper than remembering each name. */
export const dirtyNamesMax = 250_000

/** One of the last gets its turn after this many others, so that an endless stream of them does not keep it out. */
const lastEvery = 256

/** Names to look at, in the order in which they were first noticed, each once. */
export class DirtySet {
  readonly #ready = new Map<DirtyKey, DirtyName>()
  readonly #delayed = new Map<DirtyKey, DirtyName>()
  /** Directories of which nothing but their own attributes is dirty: they come when the rest is done. */
  readonly #last = new Map<DirtyKey, DirtyName>()
  #sinceLast = 0
  #nextDueMs = Infinity

  get size(): number {
    return this.#ready.size + this.#delayed.size + this.#last.size
  }

  get isFull(): boolean {
    return this.size > dirtyNamesMax
  }

  get(key: DirtyKey): DirtyName | undefined {
    return this.#ready.get(key) ?? this.#delayed.get(key) ?? this.#last.get(key)
  }

  /** Notices a name, or one more reason for a name already noticed. An earlier due time wins, except over a pace. */
  notice(directory: NodeId, name: string, reasons: number, since: Moment, notBeforeMs: number): DirtyName {
    const key = dirtyKey(directory, name)
    const known = this.get(key)
    if (known === undefined) {
      const fresh = dirtyName({ directory, name }, reasons, since, notBeforeMs)
      if ((reasons & reason.content) !== 0) fresh.writes++
      this.#keep(key, fresh)
      return fresh
    }
    known.reasons |= reasons
    if ((reasons & reason.content) !== 0) known.writes++
    if (this.#last.delete(key)) this.#keep(key, known)
    if (known.failures === 0 && notBeforeMs < known.notBeforeMs) this.delay(known, notBeforeMs)
    return known
  }

  noticeLast(directory: NodeId, name: string, reasons: number, since: Moment): void {
    const key = dirtyKey(directory, name)
    const known = this.get(key)
    if (known !== undefined) known.reasons |= reasons
    else this.#last.set(key, dirtyName({ directory, name }, reasons, since))
  }

  /** Puts back what was taken, keeping its `since`; what was noticed meanwhile is added to it. */
  putBack(dirty: DirtyName, notBeforeMs: number): void {
    const key = dirtyKey(dirty.directory, dirty.name)
    const newer = this.get(key)
    if (newer !== undefined) {
      dirty.reasons |= newer.reasons
      dirty.movedTo ??= newer.movedTo
      dirty.written.push(...newer.written)
      dirty.writes += newer.writes
      this.take(key)
    }
    dirty.notBeforeMs = notBeforeMs
    this.#keep(key, dirty)
  }

  delay(dirty: DirtyName, notBeforeMs: number): void {
    const key = dirtyKey(dirty.directory, dirty.name)
    this.take(key)
    dirty.notBeforeMs = notBeforeMs
    this.#keep(key, dirty)
  }

  take(key: DirtyKey): DirtyName | undefined {
    const dirty = this.get(key)
    this.#ready.delete(key)
    this.#delayed.delete(key)
    this.#last.delete(key)
    return dirty
  }

  /** Takes the first name that is due. */
  next(nowMs: number): DirtyName | undefined {
    if (nowMs >= this.#nextDueMs) this.#release(nowMs)
    const isTurnOfLast = this.#ready.size === 0 || this.#sinceLast >= lastEvery
    const from = isTurnOfLast && this.#last.size > 0 ? this.#last : this.#ready
    for (const [key, dirty] of from) {
      this.#sinceLast = from === this.#last ? 0 : this.#sinceLast + 1
      from.delete(key)
      return dirty
    }
    return undefined
  }

  /** Milliseconds until a name is due; 0 when one is, Infinity when there are none. */
  dueInMs(nowMs: number): number {
    return this.#ready.size + this.#last.size > 0 ? 0 : Math.max(0, this.#nextDueMs - nowMs)
  }

  /** Makes everything noticed before `moment` due now, whatever its pace. */
  hurry(moment: Moment): void {
    for (const dirty of [...this.#delayed.values()]) if (dirty.since <= moment) this.delay(dirty, 0)
  }

  /** The earliest `since`. */
  oldest(): Moment | undefined {
    let oldest: Moment | undefined
    for (const names of [this.#ready, this.#delayed, this.#last]) {
      for (const { since } of names.values()) if (oldest === undefined || since < oldest) oldest = since
    }
    return oldest
  }

  clear(): void {
    this.#ready.clear()
    this.#delayed.clear()
    this.#last.clear()
    this.#nextDueMs = Infinity
  }

  #keep(key: DirtyKey, dirty: DirtyName): void {
    if (dirty.notBeforeMs <= 0) {
      this.#ready.set(key, dirty)
      return
    }
    this.#delayed.set(key, dirty)
    this.#nextDueMs = Math.min(this.#nextDueMs, dirty.notBeforeMs)
  }

  #release(nowMs: number): void {
    this.#nextDueMs = Infinity
    for (const [key, dirty] of this.#delayed) {
      if (dirty.notBeforeMs <= nowMs) {
        this.#delayed.delete(key)
        dirty.notBeforeMs = 0
        this.#ready.set(key, dirty)
      } else {
        this.#nextDueMs = Math.min(this.#nextDueMs, dirty.notBeforeMs)
      }
    }
  }
}
