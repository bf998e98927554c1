import { createSecretKey, type KeyObject } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type Chunk, encodeBlock, readBlockDirectory } from '../format/block.ts'
import { packsKey, registryKey } from '../format/keys.ts'
import { moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { Store, StoreName } from '../store/store.ts'
import { JournalAppender } from './appender.ts'
import { Catalogue, CatalogueReader } from './catalogue.ts'
import { collect, type Collected, type InUse } from './collect.ts'
import { PackedChunks } from './chunks.ts'
import { Committer, type Growth, type Wrote } from './committer.ts'
import { Gate } from './gate.ts'
import { Journal, type JournalParts } from './journal.ts'
import { StoredJournal } from './journal-reader.ts'
import { defaultLimits, type Limits } from './limits.ts'
import { journalFolder, vaultName } from './names.ts'
import { Packs, type PackParts } from './packs.ts'
import type { ChunkReader, JournalReader } from './reader.ts'
import { type Agent, Registry } from './registry.ts'
import { checkKey, type KeyOrigin, readVaultFile, writeVaultFile } from './vault-key.ts'

export interface VaultParts {
  readonly store: Store
  readonly key: KeyObject
  readonly clock: Clock
  readonly random: Random
  /** Of the catalogue of chunks: a file beside the store, derived from it; ':memory:' builds it anew at each opening. */
  readonly cataloguePath: string
  readonly limits?: Partial<Limits>
  /** Told of each write that was synced. */
  readonly wrote?: (wrote: Wrote) => void
}

/** Makes a vault in a store that holds none. */
export async function createVault(
  { store, key, random }: Pick<VaultParts, 'store' | 'key' | 'random'>,
  told: { readonly name: string; readonly keyOrigin: KeyOrigin },
): Promise<Id> {
  const taken = [...(await store.list('journals')), ...(await store.list('packs'))].map(({ name }) => name)
  if (taken.length > 0 || (await isThere(store, vaultName))) {
    throw new TidemarkError('already-exists', {
      message: `there is a vault here already: ${taken[0] ?? vaultName}`,
      hint: 'Name another directory, or remove what is left of the old vault first.',
    })
  }
  const id = Buffer.from(random.bytes(16)).toString('hex') as Id
  await Registry.create({ store, random, key: registryKey(key, id) }, told.name)
  // Last, so that a vault that is there is whole.
  await writeVaultFile(store, id, key, told.keyOrigin)
  return id
}

const isThere = async (store: Store, name: StoreName): Promise<boolean> => {
  try {
    await store.size(name)
    return true
  } catch (error) {
    if (isCode(error, 'not-found')) return false
    throw error
  }
}

/** What a reader in another thread needs to open its own readers over the same store. */
export interface ReaderKeys {
  readonly packsKey: Uint8Array
  readonly chunkKey: Uint8Array
  readonly cataloguePath: string
}

/**
 * A vault at work. One process opens it at a time (base/lock-directory.ts). Disposing it writes what waits, where there is room,
 * and seals what was growing.
 */
export class Vault implements AsyncDisposable {
  readonly id: Id
  /** Agents, tokens, secrets; sources are added and removed by the vault itself. */
  readonly registry: Registry
  readonly chunks: ChunkReader
  /** Rejects, with the reason, once some appends cannot go on until the vault is opened anew; never resolves. */
  readonly failed: Promise<never>
  readonly #parts: VaultParts
  readonly #limits: Limits
  readonly #packs: Packs
  readonly #packParts: PackParts
  readonly #catalogue: Catalogue
  readonly #committer: Committer
  readonly #gate: Gate
  readonly #chunkKey: KeyObject
  readonly #journals = new Map<Id, Journal>()
  readonly #appenders = new Map<Id, JournalAppender>()
  readonly #listeners = new Set<(growth: Growth) => void>()
  #collecting: Promise<unknown> | undefined
  readonly #closing = new AbortController()
  /** Agents that asked for a source whose record cannot be read: nobody else knows of it. */
  readonly #claimants = new Map<Id, Id>()

  private constructor(parts: VaultParts, registry: Registry, packParts: PackParts, packs: Packs) {
    this.#parts = parts
    this.#limits = packParts.limits
    this.id = packParts.vault
    this.registry = registry
    this.#packParts = packParts
    this.#packs = packs
    this.#catalogue = packParts.catalogue
    this.#chunkKey = createSecretKey(registry.chunkKey)
    this.#gate = new Gate(this.#limits.waitingBytesMax)
    this.chunks = new PackedChunks({
      store: parts.store,
      packsKey: packParts.key,
      chunkKey: this.#chunkKey,
      place: (id) => this.#catalogue.place(id),
      cacheBytes: this.#limits.blockCacheBytes,
    })
    this.#committer = new Committer({
      store: parts.store,
      clock: parts.clock,
      random: parts.random,
      catalogue: this.#catalogue,
      packs,
      limits: this.#limits,
      grown: (growth) => {
        for (const listener of this.#listeners) listener(growth)
      },
      wrote: parts.wrote,
    })
    this.failed = Promise.race([this.#committer.failed, this.#catalogue.corruption])
    // Who does not ask is not to be ended by it.
    this.failed.catch(() => undefined)
  }

  /** Opens a vault, ending whatever was growing when it was left. Damage is told in `damage`, and the rest works. */
  static async open(parts: VaultParts): Promise<Vault> {
    const { store, key, random, cataloguePath } = parts
    const file = await readVaultFile(store)
    checkKey(file, key)
    const registry = await Registry.open({ store, random, key: registryKey(key, file.id) })
    const limits = { ...defaultLimits, ...parts.limits }
    for (let isCorrupt = false; ; isCorrupt = true) {
      const catalogue = new Catalogue(cataloguePath, file.id)
      try {
        const packParts = { store, random, vault: file.id, key: packsKey(key, file.id), catalogue, limits }
        const vault = new Vault(parts, registry, packParts, await Packs.open(packParts))
        for (const { id } of registry.sources) await vault.#openJournal(id)
        return vault
      } catch (error) {
        catalogue[Symbol.dispose]()
        // It is derived: a corrupt one was removed just now, and is built anew.
        if (isCorrupt || !catalogue.isCorrupt) throw error
      }
    }
  }

  get name(): string {
    return this.registry.name
  }

  get chunkKey(): Uint8Array {
    return this.registry.chunkKey
  }

  /** True while nothing can be made durable for want of room. */
  get stalled(): boolean {
    return this.#committer.stalled
  }

  /** Damage of packs, found while opening. */
  get packDamage(): readonly TidemarkError[] {
    return this.#packs.damage
  }

  /** All damage found while opening. A journal's own is also its `damage`. */
  get damage(): readonly TidemarkError[] {
    const ofJournals = [...this.#journals.values()].map(({ damage }) => damage)
    return [...this.registry.damage, ...this.packDamage, ...ofJournals].filter((damage) => damage !== undefined)
  }

  async #openJournal(source: Id): Promise<Journal> {
    const { store, random, clock } = this.#parts
    const key = createSecretKey(this.registry.journalKey(source))
    const parts: JournalParts = { store, random, clock, source, key, catalogue: this.#catalogue, limits: this.#limits }
    const journal = await Journal.open(parts)
    this.#journals.set(source, journal)
    return journal
  }

  journal(source: Id): Journal {
    const journal = this.#journals.get(source)
    if (journal) return journal
    // Throws the reason, unless it was only just added.
    const { name } = this.registry.source(source)
    throw new TidemarkError('not-found', { message: `the journal of ${name} is not open` })
  }

  /** Sources whose journals are open: one that is being added has none yet. */
  get openSources(): SourceDefinition[] {
    return this.registry.sources.filter(({ id }) => this.#journals.has(id))
  }

  /** For readers in other threads; see `openJournalReader` and `openChunkReader`. */
  get readerKeys(): ReaderKeys {
    const { key } = this.#packParts
    return { packsKey: key.export(), chunkKey: this.registry.chunkKey, cataloguePath: this.#parts.cataloguePath }
  }

  async addSource(told: Omit<SourceDefinition, 'id'> & { readonly id?: Id }): Promise<SourceDefinition> {
    const definition = await this.registry.addSource(told)
    await this.#openJournal(definition.id)
    return definition
  }

  /** Forgets a source and all its history: without the key of its journal its files are noise, and then they go too. */
  async removeSource(source: Id): Promise<void> {
    const journal = this.journal(source)
    const reason = new TidemarkError('not-found', { message: `source ${source} was removed` })
    await this.#appenders.get(source)?.end(reason)
    await this.registry.removeSource(source)
    this.#journals.delete(source)
    this.#committer.forget(journal)
    await journal.leave()
    const { store } = this.#parts
    for (const { name } of await store.list(journalFolder(source))) {
      this.#catalogue.forgetSynced(name)
      await store.remove(name)
    }
  }

  /**
   * The sources of an agent, and again whenever they may have changed. An agent gives up what it is no longer told of:
   * while one of its sources cannot be read, or one that may be its, it is told nothing and goes on as it was.
   */
  async *definitions(agent: Id, signal: AbortSignal): AsyncGenerator<readonly SourceDefinition[]> {
    let changed = Promise.withResolvers<void>()
    using _listening = this.registry.onChange(() => changed.resolve())
    const stop = (): void => changed.resolve()
    signal.addEventListener('abort', stop, { once: true })
    try {
      while (!signal.aborted) {
        this.#refuseWithout(agent)
        yield this.registry.sources.filter((source) => source.agent === agent && source.retired === undefined)
        await changed.promise
        changed = Promise.withResolvers()
      }
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  #refuseWithout(agent: Id): void {
    const isOthers = (source: string): boolean => (this.#claimants.get(source as Id) ?? agent) !== agent
    const lacking = this.registry.damagedSources.find(({ id }) => !isOthers(id))
    if (lacking) throw lacking.error
  }

  /**
   * Opens the journal of a source for appending by its agent. A journal has one appender: one that is open is ended
   * first. `not-allowed`, `not-found`, `damaged`.
   */
  async appender(agent: Id, source: Id, signal: AbortSignal): Promise<JournalAppender> {
    signal.throwIfAborted()
    if (this.registry.damagedSources.some(({ id }) => id === source)) this.#claimants.set(source, agent)
    const { holder } = this.#allowed(agent, source)
    const journal = this.journal(source)
    if (journal.endDamage) throw journal.endDamage
    const replaced = new TidemarkError('interrupted', { message: 'a newer session appends to this journal' })
    for (let open = this.#appenders.get(source); open; open = this.#appenders.get(source)) await open.end(replaced)
    signal.throwIfAborted()
    this.#allowed(agent, source)

    const stop = (): void => void appender.end(new TidemarkError('interrupted', { message: 'the session was stopped' }))
    const appender = new JournalAppender({
      journal,
      holder,
      chunkKey: this.#chunkKey,
      catalogue: this.#catalogue,
      committer: this.#committer,
      gate: this.#gate,
      ended: () => {
        signal.removeEventListener('abort', stop)
        this.#appenders.delete(source)
      },
    })
    this.#appenders.set(source, appender)
    signal.addEventListener('abort', stop, { once: true })
    return appender
  }

  #allowed(agent: Id, source: Id): Agent {
    const known = this.registry.agent(agent)
    const definition = this.registry.source(source)
    if (known.revoked || definition.agent !== agent) {
      throw new TidemarkError('not-allowed', {
        message: `agent ${known.name} may not append to the journal of ${definition.name}`,
        hint: known.revoked ? 'It was revoked; enrol it again.' : 'The source belongs to another agent.',
      })
    }
    return known
  }

  /** Called after each growth of a journal; what it tells is durable, with all chunks it refers to. */
  onDurable(listener: (growth: Growth) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /**
   * Keeps chunks of bytes that a source's agent has sent standing in batches, on behalf of that agent; at most a block
   * of them. When resolved, they are durable and can be read.
   */
  async keep(source: Id, chunks: readonly Chunk[]): Promise<void> {
    const { holder } = this.registry.agent(this.registry.source(source).agent)
    const isKept = ({ id }: Chunk): boolean => this.#catalogue.place(id) !== undefined
    const news = chunks.filter((chunk) => this.#catalogue.bytesOf(holder, chunk.id) === undefined || !isKept(chunk))
    if (news.length === 0) return
    const block = encodeBlock(news)
    const { entries } = readBlockDirectory(block)
    for (const { id, bytes } of entries) this.#catalogue.arrive(holder, id, bytes)
    await new Promise<void>((done) =>
      this.#committer.item({ kind: 'block', holder, chunks: entries, block }, block.length, done),
    )
    // Items that were given up are let go too.
    if (!news.every(isKept)) throw new TidemarkError('interrupted', { message: 'the vault is closing' })
  }

  /**
   * Ends appenders that came so long ago that what they touched would be free without them. Whoever used one opens
   * another and goes on where it was.
   */
  async endOldAppenders(): Promise<void> {
    const reason = new TidemarkError('interrupted', { message: 'the session is renewed' })
    const epoch = this.#epochKept()
    for (const appender of this.#appenders.values()) if (appender.epoch < epoch) await appender.end(reason)
  }

  /**
   * What was touched in this epoch or later stays, whether or not the appender that touched it is still open: an agent
   * may come back with batches that it made before the line went down.
   */
  #epochKept(): number {
    const { touchedKeptMs } = this.#limits
    return this.#catalogue.epochAt(moment(Math.max(0, this.#parts.clock.now() - touchedKeptMs * 1000)))
  }

  /**
   * Removes chunks that no kept history refers to; see collect.ts for what `inUse` has to know. One at a time. Refused
   * while there is history that cannot be asked what it refers to: once its record is brought back, it needs its chunks.
   */
  async collect(inUse: InUse, signal: AbortSignal): Promise<Collected> {
    const [lacking] = this.registry.damagedSources
    if (lacking) throw lacking.error
    if (this.#collecting) throw new TidemarkError('already-running', { message: 'a collection is under way already' })
    this.#catalogue.nextEpoch(moment(this.#parts.clock.now()))
    const since = Math.min(this.#epochKept(), ...[...this.#appenders.values()].map(({ epoch }) => epoch))
    const stop = AbortSignal.any([signal, this.#closing.signal])
    const collecting = collect(this.#packParts, this.#packs, since, inUse, stop)
    this.#collecting = Promise.allSettled([collecting])
    try {
      return await collecting
    } finally {
      this.#collecting = undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = new TidemarkError('interrupted', { message: 'the vault is closing' })
    this.#closing.abort(closing)
    this.#gate.refuseAll(closing)
    await this.#collecting
    await this.#committer.close()
    for (const appender of this.#appenders.values()) await appender.end(closing)
    try {
      // After a failure no more is written: the next opening ends what was growing.
      if (!this.#committer.hasFailed && !this.#catalogue.isCorrupt) await this.#sealAll()
    } finally {
      await this.#packs.leave()
      for (const journal of this.#journals.values()) await journal.leave()
      this.#catalogue[Symbol.dispose]()
    }
  }

  /** Without room for seals, files are left to be sealed at the next opening. */
  async #sealAll(): Promise<void> {
    try {
      await this.#packs.close()
      for (const journal of this.#journals.values()) await journal.close()
      this.#committer.note()
    } catch (error) {
      if (!isCode(error, 'vault-full')) throw error
    }
  }
}

/** A journal read from another thread, over a store of its own; `durable` has to come from the vault. */
export const openJournalReader = (
  store: Store,
  source: Id,
  journalKey: Uint8Array,
  durable: () => Sequence,
): JournalReader => new StoredJournal({ store, source, key: createSecretKey(journalKey), durable })

/** Chunks read from another thread, over a store and a connection of its own. */
export function openChunkReader(
  store: Store,
  keys: ReaderKeys,
  cacheBytes = defaultLimits.threadBlockCacheBytes,
): ChunkReader & Disposable {
  const catalogue = new CatalogueReader(keys.cataloguePath)
  const chunks = new PackedChunks({
    store,
    packsKey: createSecretKey(keys.packsKey),
    chunkKey: createSecretKey(keys.chunkKey),
    place: (id) => catalogue.place(id),
    cacheBytes,
  })
  return {
    read: (id) => chunks.read(id),
    block: (id) => chunks.block(id),
    [Symbol.dispose]: () => catalogue[Symbol.dispose](),
  }
}
