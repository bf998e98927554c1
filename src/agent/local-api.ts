import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import http from 'node:http'
import { pipeline } from 'node:stream/promises'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Problem } from '../model/report.ts'
import { answerWatcher, type Watched, watchedPaths } from '../monitoring/watched.ts'
import type { HttpDoor } from '../wire/http-client.ts'
import type { Releases } from './releases.ts'

/** What belongs to one connection and is not passed on (RFC 9110, 7.6.1). */
const hopHeaders = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'host',
  'proxy-authorization',
])

/** What the socket answers for. */
export interface LocalAgent {
  readonly status: () => unknown
  readonly vault: () => HttpDoor
  readonly releases: Pick<Releases, 'again' | 'forget'>
}

/**
 * The agent's socket, for this user alone: `GET /agent` tells of the agent itself, `POST /agent/releases/NAME/again` and
 * `…/forget` are for what it could not let go, `/metrics`, `/healthz` and `/readyz` are for who watches it, everything below `/v1/` is the vault's API, asked with the agent's
 * certificate. So the same commands work on the protected server.
 */
export async function serveLocally(path: string, agent: LocalAgent, watched: Watched): Promise<AsyncDisposable> {
  const server = http.createServer((request, response) => {
    answer(request, response, agent, watched).catch((error: unknown) => {
      if (response.headersSent) response.destroy(error instanceof Error ? error : undefined)
      else tell(response, error)
    })
  })
  // The directory is locked by this process, so a socket that is there is a dead one's.
  await rm(path, { force: true })
  server.listen(path)
  await once(server, 'listening')
  await chmod(path, 0o600)
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  agent: LocalAgent,
  watched: Watched,
): Promise<void> {
  const { method = 'GET', url = '/' } = request
  if (url === '/agent' && method === 'GET') return tellJson(response, 200, agent.status())
  const path = watchedPaths.find((one) => one === url)
  if (path !== undefined && method === 'GET') {
    const { status, type, text } = await answerWatcher(path, watched)
    response.writeHead(status, { 'content-type': type }).end(text)
    return
  }
  const [, name, what] = /^\/agent\/releases\/([^/]+)\/(again|forget)$/.exec(url) ?? []
  if (name !== undefined && method === 'POST') {
    request.resume()
    return tellJson(response, 200, { left: await releaseAsked(agent, decodeURIComponent(name), what) })
  }
  if (url.startsWith('/v1/')) return forward(request, response, agent.vault(), { method, path: url })
  throw new TidemarkError('not-found', {
    message: `there is no ${method} ${url}`,
    hint: 'GET /agent, or the vault’s API below /v1/',
  })
}

async function releaseAsked({ releases }: LocalAgent, name: string, what: string | undefined): Promise<Problem[]> {
  if (what === 'forget') return await releases.forget(name)
  releases.again(name)
  return []
}

/** Passes the request on, and the answer back, as they come. A client that goes away ends both. */
async function forward(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  vault: HttpDoor,
  { method, path }: { readonly method: string; readonly path: string },
): Promise<void> {
  const abort = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) abort.abort()
  })
  const outgoing = vault.open({ method, path, headers: passedOn(request.headers), signal: abort.signal })
  const answered = once(outgoing, 'response', { signal: abort.signal }) as Promise<[http.IncomingMessage]>
  const sent = pipeline(request, outgoing)
  try {
    const [[incoming]] = await Promise.all([answered, sent])
    response.writeHead(incoming.statusCode ?? 502, passedOn(incoming.headers))
    await pipeline(incoming, response)
  } catch (error) {
    if (abort.signal.aborted) return
    throw response.headersSent ? error : vault.failed(error)
  } finally {
    outgoing.destroy()
    await Promise.allSettled([answered, sent])
  }
}

const passedOn = (headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !hopHeaders.has(name)))

function tell(response: http.ServerResponse, error: unknown): void {
  const told =
    error instanceof TidemarkError
      ? { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
      : { code: 'failed', message: messageOf(error) }
  tellJson(response, told.code === 'not-found' ? 404 : 503, { error: told })
}

function tellJson(response: http.ServerResponse, status: number, body: unknown): void {
  const content = Buffer.from(JSON.stringify(body), 'utf8')
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': content.length }).end(content)
}
