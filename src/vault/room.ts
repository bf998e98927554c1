import type { Clock } from '../base/clock.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Store } from '../store/store.ts'
import type { Limits } from './limits.ts'

export interface RoomParts {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly limits: Limits
}

const measureEveryMs = 1000
/** The reserve is at most this share of the file system. */
const reserveShareMax = 0.01

/**
 * Whether there is room to write. A reserve stays free for indexes and the registry. Once a write has found none,
 * writers are let try again after rests that grow, until one succeeds.
 */
export class Room {
  readonly #parts: RoomParts
  readonly #stop: AbortSignal
  #stalled = false
  #restMs: number
  #resting: Promise<void> | undefined
  #budget = 0
  #measuredMs = -Infinity
  #reserveBytes: number | undefined
  #stalling = Promise.withResolvers<void>()

  constructor(parts: RoomParts, stop: AbortSignal) {
    this.#parts = parts
    this.#stop = stop
    this.#restMs = parts.limits.retryMsMin
  }

  get stalled(): boolean {
    return this.#stalled
  }

  /** Resolves at the next write that finds no room. */
  get stalling(): Promise<void> {
    return this.#stalling.promise
  }

  /** Waits out a rest; then `vault-full` unless `bytes` may be written beside the reserve. */
  async whenRoom(bytes: number): Promise<void> {
    await this.#resting
    this.#stop.throwIfAborted()
    const { clock, store } = this.#parts
    const nowMs = clock.monotonicMs()
    if (bytes > this.#budget || nowMs - this.#measuredMs >= measureEveryMs) {
      this.#budget = (await store.free()) - (await this.#reserve())
      this.#measuredMs = nowMs
    }
    if (bytes > this.#budget) {
      throw new TidemarkError('vault-full', {
        message: `the vault's file system has no room for ${bytes} bytes beside its reserve`,
        hint: 'Make room on that file system; work goes on by itself.',
      })
    }
    this.#budget -= bytes
  }

  async #reserve(): Promise<number> {
    const { store, limits } = this.#parts
    this.#reserveBytes ??= Math.min(limits.reserveBytes, reserveShareMax * (await store.capacity()))
    return this.#reserveBytes
  }

  /** True where the failure was for want of room: then the next tries rest first. */
  stalls(error: unknown): boolean {
    if (!isCode(error, 'vault-full')) return false
    this.#measuredMs = -Infinity
    this.#stalled = true
    this.#stalling.resolve()
    this.#resting ??= this.#rest().finally(() => (this.#resting = undefined))
    return true
  }

  async #rest(): Promise<void> {
    const { clock, random, limits } = this.#parts
    const restMs = this.#restMs * (0.5 + random.fraction() / 2)
    this.#restMs = Math.min(this.#restMs * 2, limits.retryMsMax)
    try {
      await clock.sleep(restMs, this.#stop)
    } catch (error) {
      if (!this.#stop.aborted) throw error
    }
  }

  /** A write succeeded. */
  found(): void {
    if (!this.#stalled) return
    this.#stalled = false
    this.#stalling = Promise.withResolvers()
    this.#restMs = this.#parts.limits.retryMsMin
  }
}
