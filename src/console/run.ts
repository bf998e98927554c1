import { chmod, rm } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { together } from '../base/together.ts'
import type { Http } from '../http/server.ts'
import { listenForWatchers, type WatchedAddress } from '../monitoring/listen.ts'
import type { Watched } from '../monitoring/watched.ts'
import { AlarmWatch } from './alarms/alarm-watch.ts'
import type { Context } from './context.ts'
import { Federation } from './federation.ts'
import { type HttpsRequest, listen, type Listening, readHttps } from './listening.ts'
import { Live } from './live.ts'
import { ConsoleMetrics } from './metrics.ts'
import { type ConsoleParts, type Held, openConsole } from './open.ts'
import { pageRoutes } from './pages.ts'
import { readSecretKey, socketName } from './place.ts'
import { alarmRoutes } from './routes/alarms.ts'
import { auditRoutes } from './routes/audit.ts'
import { channelRoutes } from './routes/channels.ts'
import { documentRoutes } from './routes/documents.ts'
import { liveRoutes } from './routes/live.ts'
import { proxyRoutes } from './routes/proxy.ts'
import { reportRoutes } from './routes/reports.ts'
import { sessionRoutes } from './routes/session.ts'
import { userRoutes } from './routes/users.ts'
import { vaultRoutesOfConsole } from './routes/vaults.ts'
import { watchedRoutes } from './routes/watched.ts'
import { makeConsoleHttp, type RouteNeed } from './server.ts'
import { watchedConsole } from './watched.ts'

export interface ListenRequest {
  readonly host: string
  readonly port: number
  readonly https?: HttpsRequest | undefined
  /** Beyond loopback only over HTTPS, unless this is set. */
  readonly isPlainAllowed?: boolean
}

export interface RunRequest {
  readonly directory: string
  /** Where browsers connect; absent: the socket of the directory alone. */
  readonly listen?: ListenRequest | undefined
  /** Folder of the built pages. */
  readonly pages: string
  /** Names that the console is reached by, beside addresses, localhost and those of its certificate. */
  readonly names: readonly string[]
  /** Where metrics and health are told to whoever asks; nowhere but at the console's socket without it. */
  readonly metrics?: WatchedAddress | undefined
}

/** Sessions that are over end within this time. */
const sessionsEveryMs = 10_000
/** How often a certificate is looked at again, and the audit log trimmed. */
const housekeepingMs = 3_600_000

export interface Started extends AsyncDisposable {
  readonly context: Context
  /** Every route with what it needs of who calls it. */
  readonly routes: readonly RouteNeed[]
  /** Where browsers connect, if they do. */
  readonly port: number | undefined
  /** For connections to come, from the files as they are now. */
  renewCertificate(): Promise<void>
}

/** Serves the console of a directory until `signal` aborts. What was answered as done is durable however this ends. */
export async function runConsole(request: RunRequest, parts: ConsoleParts, signal: AbortSignal): Promise<void> {
  const { clock, tell } = parts
  await using running = await startConsole(request, parts)
  const keep = async (what: string, work: () => void | Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      tell(`${what}: ${messageOf(error)}`, { error })
    }
  }
  const keepHouse = async (inside: AbortSignal): Promise<void> => {
    let nextMs = clock.monotonicMs()
    for (;;) {
      running.context.sessions.endExpired()
      if (clock.monotonicMs() >= nextMs) {
        nextMs = clock.monotonicMs() + housekeepingMs
        await keep('old audit records stay', () => running.context.audit.trim())
        await keep('the certificate stays the one before', () => running.renewCertificate())
      }
      await clock.sleep(sessionsEveryMs, inside)
    }
  }
  await together(signal, [keepHouse, (inside) => running.context.alarms.run(inside)])
}

/** A console at work, until it is disposed. */
export async function startConsole(
  { directory: where, listen: wanted, pages, names: given, metrics: watchersAt }: RunRequest,
  parts: ConsoleParts,
): Promise<Started> {
  const directory = resolve(where)
  if (wanted !== undefined) demandSafe(wanted)
  await using opening = new AsyncDisposableStack()
  const held = await openLocked(directory, parts, opening)
  const live = new Live()
  const federation = opening.use(await Federation.open(live, { ...parts, table: held.vaultTable }))
  const alarms = new AlarmWatch({ ...held, federation, live })
  const context: Context = { ...held, live, federation, alarms }
  const https = wanted?.https
  const credential = https && (await readHttps(directory, https, parts))
  const isHttps = credential !== undefined
  const names = new Set(given.map((name) => name.toLowerCase()))
  let listening: Listening | undefined
  const { http, routes, admit } = await makeConsoleHttp(context, {
    isHttps,
    isOwnName: (name) => names.has(name) || listening?.covers(name) === true,
  })
  const metrics = new ConsoleMetrics(parts.clock)
  const watched = watchedConsole(context, metrics)
  http.addHook('onResponse', async (_request, reply) => metrics.answered(reply.statusCode, reply.elapsedTime))
  await addRoutes(http, context, { pages, isHttps, watched })
  opening.use(await serveSocket(http, join(directory, socketName)))
  if (wanted !== undefined) {
    listening = opening.use(await listen(wanted, credential, admit))
    const host = wanted.host.includes(':') ? `[${wanted.host}]` : wanted.host
    parts.tell(`console listens on ${isHttps ? 'https' : 'http'}://${host}:${listening.port}`)
  }
  if (watchersAt !== undefined) {
    const { port } = opening.use(await listenForWatchers(watchersAt, watched))
    parts.tell(`metrics at http://${watchersAt.host}:${port}/metrics`)
  }
  const all = opening.move()
  return {
    context,
    routes,
    port: listening?.port,
    renewCertificate: async () => {
      if (https !== undefined) listening?.renew(await readHttps(directory, https, parts))
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function openLocked(directory: string, parts: ConsoleParts, opening: AsyncDisposableStack): Promise<Held> {
  await readSecretKey(directory)
  opening.use(lockDirectory(directory))
  return opening.use(await openConsole(directory, parts))
}

async function addRoutes(
  http: Http,
  context: Context,
  { pages, isHttps, watched }: { readonly pages: string; readonly isHttps: boolean; readonly watched: Watched },
): Promise<void> {
  sessionRoutes(http, context, isHttps)
  userRoutes(http, context)
  vaultRoutesOfConsole(http, context)
  liveRoutes(http, context)
  auditRoutes(http, context)
  alarmRoutes(http, context)
  channelRoutes(http, context)
  reportRoutes(http, context)
  await proxyRoutes(http, context)
  watchedRoutes(http, watched)
  http.get('/api/health', { config: { needs: 'open' }, schema: { summary: 'Whether it works' } }, async () => {
    context.database.sqlite.prepare('SELECT 1').get()
    return { ok: true }
  })
  await pageRoutes(http, pages, context.random)
  documentRoutes(http, context)
}

async function serveSocket(http: Http, path: string): Promise<AsyncDisposable> {
  // The directory is locked by this process, so a socket that is there is a dead one's.
  await rm(path, { force: true })
  await http.listen({ path })
  await chmod(path, 0o600)
  return {
    [Symbol.asyncDispose]: async () => {
      await http.close()
      await rm(path, { force: true })
    },
  }
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const isLoopback = (host: string): boolean =>
  host === 'localhost' || (isIP(host) !== 0 && loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4'))

function demandSafe({ host, https, isPlainAllowed }: ListenRequest): void {
  if (https !== undefined || isPlainAllowed === true || isLoopback(host)) return
  throw new TidemarkError('not-allowed', {
    message: `passwords would cross the network to ${host} in the clear`,
    hint: 'add --https, or --certificate and --key; where the line itself is encrypted, --plain',
  })
}
