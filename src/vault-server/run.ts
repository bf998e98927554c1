import { chmod, mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Tell, TellBatch } from '../base/tell.ts'
import { listenForWatchers, type WatchedAddress } from '../monitoring/listen.ts'
import type { Watched } from '../monitoring/watched.ts'
import { directoryStore } from '../store/directory.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { Vault } from '../vault/vault.ts'
import { openCredentials, type VaultCredentials } from '../wire/authority.ts'
import { serveConnection } from '../wire/serve.ts'
import { listenTls, type Role } from '../wire/tls.ts'
import { certificateNames } from './init.ts'
import type { Id } from '../model/source.ts'
import type { Context } from './context.ts'
import { type Caller, makeHttp } from './http.ts'
import { HeldPoints } from './held-points.ts'
import { Live } from './live.ts'
import { Measures } from './measures/measures.ts'
import { Recorder } from './measures/recorder.ts'
import {
  cataloguePath,
  credentialsFolder,
  derivedFolder,
  measuresPath,
  readSettings,
  readVaultKey,
  socketName,
  tasksPath,
} from './place.ts'
import { vaultPort } from './port.ts'
import { VaultMetrics } from './metrics.ts'
import { keepRetention } from './retention.ts'
import { agentRoutes } from './routes/agents.ts'
import { archiveRoutes } from './routes/archive.ts'
import { consoleRoutes } from './routes/consoles.ts'
import { enrolmentRoutes } from './routes/enrolment.ts'
import { eventRoutes } from './routes/events.ts'
import { followRoutes } from './routes/follow.ts'
import { heldPointRoutes } from './routes/held-points.ts'
import { measureRoutes } from './routes/measures.ts'
import { searchRoutes } from './routes/search.ts'
import { sourceRoutes } from './routes/sources.ts'
import { taskRoutes } from './routes/tasks.ts'
import { aroundRoutes } from './routes/around.ts'
import { verificationRoutes } from './routes/verifications.ts'
import { viewRoutes } from './routes/views.ts'
import { watchedRoutes } from './routes/watched.ts'
import { Space } from './space.ts'
import { SpaceLooks } from './space-looks.ts'
import { tellStalls } from './stalls.ts'
import { Statuses } from './statuses.ts'
import { Turns } from './turns.ts'
import { openDerived } from './derived.ts'
import { doAtVault } from './tasks/at-vault.ts'
import { KeptTasks } from './tasks/kept-tasks.ts'
import { Tasks } from './tasks/tasks.ts'
import { watchedVault } from './watched.ts'

export interface RunRequest {
  readonly directory: string
  readonly host: string
  readonly port: number
  /** Where metrics and health are told to whoever asks; nowhere but at the vault's socket without it. */
  readonly metrics?: WatchedAddress | undefined
}

export interface RunParts {
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
  readonly tellBatch?: TellBatch | undefined
}

/**
 * Serves the vault of a directory until `signal` aborts, or until it cannot append any more: then it fails with the
 * reason, to be started again. What was acknowledged is durable however this ends.
 */
export async function runVault(request: RunRequest, parts: RunParts, signal: AbortSignal): Promise<void> {
  const { clock, random, tell } = parts
  const directory = resolve(request.directory)
  const settings = await readSettings(directory)
  using _lock = lockDirectory(directory)
  const store = await directoryStore(directory)
  const { key } = await readVaultKey(directory, store)
  await mkdir(derivedFolder(directory), { recursive: true, mode: 0o700 })
  const metrics = new VaultMetrics(clock)
  await using vault = await Vault.open({
    store,
    key,
    clock,
    random,
    cataloguePath: cataloguePath(directory),
    wrote: metrics.wrote,
  })
  const failed = new AbortController()
  vault.failed.catch((error: unknown) => failed.abort(error))
  const stop = AbortSignal.any([signal, failed.signal])
  for (const damage of vault.damage) tell(`DAMAGE: ${damage.message}`, { error: damage })
  await using derived = await openDerived(vault, directory, parts)
  const credentials = await openCredentials(
    join(directory, credentialsFolder),
    certificateNames(settings.addresses),
    parts,
  )
  const live = new Live(clock)
  const held = new HeldPoints(clock)
  using measures = new Measures(measuresPath(directory), tell)
  const [dialled] = settings.addresses
  await using tasks = new Tasks({ kept: KeptTasks.open(tasksPath(directory), tell), clock, random, tell })
  const space = new Space(store, clock)
  const spaceLooks = new SpaceLooks({ vault, derived, space, measures }, clock, tell)
  const shared = {
    vault,
    derived,
    live,
    space,
    spaceLooks,
    held,
    tasks,
    measures,
    credentials,
    address: dialled === undefined ? '' : `${dialled}:${request.port}`,
    clock,
    random,
  }
  const statuses = new Statuses(shared)
  const context: Context = { ...shared, statuses, turns: new Turns({ ...shared, statuses }) }
  tasks.begin(doAtVault(context))
  const watched = watchedVault(context, metrics)
  await using http = await serveHttp({ ...context, tell }, watched, join(directory, socketName))
  await using listener = await serveTls(request, parts, context, http.admit, stop)
  tell(
    `vault ${vault.name} (${vault.id}) listens on ${request.host}:${listener.port}, ${vault.registry.sources.length} sources`,
  )
  await using watchers = request.metrics && (await listenForWatchers(request.metrics, watched))
  if (watchers !== undefined) tell(`metrics at http://${request.metrics?.host}:${watchers.port}/metrics`)
  const known = (): Set<string> =>
    new Set([...vault.registry.sources, ...vault.registry.damagedSources].map(({ id }) => id))
  const recorder = new Recorder({ clock, measures, look: () => context.statuses.look(), known })
  await Promise.all([
    keepRetention(derived, vault, { ...parts, held }, stop),
    recorder.run(stop),
    tellStalls(vault, clock, tell, stop),
  ])
  failed.signal.throwIfAborted()
}

const callerOf = (peer: { readonly role: Role; readonly id: Id } | undefined): Caller => {
  if (peer === undefined) return { kind: 'stranger' }
  return peer.role === 'agent' ? { kind: 'agent', agent: peer.id } : { kind: 'console', console: peer.id }
}

/** The HTTP API, for the operator on a socket only he can open, and for agents and consoles over TLS. */
async function serveHttp(context: Context & Pick<RunParts, 'tell'>, watched: Watched, socketPath: string) {
  const { http, admit } = await makeHttp()
  enrolmentRoutes(http, context)
  agentRoutes(http, context)
  consoleRoutes(http, context)
  sourceRoutes(http, context)
  viewRoutes(http, context)
  aroundRoutes(http, context)
  searchRoutes(http, context)
  archiveRoutes(http, context)
  heldPointRoutes(http, context)
  followRoutes(http, context)
  eventRoutes(http, context)
  taskRoutes(http, context)
  watchedRoutes(http, watched)
  measureRoutes(http, context)
  verificationRoutes(http, context)
  http.get('/v1/openapi.json', { schema: { hide: true } }, async () => http.swagger())
  await rm(socketPath, { force: true })
  await http.listen({ path: socketPath })
  await chmod(socketPath, 0o600)
  return {
    admit,
    [Symbol.asyncDispose]: async () => {
      await http.close()
      await rm(socketPath, { force: true })
    },
  }
}

function serveTls(
  { host, port }: RunRequest,
  { clock, tell, tellBatch }: RunParts,
  context: { vault: Vault; live: Live; tasks: Tasks; credentials: VaultCredentials },
  admit: Awaited<ReturnType<typeof makeHttp>>['admit'],
  signal: AbortSignal,
) {
  const { vault, live, tasks, credentials } = context
  const port_ = vaultPort({ vault, live, tasks, clock, tell, tellBatch })
  return listenTls({
    host,
    port,
    credentials,
    clock,
    admits: (id, serial) => {
      const isThat = (one: { readonly id: Id; readonly revoked: boolean; readonly certificates: readonly string[] }) =>
        one.id === id && !one.revoked && one.certificates.includes(serial)
      if (vault.registry.agents.some(isThat)) return 'agent'
      return vault.registry.consoles.some(isThat) ? 'console' : undefined
    },
    link: async (link, peer) => {
      try {
        const end = await serveConnection(link, peer, port_, clock, signal)
        if (end.how === 'refused' || end.how === 'refused-by-peer') {
          const { name } = vault.registry.agent(peer.agent)
          tell(`agent ${name}: ${end.how}: ${end.error.message}`, { level: 'warn', agent: name, error: end.error })
        }
      } catch (error) {
        tell(`fault while serving an agent: ${messageOf(error)}`, { error })
        throw error
      }
    },
    http: (socket, peer) => admit(socket, callerOf(peer)),
    // Who hangs up in the middle of the handshake has no address any more, and nothing to be told of.
    refused: (from, reason) => from !== 'undefined' && tell(`refused ${from}: ${reason}`, { level: 'warn' }),
  })
}
