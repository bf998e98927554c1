import type { KeyObject } from 'node:crypto'
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import { isCode, type TidemarkError } from '../base/errors.ts'
import { blockPayload, claimPayload, type PackEntry, type PackItem } from '../format/pack.ts'
import { noHash } from '../format/sealed-file.ts'
import { beforeFirst } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { damaged } from '../store/damaged.ts'
import { recoverSealed } from '../store/sealed-recovery.ts'
import { openSealed } from '../store/sealed-reader.ts'
import { createSealed, type SealedWriter } from '../store/sealed-writer.ts'
import type { Store } from '../store/store.ts'
import type { Catalogue, PackRecord, SyncedNote } from './catalogue.ts'
import type { Limits } from './limits.ts'
import { numberIn, packName, packsFolder } from './names.ts'
import { entryOf, packIndex, readPackIndex } from './pack-index.ts'

export interface PackParts {
  readonly store: Store
  readonly random: Random
  readonly vault: Id
  readonly key: KeyObject
  readonly catalogue: Catalogue
  readonly limits: Limits
}

/** The packs of a vault: one takes what arrives, the others are sealed. */
export class Packs {
  readonly #parts: PackParts
  #next: number
  #current: PackWriter | undefined
  /** Of the pack that was begun last. */
  #growing: number | undefined
  /** Written and durable, not in the catalogue yet. */
  #unrecorded: { pack: PackRecord; entries: PackEntry[] }[] = []
  /** Numbers of packs left behind by a failed write, cut to what is durable. */
  readonly #abandoned = new Set<number>()
  /** Packs with damage found while opening; they are left as they are. */
  readonly damage: readonly TidemarkError[]

  private constructor(parts: PackParts, next: number, damage: readonly TidemarkError[]) {
    this.#parts = parts
    this.#next = next
    this.damage = damage
  }

  /** Ends packs that were growing, and brings the catalogue up to all packs that are there. */
  static async open(parts: PackParts): Promise<Packs> {
    const { catalogue, store } = parts
    const sizes = await packSizes(store)
    const damage: TidemarkError[] = []
    await dropVanished(parts, sizes)
    const scanned = new Map(catalogue.packs().map((pack) => [pack.number, pack.scanned]))
    const claims: { pack: PackRecord; entries: PackEntry[] }[] = []
    for (const [number, size] of sizes) {
      try {
        const caught = await catchUp(parts, number, size, scanned.get(number) ?? 0)
        if (caught) claims.push(caught)
      } catch (error) {
        if (!isCode(error, 'damaged') && !isCode(error, 'unsupported-format')) throw error
        damage.push(error)
      }
    }
    // A claim may stand in an earlier pack than its chunk, once that was moved.
    for (const { pack, entries } of claims) catalogue.record(pack, entries)
    return new Packs(parts, ([...sizes.keys()].at(-1) ?? 0) + 1, damage)
  }

  /** Packs that are left as they are, ascending. */
  async sealedNumbers(): Promise<number[]> {
    const sizes = await packSizes(this.#parts.store)
    return [...sizes.keys()].filter((number) => number !== this.#growing && !this.#abandoned.has(number))
  }

  takeNumber(): number {
    return this.#next++
  }

  /**
   * Appends; when resolved, all is durable. If it fails, nothing is known of the items: give them again, a block that
   * then stands twice does no harm.
   */
  async write(items: readonly PackItem[]): Promise<void> {
    await this.mend()
    try {
      for (let at = 0; at < items.length;) {
        const pack = this.#current ?? (await this.#begin())
        while (at < items.length && pack.bytes < this.#parts.limits.packBytes) pack.add(items[at++] as PackItem)
        await pack.sync()
        this.#keepUnrecorded(pack)
        if (pack.bytes >= this.#parts.limits.packBytes) await this.#seal(pack)
      }
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  async #begin(): Promise<PackWriter> {
    this.#growing = this.takeNumber()
    return (this.#current = await createPack(this.#parts, this.#growing))
  }

  #keepUnrecorded(pack: PackWriter): void {
    const entries = pack.takeEntries()
    if (entries.length > 0) this.#unrecorded.push({ pack: pack.record, entries })
  }

  async #seal(pack: PackWriter): Promise<void> {
    await pack.seal()
    this.#current = undefined
    this.#growing = undefined
    this.#unrecorded.push({ pack: pack.record, entries: [] })
  }

  async #abandon(): Promise<void> {
    const pack = this.#current
    if (!pack) return
    this.#current = undefined
    this.#abandoned.add(pack.number)
    await pack[Symbol.asyncDispose]()
    // What is not durable is of no use, and without room it takes some.
    await this.#parts.store.truncate(packName(pack.number), pack.synced)
  }

  /** Ends what a failed write left behind: needs room for a seal. */
  async mend(): Promise<void> {
    for (const number of this.#abandoned) {
      await recoverPack(this.#parts, number, 0)
      this.#abandoned.delete(number)
    }
  }

  /** Brings the catalogue up to what is durable. */
  record(): void {
    for (let first = this.#unrecorded[0]; first; first = this.#unrecorded[0]) {
      this.#parts.catalogue.record(first.pack, first.entries)
      this.#unrecorded.shift()
    }
  }

  /** Length of the growing pack that is durable. */
  get synced(): SyncedNote[] {
    return this.#current ? [[packName(this.#current.number), this.#current.synced]] : []
  }

  /** Seals the growing pack: nothing is left to recover. */
  async close(): Promise<void> {
    await this.mend()
    const pack = this.#current
    if (pack) await this.#seal(pack)
    this.record()
  }

  /** Closes the files as they are. */
  async leave(): Promise<void> {
    await this.#current?.[Symbol.asyncDispose]()
  }
}

/** One pack being written. */
export class PackWriter implements AsyncDisposable {
  readonly number: number
  readonly #file: SealedWriter
  readonly #entries: PackEntry[] = []
  #taken = 0

  constructor(number: number, file: SealedWriter) {
    this.number = number
    this.#file = file
  }

  get bytes(): number {
    return this.#file.bytes
  }

  get synced(): number {
    return this.#file.synced
  }

  get entries(): readonly PackEntry[] {
    return this.#entries
  }

  get record(): PackRecord {
    return { number: this.number, file: this.#file.header.file, scanned: this.#file.bytes }
  }

  add(item: PackItem): void {
    if (item.kind === 'block') {
      const { at, bytes } = this.#file.add('block', blockPayload(item.holder, item.block))
      this.#entries.push({ kind: 'block', frameAt: at, frameBytes: bytes, holder: item.holder, chunks: item.chunks })
    } else {
      const { at, bytes } = this.#file.add('claim', [claimPayload(item.holder, item.ids)])
      this.#entries.push({ kind: 'claim', frameAt: at, frameBytes: bytes, holder: item.holder, ids: item.ids })
    }
  }

  /** Entries added since the last call. */
  takeEntries(): PackEntry[] {
    const entries = this.#entries.slice(this.#taken)
    this.#taken = this.#entries.length
    return entries
  }

  flush(): Promise<void> {
    return this.#file.flush()
  }

  sync(): Promise<void> {
    return this.#file.sync()
  }

  async seal(): Promise<void> {
    assert(this.#entries.length > 0, 'a pack is sealed only when it holds something')
    await this.#file.seal(beforeFirst, packIndex(this.#entries))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]()
  }
}

export async function createPack({ store, random, vault, key }: PackParts, number: number): Promise<PackWriter> {
  const header = { kind: 'pack', owner: vault, number, first: beforeFirst, before: noHash } as const
  return new PackWriter(number, await createSealed({ store, random }, packName(number), key, header))
}

/** Lengths of the packs that are there, by number, ascending. */
async function packSizes(store: Store): Promise<Map<number, number>> {
  const sizes = new Map<number, number>()
  for (const { name, bytes } of await store.list(packsFolder)) {
    const number = numberIn(name, 'pack')
    if (number !== undefined) sizes.set(number, bytes)
  }
  return sizes
}

/**
 * Forgets packs that are gone, or are no longer the file that was recorded: a number may come again after a crash. One
 * that is gone may have been collected just before a power cut that took the catalogue back, so that it is no damage
 * here; if it was lost, its chunks are not found when they are read.
 */
async function dropVanished({ store, key, catalogue }: PackParts, sizes: ReadonlyMap<number, number>): Promise<void> {
  for (const { name } of catalogue.syncedIn(packsFolder)) {
    const number = numberIn(name, 'pack')
    if (number === undefined || !sizes.has(number)) catalogue.forgetSynced(name)
  }
  const vanished: number[] = []
  for (const { number, file, scanned } of catalogue.packs()) {
    const size = sizes.get(number)
    if (size === undefined || (size !== scanned && (await fileIdOf(store, number, key)) !== file)) vanished.push(number)
  }
  if (vanished.length === 0) return
  for (const number of vanished) catalogue.forgetSynced(packName(number))
  catalogue.forget(vanished)
}

async function fileIdOf(store: Store, number: number, key: KeyObject): Promise<Id | undefined> {
  try {
    return (await openSealed(store, packName(number), key)).header.file
  } catch (error) {
    if (isCode(error, 'damaged')) return undefined
    throw error
  }
}

/** Records what the catalogue does not have of a pack; hands back its claims, to be recorded last. */
async function catchUp(
  parts: PackParts,
  number: number,
  size: number,
  scanned: number,
): Promise<{ pack: PackRecord; entries: PackEntry[] } | undefined> {
  const { catalogue, store, key } = parts
  const name = packName(number)
  const floor = Math.max(catalogue.synced(name), scanned)
  if (scanned === floor && scanned === size) return undefined
  const entries = await recoverPack(parts, number, floor)
  if (entries === undefined) {
    catalogue.forgetSynced(name)
    catalogue.forget([number])
    return undefined
  }
  const news = entries.filter(({ frameAt }) => frameAt >= scanned)
  const { header } = await openSealed(store, name, key)
  const pack = { number, file: header.file, scanned: await store.size(name) }
  catalogue.record(
    { ...pack, scanned },
    news.filter(({ kind }) => kind === 'block'),
  )
  return { pack, entries: news.filter(({ kind }) => kind === 'claim') }
}

/** Seals a pack that was growing; its entries, or undefined where it held nothing and is gone. */
async function recoverPack(parts: PackParts, number: number, floor: number): Promise<PackEntry[] | undefined> {
  const { store, key } = parts
  const name = packName(number)
  const entries: PackEntry[] = []
  const recovered = await recoverSealed(store, name, key, {
    floor,
    each: (frame) => entries.push(entryOf(name, frame)),
    last: () => beforeFirst,
    closing: () => packIndex(entries),
  })
  if (recovered.kind === 'removed') return undefined
  if (recovered.header.number !== number) throw damaged(name, 0, `it is pack ${recovered.header.number}`)
  return recovered.mended ? entries : readPackIndex(await openSealed(store, name, key))
}
