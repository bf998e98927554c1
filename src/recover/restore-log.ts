import type { Clock } from '../base/clock.ts'
import type { StateFolder } from './state-folder.ts'

const durableEveryMs = 30_000

/**
 * Records groups as they are written, and from time to time has all of them made durable. While that is under way,
 * further groups wait to be recorded: the mark in the log must not cover them.
 */
export class RestoreLog {
  readonly #state: StateFolder
  readonly #clock: Clock
  readonly #sync: () => Promise<unknown>
  #waiting: number[] | undefined
  #durableMs: number

  constructor(state: StateFolder, clock: Clock, sync: () => Promise<unknown>) {
    this.#state = state
    this.#clock = clock
    this.#sync = sync
    this.#durableMs = clock.monotonicMs()
  }

  async record(group: number): Promise<void> {
    if (this.#waiting) {
      this.#waiting.push(group)
      return
    }
    this.#state.record(group)
    if (this.#clock.monotonicMs() - this.#durableMs < durableEveryMs) return
    this.#waiting = []
    await this.#sync()
    this.#state.recordDurable()
    for (const waiting of this.#waiting) this.#state.record(waiting)
    this.#waiting = undefined
    this.#durableMs = this.#clock.monotonicMs()
  }
}
