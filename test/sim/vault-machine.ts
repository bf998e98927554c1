import { createSecretKey } from 'node:crypto'
import { isCode, TidemarkError } from '../../src/base/errors.ts'
import { decodeBatch } from '../../src/format/batch.ts'
import { encodeManifest } from '../../src/format/manifest.ts'
import { lastOf } from '../../src/model/batch.ts'
import { type Moment, moment } from '../../src/model/moment.ts'
import { rootPath } from '../../src/model/path.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import type { Id, SourceDefinition } from '../../src/model/source.ts'
import type { Store } from '../../src/store/store.ts'
import type { Collected } from '../../src/vault/collect.ts'
import { type ChunkFilter, chunksInUse } from '../../src/vault/retention/chunk-filter.ts'
import { retain, type RetainParts } from '../../src/vault/retention/retain.ts'
import { segmentStarts } from '../../src/vault/retention/segment-starts.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import { Live } from '../../src/vault-server/live.ts'
import { vaultPort } from '../../src/vault-server/port.ts'
import { IndexReader } from '../../src/vault/index/index-reader.ts'
import { Indexer } from '../../src/vault/index/indexer.ts'
import { memoryLocation } from '../../src/vault/index/schema.ts'
import type { Limits } from '../../src/vault/limits.ts'
import type { JournalReader } from '../../src/vault/reader.ts'
import { createVault, Vault } from '../../src/vault/vault.ts'
import { ContentReader } from '../../src/vault/views/content-reader.ts'
import { manifestOf } from '../../src/vault/views/manifest.ts'
import { View } from '../../src/vault/views/view.ts'
import type { VaultPort } from '../../src/wire/ports.ts'
import { serveConnection } from '../../src/wire/serve.ts'
import { Life, MachineClock, type Wall } from './clock.ts'
import { CatalogueFile } from './catalogue-file.ts'
import { SimulatedDisk } from './disk.ts'
import { type Machinery, passed } from './machinery.ts'
import { Broken, type History, type Line } from './oracle.ts'
import { restored } from './restored.ts'
import type { Tree } from './tree.ts'

const vaultKey = createSecretKey(Buffer.alloc(32, 1))
const indexKey = createSecretKey(Buffer.alloc(32, 2))

interface Protected {
  readonly definition: SourceDefinition
  readonly history: History
  /** Of the present life. */
  indexer: Indexer | undefined
}

/** The machine of a vault: its disk stays, its programs come and go. */
/** Agents of this world keep no control connections. */
const noTasks = {
  connect: () => {
    throw new Error('there is no control connection here')
  },
  tell: () => undefined,
}

export class VaultMachine implements Disposable {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly wall: Wall
  readonly #machinery: Machinery
  readonly #limits: Partial<Limits>
  readonly #agents = new Map<string, Id>()
  readonly #protected = new Map<Id, Protected>()
  readonly catalogue: CatalogueFile
  life: Life
  /** While it is open. */
  vault: Vault | undefined
  #stop = new AbortController()
  /** Of all lives so far. */
  readonly #stops: AbortController[] = []

  constructor(name: string, machinery: Machinery, limits: Partial<Limits>) {
    this.name = name
    this.#machinery = machinery
    this.#limits = limits
    this.disk = new SimulatedDisk(name, machinery.time, machinery.random.fork(`disk ${name}`), machinery.trace)
    this.wall = { us: 1_700_000_000_000_000 }
    this.catalogue = new CatalogueFile(machinery.random.fork('catalogue'))
    this.life = new Life(name, machinery.trace)
  }

  async create(): Promise<void> {
    const store = this.disk.store(this.life)
    await createVault(
      { store, key: vaultKey, random: this.#machinery.random },
      { name: this.name, keyOrigin: { from: 'file' } },
    )
    await this.#open()
  }

  async addAgent(machine: string): Promise<Id> {
    const agent = await this.vault!.registry.addAgent({
      name: machine,
      certificates: [],
      enrolled: moment(this.wall.us),
    })
    this.#agents.set(machine, agent.id)
    return agent.id
  }

  async addSource(told: Omit<SourceDefinition, 'id'>, history: History): Promise<SourceDefinition> {
    const definition = await this.vault!.addSource(told)
    this.#protected.set(definition.id, { definition, history, indexer: undefined })
    this.reindex(definition.id)
    return definition
  }

  get isUp(): boolean {
    return this.vault !== undefined
  }

  /** Whether an error is damage that names a file in which a bit was flipped, or the journal that it is of. */
  isToldDamage(error: unknown): boolean {
    const journals = [...this.disk.flipped].map((name) => name.split('/').slice(0, 2).join('/'))
    return isCode(error, 'damaged') && journals.some((name) => error.message.includes(name))
  }

  /** Starts the program again; it is up some time later. */
  start(): void {
    if (this.life.alive) return
    this.life = new Life(this.name, this.#machinery.trace)
    this.#open().catch((error: unknown) => this.#machinery.time.fail(error))
  }

  async #open(): Promise<void> {
    const { life } = this
    const { time, random, network, trace, plant } = this.#machinery
    const clock = new MachineClock(time, life, this.wall)
    const store = this.#store(life)
    const parts = { store, key: vaultKey, clock, random, cataloguePath: this.catalogue.next(), limits: this.#limits }
    const vault = await untilRoom(clock, () => Vault.open(parts))
    trace.add(this.name, 'open')
    for (const damage of vault.damage) if (!this.isToldDamage(damage)) throw damage
    this.#stop = new AbortController()
    this.#stops.push(this.#stop)
    this.vault = vault
    for (const { definition, history } of this.#protected.values()) {
      const { end, damage } = vault.journal(definition.id)
      if (damage !== undefined) continue
      const { durable, cursor } = end
      history.durableLine(durable, cursor)
      trace.add(this.name, `${definition.name} is durable up to ${durable}`)
    }
    const { signal } = this.#stop
    vault.onDurable(({ source, durable }) => this.#protected.get(source)!.indexer?.durable(durable))
    const port = this.#noting(
      passed(plant.port, vaultPort({ vault, live: new Live(clock), tasks: noTasks, clock, tell: () => undefined })),
    )
    network.listen(this.name, life, (link, from) => {
      const agent = this.#agents.get(from)!
      serveConnection(link, { agent }, port, clock, signal).then(
        (end) =>
          trace.add(this.name, `connection of ${from} ${end.how}${'error' in end ? `: ${end.error.message}` : ''}`),
        (error: unknown) => life.alive && time.fail(error),
      )
    })
    for (const source of this.#protected.keys()) this.reindex(source)
  }

  #acknowledged = Promise.withResolvers<void>()

  /** Resolves at the next acknowledgement: a moment at which most has just been promised. */
  get acknowledging(): Promise<void> {
    this.#acknowledged = Promise.withResolvers()
    return this.#acknowledged.promise
  }

  /** Tells the histories what is acknowledged, as it is. */
  #noting(port: VaultPort): VaultPort {
    return {
      ...port,
      append: async (agent, source, signal) => {
        const { history } = this.#protected.get(source)!
        const appender = await port.append(agent, source, signal)
        // The welcome says it.
        if (appender.durable > beforeFirst) history.acknowledge(appender.cursor)
        const batch = async (bytes: Uint8Array): Promise<void> => {
          await appender.batch(bytes)
          history.acknowledge(decodeBatch(bytes).cursor)
          this.#acknowledged.resolve()
        }
        return new Proxy(appender, {
          get: (target, name) => {
            if (name === 'batch') return batch
            const value: unknown = Reflect.get(target, name)
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }
  }

  crash({ powerGoes }: { readonly powerGoes: boolean }): void {
    if (!this.life.alive) return
    this.life.kill(powerGoes ? 'power cut' : 'killed')
    this.vault = undefined
    for (const kept of this.#protected.values()) kept.indexer = undefined
    this.#machinery.network.died(this.name, powerGoes)
    if (powerGoes) {
      this.disk.cutPower()
      this.catalogue.cutPower()
    }
  }

  /** Ends the program in order. */
  async close(): Promise<void> {
    const { vault, life } = this
    if (vault === undefined) return
    this.vault = undefined
    for (const kept of this.#protected.values()) {
      await life.answer(kept.indexer![Symbol.asyncDispose]())
      kept.indexer = undefined
    }
    this.#stop.abort(new TidemarkError('interrupted', { message: 'the vault is closing' }))
    await life.answer(vault[Symbol.asyncDispose]())
    this.crash({ powerGoes: false })
  }

  /** Throws the index away, if there is one: it is built anew from the journal. */
  reindex(source: Id): void {
    const kept = this.#protected.get(source)!
    const { vault, life } = this
    if (vault === undefined) return
    const abandoned = kept.indexer?.[Symbol.asyncDispose]()
    abandoned?.catch((error: unknown) => life.alive && this.#machinery.time.fail(error))
    kept.indexer = new Indexer({
      location: memoryLocation,
      indexKey,
      journal: this.#journal(vault, source),
      clock: new MachineClock(this.#machinery.time, life, this.wall),
      failed: (error) => life.alive && !this.isToldDamage(error) && this.#machinery.time.fail(error),
    })
    kept.indexer.durable(vault.journal(source).durable)
  }

  #journal(vault: Vault, source: Id): JournalReader {
    return passed(this.#machinery.plant.journal, vault.journal(source))
  }

  indexed(source: Id): Sequence {
    return this.#protected.get(source)!.indexer?.indexed ?? beforeFirst
  }

  rows(source: Id): IndexReader {
    return this.#protected.get(source)!.indexer!.rows
  }

  /** Where points begin to be kept. */
  keptFrom(source: Id): Sequence {
    return Math.max(1, this.rows(source).kept().checkpoint) as Sequence
  }

  #forgetting: Life | undefined

  /** As `#forgetNow`, unless that is going on: the vault does one after the other. */
  async forget(source: Id, before: Moment): Promise<void> {
    const { life } = this
    if (this.#forgetting === life) return
    this.#forgetting = life
    try {
      await this.#forgetNow(source, before)
    } finally {
      if (this.#forgetting === life) this.#forgetting = undefined
    }
  }

  /** Forgets what was before `before`, then frees the chunks that only that referred to. */
  async #forgetNow(source: Id, before: Moment): Promise<void> {
    const { vault, life } = this
    const { history, indexer } = this.#protected.get(source)!
    if (vault === undefined || indexer === undefined) return
    const chunkKey = createSecretKey(vault.chunkKey)
    const journal = vault.journal(source)
    const parts: RetainParts = {
      indexer,
      content: new ContentReader(this.#journal(vault, source), vault.chunks),
      chunkKey,
      keep: async (chunks) => {
        for (const { id, data } of chunks) {
          history.keepChunk(chunkIdOf(chunkKey, data), data, id)
          history.chunksSent.add(id)
        }
        await vault.keep(source, chunks)
      },
      segmentStarts: () => segmentStarts(this.#store(life), source, createSecretKey(vault.registry.journalKey(source))),
      writeCheckpoint: (at, moment, changes) => journal.writeCheckpoint(at, moment, changes),
      dropBefore: (at) => journal.dropBefore(at),
    }
    const work = async (): Promise<void> => {
      const at = await retain(passed(this.#machinery.plant.retain, parts), before)
      if (at === undefined) return
      this.#machinery.trace.add(this.name, `${history.name}: points are kept from ${at} on`)
      const { packsRemoved } = await this.#freeChunks(vault)
      this.#machinery.trace.add(this.name, `${packsRemoved} packs removed`)
    }
    try {
      await life.answer(work())
    } catch (error) {
      if (this.#protected.get(source)!.indexer === indexer) throw error
    }
  }

  #freeChunks(vault: Vault): Promise<Collected> {
    let filter: Promise<ChunkFilter> | undefined
    const inUse = async (): Promise<ChunkFilter> => {
      const indexers = [...this.#protected].map(([source, { indexer }]) => ({ source, indexer: indexer! }))
      for (const { source, indexer } of indexers) await indexer.reached(vault.journal(source).durable)
      return chunksInUse(indexers.map(({ indexer }) => indexer))
    }
    return vault.collect(async (ids) => {
      const known = await (filter ??= inUse())
      return ids.map((id) => passed(this.#machinery.plant.inUse, known.has(id)))
    }, this.#stop.signal)
  }

  #store(life: Life): Store {
    return passed(this.#machinery.plant.vaultStore, this.disk.store(life))
  }

  /** The line of history that the journal holds. */
  line(source: Id): Line {
    const { durable, cursor } = this.vault!.journal(source).end
    return this.#protected.get(source)!.history.durableLine(durable, cursor)
  }

  view(source: Id, at: Sequence): View {
    const vault = this.vault!
    const content = new ContentReader(this.#journal(vault, source), passed(this.#machinery.plant.chunks, vault.chunks))
    return new View({ rows: this.rows(source), content, at })
  }

  /** The tree after `at`, restored. Undefined when the program or its index ends meanwhile. */
  async treeAt(source: Id, at: Sequence): Promise<Tree | undefined> {
    const kept = this.#protected.get(source)!
    const { indexer } = kept
    try {
      return await this.life.answer(restored(this.view(source, at)))
    } catch (error) {
      const isForgotten = isCode(error, 'point-unreachable') && this.isUp && at < this.keptFrom(source)
      if (kept.indexer !== indexer || isForgotten) return undefined
      throw error
    }
  }

  /** Reads the journal as far as it is kept and compares it with what was said. */
  async expectJournal(source: Id): Promise<void> {
    const vault = this.vault!
    const { history, indexer } = this.#protected.get(source)!
    const { checkpoint } = indexer!.rows.kept()
    const { durable } = vault.journal(source)
    const batches = this.#journal(vault, source).batches(checkpoint as Sequence)
    const upTo = async function* () {
      for await (const { batch } of batches) {
        yield batch
        if (lastOf(batch) >= durable) return
      }
    }
    try {
      await this.life.answer(history.expectJournal(upTo(), checkpoint as Sequence, durable))
    } catch (error) {
      const isForgotten = this.isUp && this.rows(source).kept().checkpoint > checkpoint
      if (error instanceof Broken || !isForgotten) throw error
    }
  }

  /** The tree at `at`, as the agent asks for it; fails as any request to a vault may. */
  async manifest(source: Id, at: Sequence): Promise<Buffer> {
    const told = await this.life.answer(this.#manifest(source, at))
    if (told === undefined) throw new TidemarkError('unreachable', { message: 'the vault is gone' })
    return told
  }

  async #manifest(source: Id, at: Sequence): Promise<Buffer> {
    await this.#machinery.time.until(() => !this.isUp || this.indexed(source) >= at)
    if (!this.isUp) throw new TidemarkError('unreachable', { message: 'the vault is gone' })
    const groups: Buffer[] = []
    for await (const group of encodeManifest(manifestOf(this.view(source, at), [rootPath]))) groups.push(group)
    return Buffer.concat(groups)
  }

  /** The world is over. What waits for a signal is kept alive by it, killed or not. */
  [Symbol.dispose](): void {
    this.life.kill('the world ends')
    for (const stop of this.#stops) stop.abort()
    this.catalogue[Symbol.dispose]()
  }
}

/** Opening seals what was growing, which needs room. */
async function untilRoom<T>(clock: MachineClock, open: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await open()
    } catch (error) {
      if (!isCode(error, 'vault-full')) throw error
      await clock.sleep(1000)
    }
  }
}
