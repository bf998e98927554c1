import type { Chunk } from '../format/block.ts'
import type { Change, ChunkId } from '../model/change.ts'
import type { CaptureOutput } from './capture.ts'

/** Bytes of chunks, and changes, in one offer; offers that wait for their answer. */
const offerBytesWanted = 4 * 1024 * 1024
const offerChangesMax = 1000
const offersOpenMax = 4
/** Chunks known to be at the vault, in this session with it. */
const knownMax = 100_000

export interface BulkOffersParts<Item> {
  readonly hand: (offer: Extract<CaptureOutput, { kind: 'offer' }>) => void
  /** `missing` are those of its chunks that the vault lacks. */
  readonly write: (item: Item, missing: readonly Chunk[]) => void
  /** Resolves when something may be written. */
  readonly room: () => Promise<void>
  /** Tags of offers count on over all that are made for one capture. */
  readonly nextTag: () => number
  /** Ends all that wait. */
  readonly signal: AbortSignal
}

interface Group<Item> {
  tag: number
  readonly items: { readonly item: Item; readonly chunks: readonly Chunk[] }[]
  readonly chunks: Map<ChunkId, Chunk>
  bytes: number
  missing: Set<ChunkId> | undefined
}

const newGroup = <Item>(): Group<Item> => ({
  tag: 0,
  items: [],
  chunks: new Map(),
  bytes: 0,
  missing: undefined,
})

/**
 * Asks the vault in groups which chunks it lacks, and writes each group once it has been answered, in their order. An item
 * is a change, or what one is made of when its turn comes.
 */
export class BulkOffers<Item = Change> {
  readonly #parts: BulkOffersParts<Item>
  readonly #known = new Set<ChunkId>()
  readonly #open: Group<Item>[] = []
  #gathering: Group<Item> | undefined
  #isPumping = false
  #waiting: (() => void)[] = []
  #failure: unknown

  constructor(parts: BulkOffersParts<Item>) {
    this.#parts = parts
    parts.signal.addEventListener('abort', () => this.#wake(), { once: true })
  }

  /** Resolves when there is room for more. */
  async write(item: Item, chunks: readonly Chunk[]): Promise<void> {
    const group = (this.#gathering ??= newGroup<Item>())
    group.items.push({ item, chunks })
    for (const chunk of chunks) {
      if (group.chunks.has(chunk.id) || this.#known.has(chunk.id)) continue
      group.chunks.set(chunk.id, chunk)
      group.bytes += chunk.data.length
    }
    if (group.bytes >= offerBytesWanted || group.items.length >= offerChangesMax) this.#close()
    await this.#until(() => this.#open.length < offersOpenMax)
  }

  /** Resolves when all has been written. */
  async flush(): Promise<void> {
    this.#close()
    await this.#until(() => this.#open.length === 0)
  }

  answer(tag: number, missing: readonly boolean[]): void {
    const group = this.#open.find((one) => one.tag === tag && one.missing === undefined)
    if (group === undefined) return
    group.missing = new Set([...group.chunks.keys()].filter((_, index) => missing[index] !== false))
    void this.#pump()
  }

  /** Another session with the vault: what an earlier one answered, or did not, has to be asked again. */
  askAgain(): void {
    this.#known.clear()
    for (const group of this.#open.slice(this.#isPumping ? 1 : 0)) {
      group.missing = undefined
      for (const { chunks } of group.items) for (const chunk of chunks) group.chunks.set(chunk.id, chunk)
      this.#offer(group)
    }
    void this.#pump()
  }

  #close(): void {
    const group = this.#gathering
    if (group === undefined) return
    this.#gathering = undefined
    this.#open.push(group)
    this.#offer(group)
    void this.#pump()
  }

  #offer(group: Group<Item>): void {
    group.tag = this.#parts.nextTag()
    if (group.chunks.size === 0) group.missing = new Set()
    else this.#parts.hand({ kind: 'offer', tag: group.tag, ids: [...group.chunks.keys()] })
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      for (let group = this.#open[0]; group?.missing !== undefined; group = this.#open[0]) {
        await this.#writeGroup(group, group.missing)
        this.#open.shift()
        this.#wake()
      }
    } catch (error) {
      this.#failure ??= error
      this.#wake()
    } finally {
      this.#isPumping = false
    }
  }

  async #writeGroup({ items, chunks: offered }: Group<Item>, missing: ReadonlySet<ChunkId>): Promise<void> {
    for (const id of offered.keys()) if (!missing.has(id)) this.#know(id)
    for (const { item, chunks } of items) {
      await this.#parts.room()
      this.#parts.signal.throwIfAborted()
      const toSend = chunks.filter(({ id }) => missing.has(id) && !this.#known.has(id))
      for (const { id } of toSend) this.#know(id)
      this.#parts.write(item, toSend)
    }
  }

  #know(id: ChunkId): void {
    this.#known.add(id)
    if (this.#known.size <= knownMax) return
    for (const oldest of this.#known) {
      this.#known.delete(oldest)
      return
    }
  }

  async #until(isSo: () => boolean): Promise<void> {
    for (;;) {
      this.#parts.signal.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      if (isSo()) return
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
