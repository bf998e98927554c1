import { createWriteStream } from 'node:fs'
import { chmod, mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { apiPath } from '../api/client.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Tell, TellBatch } from '../base/tell.ts'
import { listenForWatchers, type WatchedAddress } from '../monitoring/listen.ts'
import { encodeManifest } from '../format/manifest.ts'
import { type BandwidthLimit, localMinutesAhead } from '../model/bandwidth.ts'
import { moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id, SourceDefinition, SourceKind } from '../model/source.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { apiClient, type HttpDoor, vaultDoor } from '../wire/http-client.ts'
import type { Link } from '../wire/link.ts'
import type { TaskOrder, TaskReport } from '../wire/orders.ts'
import { Pace } from '../wire/pace.ts'
import { expiresAt } from '../wire/pki.ts'
import { followVault, JournalSession } from '../wire/ship.ts'
import { software } from '../wire/software.ts'
import { dialLink } from '../wire/tls.ts'
import { together } from '../base/together.ts'
import { Wake } from '../base/wake.ts'
import { Backoff } from '../base/backoff.ts'
import { AgentHome } from './identity.ts'
import { serveLocally } from './local-api.ts'
import { AgentMetrics } from './metrics.ts'
import { watchedAgent } from './watched.ts'
import { keepPaused, type PausedParts, type WhilePaused } from './paused.ts'
import { type Release, Releases, type ReleaseStatus } from './releases.ts'
import { AgentTasks } from './tasks/agent-tasks.ts'
import type { StartCommand } from './tasks/command-process.ts'
import { type OpenCapture, Protection, type ProtectionStatus } from './protect.ts'

export interface AgentParts {
  readonly directory: string
  readonly captures: Readonly<Partial<Record<SourceKind, OpenCapture>>>
  /** Takes back what a kind of capture has set at its source, once that is no longer protected. */
  readonly releases?: Readonly<Partial<Record<SourceKind, Release>>>
  /** What is seen to at a source while it is paused. */
  readonly paused?: Readonly<Partial<Record<SourceKind, WhilePaused>>>
  /** Begins a command of this program in a process of its own: tasks are done by it. */
  readonly startCommand: StartCommand
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
  /** Where metrics and health are told to whoever asks; nowhere but at the agent's socket without it. */
  readonly metrics?: WatchedAddress | undefined
  readonly tellBatch?: TellBatch | undefined
}

export interface AgentStatus {
  readonly id: Id
  readonly name: string
  readonly software: string
  readonly vault: { readonly id: Id; readonly host: string; readonly port: number }
  readonly connected: boolean
  /** Times the vault was reached. */
  readonly connections: number
  readonly certificateExpires: string
  readonly sources: readonly ProtectionStatus[]
  /** No longer protected, and not let go yet. */
  readonly releases: readonly ReleaseStatus[]
  readonly lastError: { readonly code: string; readonly message: string; readonly hint?: string } | undefined
}

export const socketName = 'api.sock'
const renewalCheckMs = 3_600_000

/** Protects what the vault says this agent protects, until `signal` aborts. */
export async function runAgent(parts: AgentParts, signal: AbortSignal): Promise<void> {
  const { directory, clock, tell } = parts
  const home = await AgentHome.open(directory)
  using _lock = lockDirectory(directory)
  const metrics = new AgentMetrics(clock)
  const tasks = await AgentTasks.open({
    directory: resolve(directory),
    start: parts.startCommand,
    isRefusing: home.settings.tasks === 'none',
    clock,
    tell,
  })
  const agent = new Agent(home, tasks, parts, metrics.acknowledged)
  const watched = watchedAgent(() => agent.status(), metrics)
  await using _socket = await serveLocally(join(directory, socketName), agent, watched)
  await using watchers = parts.metrics && (await listenForWatchers(parts.metrics, watched))
  tell(`agent ${home.identity.name} (${home.identity.agent}) of vault ${home.identity.host}:${home.identity.port}`)
  if (watchers !== undefined) tell(`metrics at http://${parts.metrics?.host}:${watchers.port}/metrics`)
  await together(signal, [
    (inside) => agent.protect(inside),
    (inside) => agent.follow(inside),
    (inside) => agent.releases.run(inside),
    (inside) => tasks.run(inside),
    (inside) => renewing(home, clock, tell, inside),
  ]).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
}

async function renewing(home: AgentHome, clock: Clock, tell: Tell, signal: AbortSignal): Promise<void> {
  for (;;) {
    if (home.needsRenewal(clock)) {
      try {
        await home.renew()
        tell('the certificate was renewed')
      } catch (error) {
        tell(`the certificate could not be renewed, it is tried again: ${messageOf(error)}`, { error })
      }
    }
    await clock.sleep(renewalCheckMs, signal)
  }
}

interface Running {
  definition: SourceDefinition
  readonly protection: Protection
  readonly stop: AbortController
  readonly ended: Promise<void>
}

class Agent {
  readonly #home: AgentHome
  readonly #parts: AgentParts
  readonly #pace: Pace
  readonly #tasks: AgentTasks
  readonly releases: Releases
  readonly #running = new Map<Id, Running>()
  readonly #told = new Wake()
  readonly #reached = new Wake()
  #definitions: readonly SourceDefinition[] | undefined
  /** Whether the definitions are the vault's of this run, not those remembered. */
  #isFresh = false
  #connected = false
  #connections = 0
  readonly #acknowledged: (ms: number) => void
  #lastError: TidemarkError | undefined
  /** Kept with the certificate it was opened for. */
  #door: { readonly certificate: string; readonly door: HttpDoor } | undefined

  constructor(home: AgentHome, tasks: AgentTasks, parts: AgentParts, acknowledged: (ms: number) => void) {
    this.#acknowledged = acknowledged
    this.#home = home
    this.#tasks = tasks
    this.#parts = parts
    this.#pace = new Pace(home.settings.bandwidth, parts.clock)
    const { releases: kinds = {}, clock, random, tell } = parts
    const directory = join(home.directory, 'sources')
    this.releases = new Releases({ directory, kinds, report: this.#reportUncaptured, clock, random, tell })
  }

  status(): AgentStatus {
    const { agent, name, vault, host, port } = this.#home.identity
    const error = this.#lastError
    return {
      id: agent,
      name,
      software,
      vault: { id: vault, host, port },
      connected: this.#connected,
      connections: this.#connections,
      certificateExpires: new Date(expiresAt(this.#home.credential.certificate) / 1000).toISOString(),
      sources: Array.from(this.#running.values(), ({ protection }) => protection.status()),
      releases: this.releases.status(),
      lastError: error && {
        code: error.code,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      },
    }
  }

  /** The vault's HTTP API, with the present certificate. */
  vault(): HttpDoor {
    const { certificate } = this.#home.credential
    if (this.#door?.certificate !== certificate) {
      this.#door?.door[Symbol.dispose]()
      this.#door = { certificate, door: vaultDoor({ ...this.#home.identity, credential: this.#home.credential }) }
    }
    return this.#door.door
  }

  /** Keeps the control connection, over which the vault tells the sources. */
  async follow(signal: AbortSignal): Promise<void> {
    const { clock, random, tell } = this.#parts
    const backoff = new Backoff(clock, random)
    for (;;) {
      try {
        const told = {
          definitions: (sources: readonly SourceDefinition[]) => this.#learn(sources, backoff),
          reporting: (send: (report: TaskReport) => Promise<void>) => this.#tasks.reporting(send),
          ordered: (order: TaskOrder) => this.#tasks.ordered(order),
          cancelled: (id: Id, run: number) => this.#tasks.cancelled(id, run),
          limited: (limits: readonly BandwidthLimit[]) => this.#pace.limit(limits),
        }
        const server = {
          minutesAhead: localMinutesAhead(clock.now() / 1000),
          limits: this.#home.settings.bandwidth,
        }
        await followVault(await this.#dial(signal), { software, server }, told, clock, signal)
      } catch (error) {
        signal.throwIfAborted()
        const told =
          error instanceof TidemarkError
            ? error
            : new TidemarkError('interrupted', { message: messageOf(error), cause: error })
        if (this.#lastError?.message !== told.message)
          tell(`no line to the vault: ${told.message}`, { level: 'warn', error: told })
        this.#lastError = told
      } finally {
        this.#connected = false
      }
      await backoff.wait(signal)
    }
  }

  #learn(sources: readonly SourceDefinition[], backoff: Backoff): void {
    backoff.succeeded()
    if (!this.#connected) {
      this.#connections++
      this.#parts.tell('the vault is reached')
      this.releases.vaultReached()
    }
    this.#connected = true
    this.#lastError = undefined
    this.#definitions = sources
    this.#isFresh = true
    this.#told.wake()
    this.#reached.wake()
  }

  /** Runs one protection for each source that is told. Until the vault has told, those remembered are protected. */
  async protect(signal: AbortSignal): Promise<void> {
    this.#definitions ??= await this.#home.definitions()
    try {
      for (;;) {
        const definitions = this.#definitions
        if (this.#isFresh) await this.#home.definitionsTold(definitions)
        await this.#apply(definitions)
        await this.#told.until(() => (this.#definitions === definitions ? undefined : true), signal)
      }
    } finally {
      await Promise.all(Array.from(this.#running.keys(), (id) => this.#stop(id)))
      this.#door?.door[Symbol.dispose]()
    }
  }

  async #apply(definitions: readonly SourceDefinition[]): Promise<void> {
    const wanted = new Map(definitions.map((definition) => [definition.id, definition]))
    for (const [id, running] of [...this.#running]) {
      const { definition, protection } = running
      const next = wanted.get(id)
      if (next && isCapturedAlike(next, definition)) {
        running.definition = next
        protection.redefined(next)
        continue
      }
      await this.#stop(id)
      if (next) continue
      this.#parts.tell(`${definition.name} is no longer protected`, { source: definition.id })
      await this.releases.add(definition)
    }
    for (const definition of definitions) {
      if (this.#running.has(definition.id)) continue
      await this.releases.takeBack(definition)
      this.#start(definition)
    }
  }

  #start(definition: SourceDefinition): void {
    const { captures, clock, random, tell, tellBatch } = this.#parts
    const home = this.#home
    const protection = new Protection({
      definition,
      directory: this.#directoryOf(definition),
      software,
      spoolKey: home.spoolKey,
      spoolBytesMax: home.settings.spoolBytesMax,
      openCapture: captures[definition.kind] ?? unknownKind,
      dial: (signal) => this.#dial(signal),
      fetchManifest: (source, at, into, signal) => fetchManifest(this.vault(), source, at, into, signal),
      chunkKey: {
        get known() {
          return home.chunkKey
        },
        told: (key) => home.chunkKeyTold(key),
      },
      pace: this.#pace,
      reached: this.#reached,
      clock,
      random,
      acknowledged: this.#acknowledged,
      tellBatch,
    })
    const stop = new AbortController()
    const isPaused = definition.paused
    if (!isPaused) tell(`protecting ${definition.name}`, { source: definition.id })
    const ended = isPaused ? this.#keepPaused(definition, stop.signal) : this.#keepRunning(protection, stop.signal)
    this.#running.set(definition.id, { definition, protection, stop, ended })
  }

  /** A protection that fails, say because its disk does, leaves the others alone and is begun again. */
  async #keepRunning(protection: Protection, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#parts.clock, this.#parts.random)
    while (!signal.aborted) {
      try {
        await protection.run(signal)
      } catch (error) {
        protection.failed(error)
        const { id, name } = protection.status()
        this.#parts.tell(`protection of ${name} failed, it is begun again: ${messageOf(error)}`, { source: id, error })
        await backoff.wait(signal).catch(() => undefined)
      }
    }
  }

  async #keepPaused(definition: SourceDefinition, signal: AbortSignal): Promise<void> {
    const { paused: kinds = {}, clock, random, tell } = this.#parts
    await keepPaused(definition, { kinds, report: this.#reportUncaptured, clock, random, tell }, signal)
  }

  async #stop(id: Id): Promise<void> {
    const running = this.#running.get(id)
    if (!running) return
    running.stop.abort(new TidemarkError('interrupted', { message: 'the protection was stopped' }))
    await running.ended
    this.#running.delete(id)
  }

  #directoryOf({ id }: SourceDefinition): string {
    return join(this.#home.directory, 'sources', id)
  }

  /** Of a source that is paused, or let go. */
  readonly #reportUncaptured: PausedParts['report'] = async ({ id: source }, problems, signal) => {
    const { clock } = this.#parts
    const session = await JournalSession.open(await this.#dial(signal), { source, software }, clock, signal)
    const { durable } = session.journal
    await session.lastReport({ state: 'paused', covered: moment(0), upTo: durable, dirty: 0, watching: '', problems })
  }

  #dial(signal: AbortSignal): Promise<Link> {
    return dialLink({ ...this.#home.identity, credential: this.#home.credential }, signal)
  }
}

const unknownKind: OpenCapture = ({ source }) =>
  Promise.reject(
    new TidemarkError('version-refused', {
      message: `this agent cannot protect "${source.name}", which is of kind ${source.kind}`,
      hint: 'install the version of the vault on this server',
    }),
  )

/** Names, and what only the vault keeps to, do not touch a capture. */
const isCapturedAlike = (one: SourceDefinition, other: SourceDefinition): boolean => captured(one) === captured(other)

function captured({ name, system, policy: { windowMs, lagMsMax, ...policy }, ...rest }: SourceDefinition): string {
  return JSON.stringify({ ...rest, policy })
}

/** The beginning of a journal needs no vault to be described. */
async function fetchManifest(
  door: HttpDoor,
  source: SourceDefinition,
  at: Sequence,
  into: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(join(into, '..'), { recursive: true, mode: 0o700 })
  const pieces =
    at === 0
      ? encodeManifest([])
      : await apiClient(door).stream(
          'GET',
          apiPath(`/v1/sources/${source.id}/manifest`, { at: `seq:${at}` }),
          undefined,
          signal,
        )
  await pipeline(Readable.from(pieces, { objectMode: false }), createWriteStream(into, { mode: 0o600 }), { signal })
  await chmod(into, 0o600)
}
