import { chmod, rm } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import type { Http } from '../http/server.ts'
import type { Context } from './context.ts'
import { Federation } from './federation.ts'
import { type HttpsRequest, listen, type Listening, readHttps } from './listening.ts'
import { Live } from './live.ts'
import { type ConsoleParts, type Held, openConsole } from './open.ts'
import { pageRoutes } from './pages.ts'
import { socketName } from './place.ts'
import { liveRoutes } from './routes/live.ts'
import { proxyRoutes } from './routes/proxy.ts'
import { sessionRoutes } from './routes/session.ts'
import { vaultRoutesOfConsole } from './routes/vaults.ts'
import { makeConsoleHttp } from './server.ts'

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
}

/** Sessions that are over end within this time. */
const sessionsEveryMs = 10_000
/** How often a certificate is looked at again, and the audit log trimmed. */
const housekeepingMs = 3_600_000

/** Serves the console of a directory until `signal` aborts. What was answered as done is durable however this ends. */
export async function runConsole(request: RunRequest, parts: ConsoleParts, signal: AbortSignal): Promise<void> {
  const { clock, tell } = parts
  const directory = resolve(request.directory)
  const wanted = request.listen
  if (wanted !== undefined) demandSafe(wanted)
  using held = await openLocked(directory, parts)
  const live = new Live()
  await using federation = await Federation.open(live, { ...parts, table: held.vaultTable })
  const context: Context = { ...held, live, federation }
  const credential = wanted?.https && (await readHttps(directory, wanted.https, parts))
  const names = new Set(request.names.map((name) => name.toLowerCase()))
  let listening: Listening | undefined
  const { http, admit } = await makeConsoleHttp(context, {
    isHttps: credential !== undefined,
    isOwnName: (name) => names.has(name) || listening?.covers(name) === true,
  })
  await addRoutes(http, context, { pages: request.pages, isHttps: credential !== undefined })
  await using _socket = await serveSocket(http, join(directory, socketName))
  await using opened = wanted && (await listen(wanted, credential, admit))
  listening = opened
  if (wanted !== undefined && opened !== undefined) {
    const host = wanted.host.includes(':') ? `[${wanted.host}]` : wanted.host
    tell(`console listens on ${credential === undefined ? 'http' : 'https'}://${host}:${opened.port}`)
  }
  let nextMs = clock.monotonicMs()
  for (;;) {
    context.sessions.endExpired()
    if (clock.monotonicMs() >= nextMs) {
      nextMs = clock.monotonicMs() + housekeepingMs
      context.audit.trim()
      if (wanted?.https && opened) opened.renew(await readHttps(directory, wanted.https, parts))
    }
    await clock.sleep(sessionsEveryMs, signal)
  }
}

async function openLocked(directory: string, parts: ConsoleParts): Promise<Held & Disposable> {
  const lock = lockDirectory(directory)
  try {
    const context = await openConsole(directory, parts)
    return {
      ...context,
      [Symbol.dispose]: () => {
        context[Symbol.dispose]()
        lock[Symbol.dispose]()
      },
    }
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
}

async function addRoutes(
  http: Http,
  context: Context,
  { pages, isHttps }: { readonly pages: string; readonly isHttps: boolean },
): Promise<void> {
  sessionRoutes(http, context, isHttps)
  vaultRoutesOfConsole(http, context)
  liveRoutes(http, context)
  await proxyRoutes(http, context)
  http.get('/api/openapi.json', { config: { needs: 'signed-in' }, schema: { hide: true } }, async () => http.swagger())
  http.get('/api/health', { config: { needs: 'open' }, schema: { summary: 'Whether it works' } }, async () => {
    context.database.sqlite.prepare('SELECT 1').get()
    return { ok: true }
  })
  await pageRoutes(http, pages, context.random)
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
