import type { Clock } from '../base/clock.ts'
import type { Store } from '../store/store.ts'

/** Listing a large vault takes a while; what is told may be so old. */
const listedMsMax = 2_000

/** How much a vault holds, and how much room it has. */
export class Space {
  readonly #store: Store
  readonly #clock: Clock
  #listed: { readonly atMs: number; readonly bytes: Promise<number> } | undefined

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  freeBytes(): Promise<number> {
    return this.#store.free()
  }

  storedBytes(): Promise<number> {
    const nowMs = this.#clock.monotonicMs()
    if (this.#listed === undefined || nowMs - this.#listed.atMs > listedMsMax) {
      this.#listed = { atMs: nowMs, bytes: this.#sum() }
      // A failure is told to those who ask now, and not kept for those who ask later.
      this.#listed.bytes.catch(() => (this.#listed = undefined))
    }
    return this.#listed.bytes
  }

  async #sum(): Promise<number> {
    const [journals, packs] = await Promise.all([this.#store.list('journals'), this.#store.list('packs')])
    return [...journals, ...packs].reduce((sum, { bytes }) => sum + bytes, 0)
  }
}
