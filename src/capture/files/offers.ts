import type { Chunk } from '../../format/block.ts'
import type { ChunkId } from '../../model/change.ts'
import type { CaptureOutput } from '../capture.ts'
import type { Lane } from '../batch-builder.ts'
import type { BatchWriter } from './batch-writer.ts'

/** Bytes of chunks in one offer, and offers waiting for their answer in each lane. */
export const offerBytesWanted = 4 * 1024 * 1024
const offersOpenMax = 4

/** Something whose chunks the vault is asked for before it is written. */
export interface Offered {
  readonly chunks: readonly Chunk[]
  /** Called once the vault has those of `chunks` that are not in `missing`. */
  write(missing: readonly Chunk[]): void
}

interface Group {
  tag: number
  readonly lane: Lane
  readonly items: Offered[]
  readonly chunks: Map<ChunkId, Chunk>
  bytes: number
  missing: Set<ChunkId> | undefined
}

/**
 * Asks the vault which chunks it lacks, in groups, and lets each thing be written when its group has been answered. In
 * a lane, things are written in the order in which they were offered.
 */
export class Offers {
  readonly #writer: BatchWriter
  readonly #hand: (offer: Extract<CaptureOutput, { kind: 'offer' }>) => void
  readonly #open: Record<Lane, Group[]> = { live: [], bulk: [] }
  readonly #gathering: Record<Lane, Group | undefined> = { live: undefined, bulk: undefined }
  #tag = 0

  constructor(parts: { writer: BatchWriter; hand: (offer: Extract<CaptureOutput, { kind: 'offer' }>) => void }) {
    this.#writer = parts.writer
    this.#hand = parts.hand
  }

  hasRoom(lane: Lane): boolean {
    return this.#open[lane].length < offersOpenMax
  }

  isEmpty(lane: Lane): boolean {
    return this.#open[lane].length === 0 && this.#gathering[lane] === undefined
  }

  /** Something can be written. */
  get isAnswered(): boolean {
    return this.#open.live[0]?.missing !== undefined || this.#open.bulk[0]?.missing !== undefined
  }

  add(lane: Lane, item: Offered): void {
    const group = (this.#gathering[lane] ??= this.#group(lane))
    group.items.push(item)
    for (const chunk of item.chunks) {
      if (group.chunks.has(chunk.id) || !this.#writer.isNew(chunk)) continue
      group.chunks.set(chunk.id, chunk)
      group.bytes += chunk.data.length
    }
    if (group.bytes >= offerBytesWanted) this.flush(lane)
  }

  /** Offers what has been gathered so far. */
  flush(lane: Lane): void {
    const group = this.#gathering[lane]
    if (group === undefined) return
    this.#gathering[lane] = undefined
    this.#open[lane].push(group)
    this.#offer(group)
  }

  answer(tag: number, missing: readonly boolean[]): void {
    for (const group of [...this.#open.live, ...this.#open.bulk]) {
      if (group.tag !== tag || group.missing !== undefined) continue
      group.missing = new Set([...group.chunks.keys()].filter((_, index) => missing[index] !== false))
      for (const chunk of group.chunks.values()) if (!group.missing.has(chunk.id)) this.#writer.isThere(chunk)
    }
  }

  /** Writes the next group of this lane that has been answered; false where there is none. */
  writeNext(lane: Lane): boolean {
    const group = this.#open[lane][0]
    if (group?.missing === undefined) return false
    this.#open[lane].shift()
    const missing = group.missing
    for (const item of group.items) item.write(item.chunks.filter(({ id }) => missing.has(id)))
    return true
  }

  /** Another session with the vault: what an earlier one answered, or did not, has to be asked again. */
  askAgain(): void {
    for (const group of [...this.#open.live, ...this.#open.bulk]) {
      group.missing = undefined
      for (const { chunks } of group.items) for (const chunk of chunks) group.chunks.set(chunk.id, chunk)
      this.#offer(group)
    }
  }

  /** Without a vault to ask, everything live is sent. */
  assumeMissing(): void {
    this.flush('live')
    for (const group of this.#open.live) group.missing ??= new Set(group.chunks.keys())
  }

  #group(lane: Lane): Group {
    return { tag: 0, lane, items: [], chunks: new Map(), bytes: 0, missing: undefined }
  }

  #offer(group: Group): void {
    group.tag = ++this.#tag
    if (group.chunks.size === 0) group.missing = new Set()
    else this.#hand({ kind: 'offer', tag: group.tag, ids: [...group.chunks.keys()] })
  }
}
