import type { Clock } from '../base/clock.ts'
import type { PlanTotals } from './plan.ts'

export interface RestoreProgress {
  /** `finishing`: links, attributes of folders, and making everything durable. */
  readonly stage: 'planning' | 'writing' | 'finishing'
  readonly files: number
  readonly filesTotal: number
  readonly bytes: number
  readonly bytesTotal: number
  /** Undefined while nothing can be said. */
  readonly leftMs: number | undefined
}

/** Making a file costs about as much as writing this much of it. */
const fileWeightBytes = 32 * 1024
const tellEveryMs = 250

/** Counts what is done and tells it a few times a second. */
export class ProgressMeter {
  readonly #tell: (progress: RestoreProgress) => void
  readonly #clock: Clock
  readonly #started: number
  readonly #totals: PlanTotals
  #skipped = 0
  #files = 0
  #bytes = 0
  #toldMs = -Infinity

  constructor(totals: PlanTotals, clock: Clock, tell: (progress: RestoreProgress) => void) {
    this.#totals = totals
    this.#clock = clock
    this.#tell = tell
    this.#started = clock.monotonicMs()
  }

  /** What an earlier run has done counts as done, not towards the pace. */
  skip(files: number, bytes: number): void {
    this.#skipped += weight(files, bytes)
    this.add(files, bytes)
  }

  add(files: number, bytes: number): void {
    this.#files += files
    this.#bytes += bytes
    const now = this.#clock.monotonicMs()
    if (now - this.#toldMs < tellEveryMs) return
    this.#toldMs = now
    this.stage('writing')
  }

  stage(stage: RestoreProgress['stage']): void {
    const { files: filesTotal, bytes: bytesTotal } = this.#totals
    const leftMs = stage === 'writing' ? this.#leftMs() : undefined
    this.#tell({ stage, files: this.#files, filesTotal, bytes: this.#bytes, bytesTotal, leftMs })
  }

  #leftMs(): number | undefined {
    const done = weight(this.#files, this.#bytes)
    const paced = done - this.#skipped
    if (paced <= 0) return undefined
    const left = weight(this.#totals.files, this.#totals.bytes) - done
    return Math.round((left / paced) * (this.#clock.monotonicMs() - this.#started))
  }
}

const weight = (files: number, bytes: number): number => files * fileWeightBytes + bytes
