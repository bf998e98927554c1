import type { ChunkId } from '../../model/change.ts'

/** Chunks that the vault is known to have because this session sent or offered them; the least recently met go first. */
export class RecentIds {
  readonly #ids = new Set<ChunkId>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  has(id: ChunkId): boolean {
    if (!this.#ids.delete(id)) return false
    this.#ids.add(id)
    return true
  }

  add(id: ChunkId): void {
    this.#ids.delete(id)
    this.#ids.add(id)
    if (this.#ids.size <= this.#max) return
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest)
      return
    }
  }

  clear(): void {
    this.#ids.clear()
  }
}
