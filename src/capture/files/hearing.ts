import type { Clock } from '../../base/clock.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { CatalogTree, NameRow, NodeId } from './catalog-tree.ts'
import { type DirtyKey, dirtyKey, type DirtyName, type DirtySet, reason } from './dirty-set.ts'
import type { Pace } from './pace.ts'
import type { ProtectedPaths } from './protected-paths.ts'
import type { Noticed } from './watch.ts'
import type { Watching } from './watching.ts'

/** A file that was made or written and not closed is given this long before it is looked at. */
const openDelayMs = 150
/** Files written one after the other under one name, of which the other names are looked for. */
const writtenMax = 8

export interface HearingParts {
  readonly clock: Clock
  readonly watching: Watching
  readonly dirty: DirtySet
  readonly pace: Pace
  readonly tree: CatalogTree
  readonly protectedPaths: ProtectedPaths
  /** More has happened than was told of, or than can be remembered name by name. */
  overflowed(): void
}

/** Hears the watcher, and notices which names are dirty. */
export class Hearing implements Noticed {
  readonly #parts: HearingParts
  /** When the last drain began: what changed before has been noticed. */
  #heard: Moment
  #heardBefore: Moment
  #isLost = false
  #hintsLost = 0
  #capturing: DirtyName | undefined

  constructor(parts: HearingParts) {
    this.#parts = parts
    this.#heard = moment(parts.clock.now())
    this.#heardBefore = this.#heard
  }

  /** What changed before has been noticed. */
  get upTo(): Moment {
    return this.#heard
  }

  /** How often more happened at once than could be told or remembered. */
  get hintsLost(): number {
    return this.#hintsLost
  }

  drain(): void {
    const { clock, watching, dirty, overflowed } = this.#parts
    this.#heardBefore = this.#heard
    const now = moment(clock.now())
    watching.drain(this)
    this.#heard = now
    if (!this.#isLost && !dirty.isFull) return
    this.#isLost = false
    this.#hintsLost++
    if (dirty.isFull) dirty.clear()
    overflowed()
  }

  /** Hears the watcher out; how often this name has been told of as written. */
  writes(key: DirtyKey): number {
    this.drain()
    return this.#parts.dirty.get(key)?.writes ?? 0
  }

  /** Hears on while this name is captured. */
  during<T>(dirty: DirtyName, capture: () => T): T {
    this.#capturing = dirty
    const result = capture()
    this.#capturing = undefined
    return result
  }

  /** A name has to be looked at, as soon as it is its turn. */
  notice({ directory, name }: NameRow, reasons: number): DirtyName {
    return this.#parts.dirty.notice(directory, name, reasons, this.#heardBefore, 0)
  }

  /** The directory is looked for where it was: what was to be captured in it is looked at when that has been settled. */
  lookFor(directory: NodeId): void {
    const at = this.#parts.tree.nameOf(directory)
    if (at !== undefined) this.notice(at, reason.entry)
  }

  // --- what the watcher tells

  entry(directory: NodeId, name: string, reasons: number, closed: boolean, inode?: bigint): void {
    const { clock, dirty, pace } = this.#parts
    const nowMs = clock.monotonicMs()
    const restUntilMs = pace.restUntilMs(dirtyKey(directory, name))
    const notBeforeMs = Math.max(closed ? 0 : nowMs + openDelayMs, restUntilMs > nowMs ? restUntilMs : 0)
    const { written } = dirty.notice(directory, name, reasons, this.#heardBefore, notBeforeMs)
    if (inode !== undefined && written.length < writtenMax && !written.includes(inode)) written.push(inode)
    if ((reasons & reason.entry) !== 0) this.directory(directory)
  }

  /** Its times change with every name that comes or goes, so it comes after them. */
  directory(directory: NodeId): void {
    const { tree, protectedPaths, dirty } = this.#parts
    const at = tree.nameOf(directory)
    const path = tree.pathOf(directory)
    // What is above the protected paths is looked at only when everything is.
    if (path === undefined || protectedPaths.of(path) === undefined) return
    if (at !== undefined) dirty.noticeLast(at.directory, at.name, reason.attributes, this.#heardBefore)
  }

  moved(from: NameRow, to: NameRow): void {
    const left = this.notice(from, reason.entry)
    left.movedTo = to
    // What is still to be captured of it goes with it, also what is being tried at this moment.
    const current = this.#capturing
    const isCurrent = current?.directory === from.directory && current.name === from.name
    const reasons = (left.reasons | (isCurrent ? current.reasons : 0)) & reason.content
    this.notice(to, reason.entry | reasons)
    this.directory(from.directory)
    this.directory(to.directory)
  }

  inode(inode: bigint, reasons: number): void {
    const { tree } = this.#parts
    for (const node of tree.withInode(inode)) for (const at of tree.names(node.id)) this.notice(at, reasons)
  }

  lost(): void {
    this.#isLost = true
  }
}
