import type { Clock } from '../../base/clock.ts'

export interface VolumeProgress {
  /** `finishing`: making everything durable. */
  readonly stage: 'writing' | 'finishing'
  readonly bytes: number
  readonly bytesTotal: number
  /** Undefined while nothing can be said. */
  readonly leftMs: number | undefined
}

const tellEveryMs = 250

/** Counts what is done of a volume and tells it a few times a second. */
export class VolumeProgressMeter {
  readonly #bytesTotal: number
  readonly #clock: Clock
  readonly #tell: (progress: VolumeProgress) => void
  readonly #startedMs: number
  #skipped = 0
  #bytes = 0
  #toldMs = -Infinity

  constructor(bytesTotal: number, clock: Clock, tell: (progress: VolumeProgress) => void) {
    this.#bytesTotal = bytesTotal
    this.#clock = clock
    this.#tell = tell
    this.#startedMs = clock.monotonicMs()
  }

  /** What an earlier run has done counts as done, not towards the pace. */
  skip(bytes: number): void {
    this.#skipped += bytes
    this.add(bytes)
  }

  /** Where damage is looked for, bytes come twice. */
  add(bytes: number): void {
    this.#bytes = Math.min(this.#bytes + bytes, this.#bytesTotal)
    const now = this.#clock.monotonicMs()
    if (now - this.#toldMs < tellEveryMs) return
    this.#toldMs = now
    this.stage('writing')
  }

  stage(stage: VolumeProgress['stage']): void {
    this.#tell({ stage, bytes: this.#bytes, bytesTotal: this.#bytesTotal, leftMs: this.#leftMs() })
  }

  #leftMs(): number | undefined {
    const paced = this.#bytes - this.#skipped
    if (paced <= 0) return undefined
    return Math.round(((this.#bytesTotal - this.#bytes) / paced) * (this.#clock.monotonicMs() - this.#startedMs))
  }
}
