import { isCode, type TidemarkError } from '../base/errors.ts'
import { type Chunk, decodeBlock, encodeBlock } from '../format/block.ts'
import { type PackEntry, readBlockPayload } from '../format/pack.ts'
import { blockChunksMax } from '../model/batch.ts'
import type { ChunkId } from '../model/change.ts'
import { readStored } from '../store/damaged.ts'
import { openSealed, type SealedReader } from '../store/sealed-reader.ts'
import { packName } from './names.ts'
import { readPackIndex } from './pack-index.ts'
import { createPack, type PackParts, type Packs, type PackWriter } from './packs.ts'

/** Answers, for each of some chunks, whether any kept history refers to it. */
export type InUse = (ids: readonly ChunkId[]) => Promise<readonly boolean[]> | readonly boolean[]

export interface Collected {
  readonly packsRemoved: number
  readonly packsWritten: number
  /** By which the packs have become less. */
  readonly bytes: number
  /** Packs that could not be read, and stay. */
  readonly damage: readonly TidemarkError[]
}

/** A sealed pack and what of it is to be kept. */
interface Source {
  readonly number: number
  readonly file: SealedReader
  readonly entries: readonly PackEntry[]
  readonly live: ReadonlySet<ChunkId>
}

/** Of chunks regrouped into one block, before compression. */
const blockBytes = 512 * 1024

/**
 * Removes chunks that nothing refers to: packs with a small share in use are written anew without the rest.
 *
 * A chunk stays that `inUse` knows, or that was stored or answered as present in the epoch `since` or later.
 * `inUse` has to know all that was durable when the present epoch began.
 * What takes the place of a pack is durable before the pack goes; a crash in between leaves both, which does no harm.
 */
export async function collect(
  parts: PackParts,
  packs: Packs,
  since: number,
  inUse: InUse,
  signal: AbortSignal,
): Promise<Collected> {
  const { limits } = parts
  const collection = new Collection(parts, packs, since)
  const damage: TidemarkError[] = []
  try {
    for (const number of await packs.sealedNumbers()) {
      signal.throwIfAborted()
      try {
        const source = await judge(parts, number, since, inUse)
        if (source.share < limits.packLiveShareMin) await collection.take(source)
      } catch (error) {
        if (!isCode(error, 'damaged') && !isCode(error, 'unsupported-format')) throw error
        damage.push(error)
      }
    }
    await collection.finish()
  } catch (error) {
    await collection.giveUp()
    throw error
  }
  return { ...collection.done, damage }
}

async function judge(
  { store, key, catalogue }: PackParts,
  number: number,
  since: number,
  inUse: InUse,
): Promise<Source & { readonly share: number }> {
  const file = await openSealed(store, packName(number), key)
  const entries = await readPackIndex(file)
  const live = new Set<ChunkId>()
  let bytes = 0
  let liveBytes = 0
  for (const entry of entries) {
    if (entry.kind === 'claim') continue
    const used = await inUse(entry.chunks.map(({ id }) => id))
    for (const [index, { id, bytes: length }] of entry.chunks.entries()) {
      bytes += length
      const touched = catalogue.touchedThere(id, number, entry.frameAt, since)
      if (touched === undefined || (!touched && !used[index])) continue
      live.add(id)
      liveBytes += length
    }
  }
  return { number, file, entries, live, share: bytes === 0 ? 0 : liveBytes / bytes }
}

/** Packs on their way into one new pack. */
class Collection {
  readonly #parts: PackParts
  readonly #packs: Packs
  readonly #since: number
  #sources: Source[] = []
  #target: PackWriter | undefined
  /** Chunks read and not written yet, by the holder that they will be under. */
  readonly #chunks = new Map<number, { chunks: Chunk[]; bytes: number }>()
  readonly #claims = new Map<number, Set<ChunkId>>()
  #removed = 0
  #written = 0
  #bytes = 0

  constructor(parts: PackParts, packs: Packs, since: number) {
    this.#parts = parts
    this.#packs = packs
    this.#since = since
  }

  get done(): Omit<Collected, 'damage'> {
    return { packsRemoved: this.#removed, packsWritten: this.#written, bytes: this.#bytes }
  }

  async take(source: Source): Promise<void> {
    for (const entry of source.entries) {
      if (entry.kind === 'claim') this.#keepClaims(entry.holder, entry.ids)
      else await this.#keepChunks(source, entry)
    }
    // Only now: a pack that could not be read to its end must not go.
    this.#sources.push(source)
    if ((this.#target?.bytes ?? 0) >= this.#parts.limits.packBytes) await this.finish()
  }

  #keepClaims(holder: number, ids: readonly ChunkId[]): void {
    for (const id of ids) {
      if (this.#parts.catalogue.holders(id).includes(holder)) this.#claim(holder, id)
    }
  }

  async #keepChunks({ file, live, number }: Source, entry: PackEntry & { readonly kind: 'block' }): Promise<void> {
    const { catalogue } = this.#parts
    if (!entry.chunks.some(({ id }) => live.has(id))) return
    const { payload } = await file.frame(entry.frameAt, entry.frameBytes)
    const { entries, body } = readStored(file.name, entry.frameAt, () => decodeBlock(readBlockPayload(payload).block))
    for (const { id, at, bytes } of entries) {
      const isHere = catalogue.touchedThere(id, number, entry.frameAt, this.#since) !== undefined
      if (!live.has(id) || !isHere) continue
      const [holder, ...others] = catalogue.holders(id)
      if (holder === undefined) continue
      for (const other of others) this.#claim(other, id)
      const group = this.#chunks.get(holder) ?? { chunks: [], bytes: 0 }
      this.#chunks.set(holder, group)
      group.chunks.push({ id, data: body.subarray(at, at + bytes) })
      group.bytes += bytes
      if (group.bytes >= blockBytes || group.chunks.length === blockChunksMax) await this.#writeBlock(holder)
    }
  }

  #claim(holder: number, id: ChunkId): void {
    const ids = this.#claims.get(holder) ?? new Set()
    this.#claims.set(holder, ids.add(id))
  }

  async #writeBlock(holder: number): Promise<void> {
    const chunks = this.#chunks.get(holder)?.chunks
    if (!chunks) return
    this.#chunks.delete(holder)
    const target = await this.#openTarget()
    const packed = chunks.map(({ id, data }) => ({ id, bytes: data.length }))
    target.add({ kind: 'block', holder, chunks: packed, block: encodeBlock(chunks) })
    await target.flush()
  }

  async #writeClaims(): Promise<void> {
    for (const [holder, claimed] of this.#claims) {
      const ids = [...claimed]
      for (let at = 0; at < ids.length; at += blockChunksMax) {
        const target = await this.#openTarget()
        target.add({ kind: 'claim', holder, ids: ids.slice(at, at + blockChunksMax) })
      }
    }
    this.#claims.clear()
  }

  async #openTarget(): Promise<PackWriter> {
    return (this.#target ??= await createPack(this.#parts, this.#packs.takeNumber()))
  }

  /** Makes the new pack durable, and only then lets go of those that it takes the place of. */
  async finish(): Promise<void> {
    for (const holder of [...this.#chunks.keys()]) await this.#writeBlock(holder)
    await this.#writeClaims()
    const target = this.#target
    if (target) {
      await target.seal()
      this.#written++
      this.#bytes -= target.bytes
    }
    this.#target = undefined
    for (const source of this.#sources.splice(0)) await this.#release(source, target)
  }

  async #release({ number, entries, file }: Source, target: PackWriter | undefined): Promise<void> {
    const { catalogue, store } = this.#parts
    if (target) catalogue.move(number, target.record, target.entries)
    // From here to `drop` nothing else runs: what is touched later is no longer told to be there.
    const left = entries
      .filter((entry) => entry.kind === 'block')
      .flatMap(({ frameAt, chunks }) => chunks.map(({ id }) => ({ id, frameAt })))
      .map(({ id, frameAt }) => ({ id, touched: catalogue.touchedThere(id, number, frameAt, this.#since) }))
    if (left.some(({ touched }) => touched === true)) return
    catalogue.drop(
      number,
      left.map(({ id }) => id),
    )
    catalogue.forgetSynced(file.name)
    this.#bytes += await file.size()
    await store.remove(file.name)
    this.#removed++
  }

  /** Leaves everything as it was. */
  async giveUp(): Promise<void> {
    const target = this.#target
    if (!target) return
    await target[Symbol.asyncDispose]()
    await this.#parts.store.remove(packName(target.number))
  }
}
