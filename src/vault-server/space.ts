import type { Clock } from '../base/clock.ts'
import type { Store } from '../store/store.ts'

/** Listing a large vault takes a while: what is told may be so old, and the longer it takes the older. */
const listedMsMax = 2_000
const listingRests = 50

export interface Stored {
  /** What journals and packs take. */
  readonly storedBytes: number
  /** What is derived from them. */
  readonly indexBytes: number
  /** By the id of their source. */
  readonly journalBytes: ReadonlyMap<string, number>
}

/** How much a vault holds, and how much room it has. */
export class Space {
  readonly #store: Store
  readonly #clock: Clock
  #listed: { readonly stored: Promise<Stored>; goodUntilMs: number } | undefined

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  freeBytes(): Promise<number> {
    return this.#store.free()
  }

  totalBytes(): Promise<number> {
    return this.#store.capacity()
  }

  async storedBytes(): Promise<number> {
    return (await this.stored()).storedBytes
  }

  stored(): Promise<Stored> {
    if (this.#listed === undefined || this.#clock.monotonicMs() > this.#listed.goodUntilMs) {
      this.#listed = this.#list()
      // A failure is told to those who ask now, and not kept for those who ask later.
      this.#listed.stored.catch(() => (this.#listed = undefined))
    }
    return this.#listed.stored
  }

  #list(): { readonly stored: Promise<Stored>; goodUntilMs: number } {
    const beganMs = this.#clock.monotonicMs()
    const listed = { stored: this.#sum(), goodUntilMs: Infinity }
    const ended = (): void => {
      const endedMs = this.#clock.monotonicMs()
      listed.goodUntilMs = endedMs + Math.max(listedMsMax, (endedMs - beganMs) * listingRests)
    }
    void listed.stored.then(ended, ended)
    return listed
  }

  async #sum(): Promise<Stored> {
    const [journals, packs, indexes] = await Promise.all(
      ['journals', 'packs', 'derived'].map((folder) => this.#store.list(folder)),
    )
    const journalBytes = new Map<string, number>()
    for (const { name, bytes } of journals ?? []) {
      const source = name.split('/')[1] ?? ''
      journalBytes.set(source, (journalBytes.get(source) ?? 0) + bytes)
    }
    const sum = (files: readonly { readonly bytes: number }[] = []): number =>
      files.reduce((all, { bytes }) => all + bytes, 0)
    return { storedBytes: sum(journals) + sum(packs), indexBytes: sum(indexes), journalBytes }
  }
}
