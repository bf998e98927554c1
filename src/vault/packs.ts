import type { KeyObject } from 'node:crypto'
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import { isCode, type TidemarkError } from '../base/errors.ts'
import { blockPayload, claimPayload, type PackEntry, type PackItem } from '../format/pack.ts'
import { isClosing, noHash } from '../format/sealed-file.ts'
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
  #unrecorded: { pack: PackRecord; entries: PackEntry[]; isSealed: boolean }[] = []
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
    const ended: number[] = []
    for (const [number, size] of sizes) {
      try {
        const caught = await catchUp(parts, number, size, scanned.get(number) ?? 0)
        if (!caught) continue
        claims.push(caught)
        ended.push(number)
      } catch (error) {
        if (!isCode(error, 'damaged') && !isCode(error, 'unsupported-format')) throw error
        damage.push(error)
        const readable = await keepReadable(parts, number, scanned.get(number) ?? 0)
        if (readable) claims.push(readable)
      }
    }
    // A claim may stand in an earlier pack than its chunk, once that was moved.
    for (const { pack, entries } of claims) catalogue.record(pack, entries)
    for (const number of ended) catalogue.forgetSynced(packName(number))
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
    this.#current = await createPack(this.#parts, this.#growing)
    // From now until it is sealed there is a note of it: its length alone does not tell whether it has a seal.
    this.#parts.catalogue.noteSynced(this.synced)
    return this.#current
  }

  #keepUnrecorded(pack: PackWriter): void {
    const entries = pack.takeEntries()
    if (entries.length > 0) this.#unrecorded.push({ pack: pack.record, entries, isSealed: false })
  }

  async #seal(pack: PackWriter): Promise<void> {
    await pack.seal()
    this.#current = undefined
    this.#growing = undefined
    this.#unrecorded.push({ pack: pack.record, entries: [], isSealed: true })
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
      if (first.isSealed) this.#parts.catalogue.forgetSynced(packName(first.pack.number))
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
    if (size === scanned) continue
    const present = size === undefined ? undefined : await fileIdOf(store, number, key)
    if (present === file) continue
    vanished.push(number)
    // A note of one whose header cannot be read tells that it was longer than it may be now.
    if (present !== undefined) catalogue.forgetSynced(packName(number))
  }
  if (vanished.length > 0) catalogue.forget(vanished)
}

async function fileIdOf(store: Store, number: number, key: KeyObject): Promise<Id | undefined> {
  return (await unlessDamaged(openSealed(store, packName(number), key)))?.header.file
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
  const noted = catalogue.synced(name)
  const floor = Math.max(noted, scanned)
  if (noted === 0 && scanned === size) return undefined
  const entries = await recoverPack(parts, number, floor)
  if (entries === undefined) {
    catalogue.forgetSynced(name)
    catalogue.forget([number])
    return undefined
  }
  const { header } = await openSealed(store, name, key)
  const pack = { number, file: header.file, scanned: await store.size(name) }
  return { pack, entries: recordBlocks(catalogue, { ...pack, scanned }, entries) }
}

/** Records blocks that the catalogue does not have, and returns the claims that it does not have. */
function recordBlocks(catalogue: Catalogue, pack: PackRecord, entries: readonly PackEntry[]): PackEntry[] {
  const news = entries.filter(({ frameAt }) => frameAt >= pack.scanned)
  catalogue.record(
    pack,
    news.filter(({ kind }) => kind === 'block'),
  )
  return news.filter(({ kind }) => kind === 'claim')
}

/**
 * Of a damaged pack the catalogue keeps what can be read. The rest counts as never sent: nothing new may refer to it,
 * and agents that still have it send it again.
 */
async function keepReadable(
  { catalogue, store, key }: PackParts,
  number: number,
  scanned: number,
): Promise<{ pack: PackRecord; entries: PackEntry[] } | undefined> {
  const file = await unlessDamaged(openSealed(store, packName(number), key))
  if (file === undefined) {
    catalogue.forget([number])
    return undefined
  }
  const frames = catalogue.framesIn(number)
  for (const { frameAt, frameBytes } of frames) {
    if ((await unlessDamaged(file.frame(frameAt, frameBytes))) === undefined) catalogue.forgetFrame(number, frameAt)
  }
  const entries: PackEntry[] = []
  const scan = file.scan()
  for (
    let frame = await unlessDamaged(scan.next());
    frame && !isClosing(frame.type);
    frame = await unlessDamaged(scan.next())
  ) {
    entries.push(entryOf(file.name, frame))
  }
  const pack = { number, file: file.header.file, scanned }
  return { pack, entries: recordBlocks(catalogue, pack, entries) }
}

const unlessDamaged = async <T>(read: Promise<T>): Promise<T | undefined> => {
  try {
    return await read
  } catch (error) {
    if (isCode(error, 'damaged') || isCode(error, 'unsupported-format')) return undefined
    throw error
  }
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
