import type { Clock } from '../../base/clock.ts'
import type { Moment } from '../../model/moment.ts'
import type { Lane } from '../batch-builder.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogTree } from './catalog-tree.ts'
import { type DirtyKey, dirtyKey, type DirtyName, type DirtySet, reason } from './dirty-set.ts'
import type { EntryCapture } from './entry-capture.ts'
import { type Flow, sliceMs } from './flow.ts'
import type { Hearing } from './hearing.ts'
import type { LargeFiles } from './large-files.ts'
import type { Offers } from './offers.ts'
import type { Pace } from './pace.ts'
import type { Problems } from './problems.ts'
import { inodeOf } from './stat.ts'
import type { Outcome } from './subject.ts'

const tornRetriesMax = 5
const retryMs = { first: 20, max: 30_000, unreadable: 10_000, moved: 50, large: 200 }

export interface DirtyCaptureParts {
  readonly clock: Clock
  readonly dirty: DirtySet
  readonly pace: Pace
  readonly hearing: Hearing
  readonly tree: CatalogTree
  readonly writer: BatchWriter
  readonly offers: Offers
  readonly entries: EntryCapture
  readonly largeFiles: LargeFiles
  readonly problems: Problems
  readonly flow: Flow
}

/** Captures what is dirty, and what could not be captured at once is tried again. */
export class DirtyCapture {
  readonly #parts: DirtyCaptureParts
  /** Named as problems and tried again later; they hold nothing up. */
  readonly #unreadable = new Map<DirtyKey, { readonly dirty: DirtyName; readonly retryAtMs: number }>()

  constructor(parts: DirtyCaptureParts) {
    this.#parts = parts
  }

  /** Of what is not in the journal yet. */
  get size(): number {
    const { dirty, largeFiles } = this.#parts
    return dirty.size + largeFiles.size + this.#unreadable.size
  }

  /** Every change made before this moment is in the journal, but for what is unreadable. */
  oldest(): Moment | undefined {
    const dirty = this.#parts.dirty.oldest()
    const large = this.#parts.largeFiles.oldest()
    return dirty === undefined || (large !== undefined && large < dirty) ? large : dirty
  }

  captureNames(): void {
    const { clock, dirty, offers } = this.#parts
    const until = clock.monotonicMs() + sliceMs.live
    while (this.#hasRoom) {
      const nowMs = clock.monotonicMs()
      if (nowMs > until) break
      const next = dirty.next(nowMs)
      if (next === undefined) break
      this.#captureName(next)
    }
    offers.flush('live')
  }

  get #hasRoom(): boolean {
    return this.#parts.flow.hasRoom('live') && this.#parts.offers.hasRoom('live')
  }

  /** Milliseconds until a name is due; Infinity while nothing can be done about it. */
  dueInMs(nowMs: number): number {
    return this.#hasRoom ? this.#parts.dirty.dueInMs(nowMs) : Infinity
  }

  /** Where something has been moved from is looked at after where it has been moved to. */
  #captureName(name: DirtyName): void {
    const { clock, dirty, pace, hearing, entries, largeFiles } = this.#parts
    const target = name.movedTo && dirty.take(dirtyKey(name.movedTo.directory, name.movedTo.name))
    if (target !== undefined) this.#captureName(target)
    const key = dirtyKey(name.directory, name.name)
    if (largeFiles.has(key)) return dirty.putBack(name, clock.monotonicMs() + retryMs.large)
    this.#unreadable.delete(key)
    const beganMs = clock.monotonicMs()
    const outcome = hearing.during(name, () => entries.capture(name, 'live'))
    const nowMs = clock.monotonicMs()
    if (outcome !== 'done') return this.unsettled(name, outcome, 'live')
    pace.captured(key, nowMs, nowMs - beganMs)
    this.#lookElsewhere(name)
  }

  /** What was written under a name that means something else by now may have another name. */
  #lookElsewhere({ directory, name, written }: DirtyName): void {
    if (written.length === 0) return
    const node = this.#parts.tree.child(directory, name)
    const here = node === undefined ? undefined : inodeOf(node.stat)
    for (const inode of written) if (inode !== here) this.#parts.hearing.inode(inode, reason.content)
  }

  readLarge(): void {
    for (const lane of ['live', 'bulk'] as const) {
      const ended = this.#parts.largeFiles.step(lane)
      if (ended !== undefined && ended.outcome !== 'done') this.unsettled(ended.dirty, ended.outcome, lane)
    }
    this.#parts.offers.flush('live')
  }

  /** Looks after what could not be captured at once. */
  unsettled(name: DirtyName, outcome: Exclude<Outcome, 'done'>, lane: Lane): void {
    const { dirty, clock, largeFiles } = this.#parts
    const nowMs = clock.monotonicMs()
    switch (outcome) {
      case 'vanished':
        return
      case 'unreadable':
        this.#unreadable.set(dirtyKey(name.directory, name.name), {
          dirty: name,
          retryAtMs: nowMs + retryMs.unreadable,
        })
        return
      case 'moved':
        name.failures++
        return dirty.putBack(name, name.failures <= 2 ? 0 : nowMs + retryMs.moved)
      case 'torn':
        return this.#torn(name, nowMs)
      default:
        largeFiles.begin({ ...outcome.large, lane }, name)
    }
  }

  #torn(name: DirtyName, nowMs: number): void {
    const { dirty, tree, writer } = this.#parts
    name.failures++
    name.reasons |= reason.content
    if (name.failures === tornRetriesMax) {
      const path = tree.pathAt(name.directory, name.name)
      if (path !== undefined) writer.write('live', { kind: 'mark', mark: { type: 'torn', path } })
    }
    dirty.putBack(name, nowMs + Math.min(retryMs.max, retryMs.first * 2 ** (name.failures - 1)))
  }

  retryUnreadable(): void {
    const { clock, tree, problems, hearing } = this.#parts
    const nowMs = clock.monotonicMs()
    for (const [key, { dirty, retryAtMs }] of this.#unreadable) {
      const path = tree.pathAt(dirty.directory, dirty.name)
      const isOver = path === undefined || !problems.has(path)
      if (isOver || retryAtMs <= nowMs) this.#unreadable.delete(key)
      if (!isOver && retryAtMs <= nowMs) hearing.notice(dirty, dirty.reasons | reason.below)
    }
  }
}
