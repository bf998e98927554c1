import { createHash, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { isCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { keyBytes } from '../format/keys.ts'
import { decodeRecord, encodeRecord, recordBytesMax } from '../format/registry-record.ts'
import { type Moment } from '../model/moment.ts'
import { type Id, isId, namePattern, type SourceDefinition, sourceKinds } from '../model/source.ts'
import { damaged, readStored } from '../store/damaged.ts'
import type { Store, StoreName } from '../store/store.ts'
import { registryFolder } from './names.ts'

/**
 * What the vault keeps beside journals and packs: its own name and chunk key, agents, sources with the keys of their
 * journals, enrolment tokens, secrets. Each record is a small file that is replaced whole; a change is durable once its
 * call has resolved, and changes are made one after the other.
 */
const id = z.custom<Id>((value) => typeof value === 'string' && isId(value))
const name = z.string().regex(namePattern)
const moment = z.custom<Moment>((value) => Number.isSafeInteger(value))
const hexKey = z.string().regex(/^[0-9a-f]{64}$/)

const vaultRecord = z.object({ name, chunkKey: hexKey })

const agentRecord = z.object({
  id,
  name,
  /** Stands for the agent in packs; from 1, never used again. */
  holder: z.int().min(1).max(0xffff_ffff),
  /** Serial numbers of its certificates, newest last. */
  certificates: z.array(z.string()),
  revoked: z.boolean(),
  enrolled: moment,
  /** See model/bandwidth.ts. */
  limits: z
    .array(
      z.object({
        from: z.string(),
        to: z.string(),
        days: z.array(z.number()).optional(),
        bytesPerSecond: z.number(),
      }),
    )
    .optional(),
})
export type Agent = Readonly<z.infer<typeof agentRecord>>

const consoleRecord = z.object({
  id,
  name,
  /** Serial numbers of its certificates, newest last. */
  certificates: z.array(z.string()),
  revoked: z.boolean(),
  enrolled: moment,
})
export type Console = Readonly<z.infer<typeof consoleRecord>>

const sourceRecord = z.object({
  definition: z.object({
    id,
    name,
    kind: z.enum(sourceKinds),
    agent: id,
    system: name.optional(),
    paths: z.array(z.string()),
    exclude: z.array(z.string()),
    postgres: z
      .object({
        url: z.string(),
        baselineMs: z.number(),
        baselineBytesPerSecond: z.number().optional(),
        walKeptBytesMax: z.number(),
        zeroLoss: z.object({ degradeMs: z.number().optional() }).optional(),
      })
      .optional(),
    volume: z
      .object({
        backing: z.string(),
        bytes: z.number().optional(),
        logBytesMax: z.number(),
        listen: z.string().optional(),
        zeroLoss: z.object({ degradeMs: z.number().optional() }).optional(),
      })
      .optional(),
    policy: z.object({ windowMs: z.number(), reconcileMs: z.number(), lagMsMax: z.number() }),
    paused: z.boolean(),
    retired: moment.optional(),
  }),
  journalKey: hexKey,
})

const tokenRecord = z.object({
  id,
  /** SHA-256 of the secret, as hexadecimal digits. */
  hash: z.string(),
  created: moment,
  expires: moment,
  /** The agent or console that used it. */
  used: id.optional(),
})
export type Token = Readonly<z.infer<typeof tokenRecord>>

const secretRecord = z.object({ bytes: z.base64() })

export interface RegistryParts {
  readonly store: Store
  readonly key: KeyObject
  readonly random: Random
}

export interface KeptSource {
  readonly definition: SourceDefinition
  readonly journalKey: Buffer
}

/** A record that cannot be read. What it told is unknown; everything that does not need it is served. */
interface DamagedRecord {
  readonly id: string
  readonly error: TidemarkError
}

const recordFolders = ['agents', 'consoles', 'sources', 'tokens'] as const
type RecordFolder = (typeof recordFolders)[number]

export class Registry {
  readonly #parts: RegistryParts
  readonly #agents = new Map<Id, Agent>()
  readonly #consoles = new Map<Id, Console>()
  readonly #sources = new Map<Id, KeptSource>()
  readonly #tokens = new Map<Id, Token>()
  readonly #damaged: Readonly<Record<RecordFolder, DamagedRecord[]>> = {
    agents: [],
    consoles: [],
    sources: [],
    tokens: [],
  }
  readonly #listeners = new Set<() => void>()
  #vault: z.infer<typeof vaultRecord>
  #last: Promise<unknown> = Promise.resolve()

  private constructor(parts: RegistryParts, vault: z.infer<typeof vaultRecord>) {
    this.#parts = parts
    this.#vault = vault
  }

  /** The records of a new vault. */
  static async create(parts: RegistryParts, vault: string): Promise<void> {
    const chunkKey = Buffer.from(parts.random.bytes(keyBytes)).toString('hex')
    await write(parts, 'vault', vaultRecord.parse({ name: vault, chunkKey }))
  }

  /** Without the record of the vault itself nothing can be read; damage of any other is kept in `damage`. */
  static async open(parts: RegistryParts): Promise<Registry> {
    const registry = new Registry(parts, await readOne(parts, 'vault', vaultRecord))
    for (const agent of await registry.#readAll('agents', agentRecord)) registry.#agents.set(agent.id, agent)
    for (const one of await registry.#readAll('consoles', consoleRecord)) registry.#consoles.set(one.id, one)
    for (const { definition, journalKey } of await registry.#readAll('sources', sourceRecord)) {
      registry.#sources.set(definition.id, { definition, journalKey: Buffer.from(journalKey, 'hex') })
    }
    for (const token of await registry.#readAll('tokens', tokenRecord)) registry.#tokens.set(token.id, token)
    return registry
  }

  async #readAll<T>(folder: RecordFolder, form: z.ZodType<T>): Promise<T[]> {
    const records: T[] = []
    for (const { name: file } of await this.#parts.store.list(`${registryFolder}/${folder}`)) {
      if (!file.endsWith('.record')) continue
      const record = file.slice(registryFolder.length + 1, -'.record'.length)
      try {
        records.push(await readOne(this.#parts, record, form))
      } catch (error) {
        if (!isCode(error, 'damaged') && !isCode(error, 'unsupported-format')) throw error
        const which = record.slice(folder.length + 1)
        this.#damaged[folder].push({ id: which, error: damagedRecord(folder, which, error) })
      }
    }
    return records
  }

  /** Records that cannot be read, each named. */
  get damage(): TidemarkError[] {
    return recordFolders.flatMap((folder) => this.#damaged[folder].map(({ error }) => error))
  }

  /** Sources that are there and of which nothing is known, not even whose they are. */
  get damagedSources(): readonly DamagedRecord[] {
    return this.#damaged.sources
  }

  get name(): string {
    return this.#vault.name
  }

  get chunkKey(): Buffer {
    return Buffer.from(this.#vault.chunkKey, 'hex')
  }

  get agents(): Agent[] {
    return [...this.#agents.values()]
  }

  agent(agent: Id): Agent {
    return this.#agents.get(agent) ?? this.#without('agents', agent)
  }

  /** Undefined where its record is not there, or cannot be read. */
  agentName(agent: Id): string | undefined {
    return this.#agents.get(agent)?.name
  }

  /** Why an agent cannot append, where its record is damaged. */
  agentDamage(agent: Id): TidemarkError | undefined {
    return this.#damaged.agents.find(({ id: one }) => one === agent)?.error
  }

  get sources(): SourceDefinition[] {
    return [...this.#sources.values()].map(({ definition }) => definition)
  }

  source(source: Id): SourceDefinition {
    return this.#kept(source).definition
  }

  /** For readers of the journal in other threads. */
  journalKey(source: Id): Buffer {
    return this.#kept(source).journalKey
  }

  get tokens(): Token[] {
    return [...this.#tokens.values()]
  }

  /** Called after each change of agents or sources. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  addAgent(told: Pick<Agent, 'name' | 'certificates' | 'enrolled'> & { readonly id?: Id }): Promise<Agent> {
    return this.#next(async () => {
      if (this.agents.some((agent) => agent.name === told.name)) throw taken('agent', told.name)
      // Agents are never removed, so those that cannot be read have numbers up to their count.
      const count = this.#agents.size + this.#damaged.agents.length
      const holder = Math.max(count, ...this.agents.map((agent) => agent.holder)) + 1
      const agent = agentRecord.parse({ ...told, id: told.id ?? this.#newId(), holder, revoked: false })
      await this.#putAgent(agent)
      return agent
    })
  }

  changeAgent(agent: Id, change: Partial<Pick<Agent, 'name' | 'certificates' | 'revoked' | 'limits'>>): Promise<Agent> {
    return this.#next(async () => {
      const before = this.agent(agent)
      if (change.name !== undefined && this.agents.some((other) => other.id !== agent && other.name === change.name)) {
        throw taken('agent', change.name)
      }
      const changed = agentRecord.parse({ ...before, ...change })
      await this.#putAgent(changed)
      return changed
    })
  }

  get consoles(): Console[] {
    return [...this.#consoles.values()]
  }

  addConsole(told: Omit<Console, 'revoked'>): Promise<Console> {
    return this.#next(async () => {
      if (this.consoles.some((one) => one.name === told.name && !one.revoked)) throw taken('console', told.name)
      return this.#putConsole({ ...told, revoked: false })
    })
  }

  changeConsole(which: Id, change: Partial<Pick<Console, 'certificates' | 'revoked'>>): Promise<Console> {
    return this.#next(async () => {
      const before = this.#consoles.get(which) ?? this.#without('consoles', which)
      return this.#putConsole({ ...before, ...change })
    })
  }

  /** Makes the key of its journal with it. */
  addSource(told: Omit<SourceDefinition, 'id'> & { readonly id?: Id }): Promise<SourceDefinition> {
    return this.#next(async () => {
      this.agent(told.agent)
      if (this.sources.some((source) => source.name === told.name)) throw taken('source', told.name)
      const journalKey = Buffer.from(this.#parts.random.bytes(keyBytes))
      return this.#putSource({ ...told, id: told.id ?? this.#newId() }, journalKey)
    })
  }

  changeSource(source: Id, change: Partial<Omit<SourceDefinition, 'id' | 'kind'>>): Promise<SourceDefinition> {
    return this.#next(async () => {
      const { definition, journalKey } = this.#kept(source)
      if (change.agent !== undefined) this.agent(change.agent)
      if (
        change.name !== undefined &&
        this.sources.some((other) => other.id !== source && other.name === change.name)
      ) {
        throw taken('source', change.name)
      }
      return this.#putSource({ ...definition, ...change }, journalKey)
    })
  }

  /** Forgets the source with the key of its journal: what its files hold can never be read again. */
  removeSource(source: Id): Promise<void> {
    return this.#next(async () => {
      this.#kept(source)
      await this.#parts.store.remove(recordName(`sources/${source}`))
      this.#sources.delete(source)
      this.#changed()
    })
  }

  addToken(told: { readonly secret: string; readonly created: Moment; readonly expires: Moment }): Promise<Token> {
    return this.#next(async () => {
      const { secret, ...rest } = told
      return this.#putToken({ id: this.#newId(), hash: hashOfSecret(secret), ...rest })
    })
  }

  /** Spends the token on an agent or a console; `token-refused` where it is unknown, used or expired. */
  useToken(secret: string, by: Id, now: Moment): Promise<Token> {
    return this.#next(async () => {
      const hash = hashOfSecret(secret)
      const token = this.tokens.find((one) => one.hash === hash)
      if (!token || token.used !== undefined || token.expires <= now) {
        throw new TidemarkError('token-refused', {
          message: 'the enrolment token is unknown, used or expired',
          hint: 'Make a new one on the vault.',
        })
      }
      return this.#putToken({ ...token, used: by })
    })
  }

  /** Bytes kept under a name of lower-case letters, digits and '-'; undefined where there are none. */
  async secret(secret: string): Promise<Buffer | undefined> {
    try {
      const { bytes } = await readOne(this.#parts, secretName(secret), secretRecord)
      return Buffer.from(bytes, 'base64')
    } catch (error) {
      if (isCode(error, 'not-found')) return undefined
      throw error
    }
  }

  setSecret(secret: string, bytes: Uint8Array): Promise<void> {
    return this.#next(() => write(this.#parts, secretName(secret), { bytes: Buffer.from(bytes).toString('base64') }))
  }

  #kept(source: Id): KeptSource {
    return this.#sources.get(source) ?? this.#without('sources', source)
  }

  #without(folder: 'agents' | 'consoles' | 'sources', which: Id): never {
    const damage = this.#damaged[folder].find(({ id: one }) => one === which)
    if (damage) throw damage.error
    throw new TidemarkError('not-found', {
      message: `there is no ${nouns[folder]} ${which}`,
      ...(folder === 'sources' ? { hint: 'it may have been unprotected' } : {}),
    })
  }

  async #putAgent(agent: Agent): Promise<void> {
    await write(this.#parts, `agents/${agent.id}`, agent)
    this.#agents.set(agent.id, agent)
    this.#changed()
  }

  async #putConsole(console: Console): Promise<Console> {
    const parsed = consoleRecord.parse(console)
    await write(this.#parts, `consoles/${parsed.id}`, parsed)
    this.#consoles.set(parsed.id, parsed)
    return parsed
  }

  async #putSource(definition: SourceDefinition, journalKey: Buffer): Promise<SourceDefinition> {
    const parsed = sourceRecord.parse({ definition, journalKey: journalKey.toString('hex') })
    await write(this.#parts, `sources/${definition.id}`, parsed)
    this.#sources.set(definition.id, { definition: parsed.definition, journalKey })
    this.#changed()
    return parsed.definition
  }

  async #putToken(token: Token): Promise<Token> {
    await write(this.#parts, `tokens/${token.id}`, token)
    this.#tokens.set(token.id, token)
    return token
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }

  #newId(): Id {
    return Buffer.from(this.#parts.random.bytes(16)).toString('hex') as Id
  }

  #next<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#last.then(change)
    this.#last = done.catch(() => undefined)
    return done
  }
}

const recordName = (record: string): StoreName => `${registryFolder}/${record}.record`

function secretName(secret: string): string {
  if (!/^[a-z0-9-]{1,64}$/.test(secret)) throw new Error(`broken invariant: ${JSON.stringify(secret)} names no secret`)
  return `secrets/${secret}`
}

const write = ({ store, key, random }: RegistryParts, record: string, value: unknown): Promise<void> =>
  store.replace(recordName(record), encodeRecord(record, value, key, random))

async function readOne<T>({ store, key }: RegistryParts, record: string, form: z.ZodType<T>): Promise<T> {
  const file = recordName(record)
  const bytes = await store.read(file, 0, recordBytesMax)
  const parsed = form.safeParse(readStored(file, 0, () => decodeRecord(record, bytes, key)))
  if (!parsed.success) throw damaged(file, 0, z.prettifyError(parsed.error))
  return parsed.data
}

const hashOfSecret = (secret: string): string => createHash('sha256').update(secret, 'utf8').digest('hex')

const nouns = { agents: 'agent', consoles: 'console', sources: 'source', tokens: 'enrolment token' } as const

/** What the damage of a record keeps from being done. */
const refusals = {
  agents: 'it cannot append, and its sources can only be read',
  consoles: 'it is not let in',
  sources: 'its history cannot be read, nothing is appended to it, and no chunks are collected',
  tokens: 'nobody can enrol with it',
} as const

const damagedRecord = (folder: RecordFolder, which: string, cause: TidemarkError): TidemarkError =>
  new TidemarkError(cause.code, {
    message: `the record of ${nouns[folder]} ${which} cannot be read, so ${refusals[folder]}: ${cause.message}`,
    hint:
      folder === 'tokens'
        ? 'make a new token; this file may be deleted'
        : folder === 'consoles'
          ? 'delete this file and add the vault to that console again'
          : 'stop the vault, bring this file back from a copy of the directory it is in, and start the vault again',
    cause,
  })

const taken = (what: string, which: string): TidemarkError =>
  new TidemarkError('already-exists', {
    message: `there is already ${what === 'agent' ? 'an' : 'a'} ${what} named ${which}`,
  })
