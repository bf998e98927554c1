import type { Clock } from '../../base/clock.ts'
import type { Moment } from '../../model/moment.ts'
import type { Lane } from '../batch-builder.ts'
import { type DirtyKey, dirtyKey, type DirtyName, type DirtySet } from './dirty-set.ts'
import { type Flow, slice, sliceMs } from './flow.ts'
import type { Hearing } from './hearing.ts'
import { LargeFile, type LargeFileParts } from './large-file.ts'
import type { Pace } from './pace.ts'
import type { FileReader } from './read-file.ts'
import { inodeOf } from './stat.ts'
import type { Outcome, Place } from './subject.ts'

export interface LargeFilesParts extends Omit<LargeFileParts, 'reader' | 'beginPass'> {
  readonly clock: Clock
  readonly dirty: DirtySet
  readonly pace: Pace
  readonly hearing: Hearing
  readonly flow: Flow
  readonly reader: Omit<FileReader, 'writes'>
}

/** The files that are read in steps. One after the other in each lane: the first is finished before the next is begun. */
export class LargeFiles {
  readonly #parts: LargeFilesParts
  readonly #underWay = new Map<DirtyKey, { readonly file: LargeFile; readonly dirty: DirtyName }>()

  constructor(parts: LargeFilesParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#underWay.size
  }

  has(key: DirtyKey): boolean {
    return this.#underWay.has(key)
  }

  begin(place: Place, dirty: DirtyName): void {
    const key = dirtyKey(dirty.directory, dirty.name)
    if (this.#underWay.has(key)) return
    const reader = { ...this.#parts.reader, writes: () => this.#parts.hearing.writes(key) }
    const beginPass = () => void this.#parts.dirty.take(key)
    const file = new LargeFile(place, { ...this.#parts, reader, beginPass })
    this.#underWay.set(key, { file, dirty })
  }

  /** Reads on for a slice; what comes of a file that ends with it. */
  step(lane: Lane): { readonly dirty: DirtyName; readonly outcome: Outcome } | undefined {
    const { clock, pace } = this.#parts
    for (const [key, { file, dirty }] of this.#underWay) {
      if (file.place.lane !== lane) continue
      if (!this.#mayGoOn(lane)) return undefined
      const beganMs = clock.monotonicMs()
      const progress = file.step(slice(clock, sliceMs.large))
      const nowMs = clock.monotonicMs()
      file.costMs += nowMs - beganMs
      if (progress === 'more' || progress === 'waiting') return undefined
      this.#underWay.delete(key)
      if (lane === 'live') pace.captured(key, nowMs, file.costMs)
      return { dirty, outcome: progress }
    }
    return undefined
  }

  #mayGoOn(lane: Lane): boolean {
    return this.#parts.flow.hasRoom(lane) && (lane === 'live' || this.#parts.flow.isLineUp())
  }

  /** Whether a step would get on. */
  get isReady(): boolean {
    return [...this.#underWay.values()].some(({ file }) => this.#mayGoOn(file.place.lane) && !file.isWaiting)
  }

  /** Whether a file with this inode is being read under another name. */
  isReadElsewhere(inode: bigint, key: DirtyKey): boolean {
    return [...this.#underWay].some(([other, { file }]) => other !== key && inodeOf(file.place.look.stat) === inode)
  }

  /** The earliest `since`. */
  oldest(): Moment | undefined {
    let oldest: Moment | undefined
    for (const { dirty } of this.#underWay.values())
      if (oldest === undefined || dirty.since < oldest) oldest = dirty.since
    return oldest
  }

  cancel(): void {
    for (const { file } of this.#underWay.values()) file.cancel()
  }
}
