import http from 'node:http'
import https from 'node:https'
import type { z } from 'zod'
import type { ApiClient } from '../api/client.ts'
import { failure } from '../api/schemas.ts'
import { type ErrorCode, errorCodes, isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import type { Credential } from './pki.ts'
import { httpProtocol, tlsOptions, unreachableOr } from './tls.ts'

/** Of an answer that is taken whole. */
const answerBytesMax = 64 * 1024 * 1024
/** A peer that says nothing for so long while an answer is due is gone. */
const silenceMsMax = 120_000

export interface HttpRequest {
  readonly method: string
  readonly path: string
  readonly headers?: http.OutgoingHttpHeaders | undefined
  readonly signal?: AbortSignal | undefined
}

/** Opens requests to one server, however it is reached. */
export interface HttpDoor extends Disposable {
  open(request: HttpRequest): http.ClientRequest
  /** A failed connection as something to act on. */
  failed(error: unknown): TidemarkError
}

/** The server behind a unix socket: a vault or an agent of this machine. */
function socketDoor(socketPath: string): HttpDoor {
  const agent = new http.Agent({ keepAlive: false })
  return {
    open: (request) => http.request({ socketPath, agent, timeout: silenceMsMax, ...withSignal(request) }),
    failed: (error) => {
      if (!isSystemError(error, 'ENOENT', 'ECONNREFUSED', 'EACCES')) return lost(error, socketPath)
      const isForbidden = isSystemError(error, 'EACCES')
      return new TidemarkError(isForbidden ? 'not-allowed' : 'not-running', {
        message: isForbidden ? `${socketPath} is another user's` : `nothing answers at ${socketPath}`,
        hint: isForbidden
          ? 'run the command as the user the agent or vault runs as'
          : 'start the agent ("tidemark agent run") or the vault ("tidemark vault run") of that directory',
        cause: error,
      })
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

export interface VaultAddress {
  readonly host: string
  readonly port: number
  /** Certificate of the vault's authority, PEM. */
  readonly authority: string
  /** Absent while enrolling. */
  readonly credential?: Credential
}

/** A vault over TLS. */
export function vaultDoor(vault: VaultAddress): HttpDoor {
  const agent = new https.Agent({
    ...tlsOptions(vault),
    ALPNProtocols: [httpProtocol],
    maxCachedSessions: 0,
    keepAlive: true,
  })
  const { host, port } = vault
  return {
    open: (request) => https.request({ host, port, agent, timeout: silenceMsMax, ...withSignal(request) }),
    failed: (error) => unreachableOr(error, `${host}:${port}`),
    [Symbol.dispose]: () => agent.destroy(),
  }
}

const withSignal = ({ signal, ...request }: HttpRequest): http.RequestOptions =>
  signal ? { ...request, signal } : request

export const socketApiClient = (socketPath: string): ApiClient => new DoorClient(socketDoor(socketPath))
export const apiClient = (door: HttpDoor): ApiClient => new DoorClient(door)

class DoorClient implements ApiClient {
  readonly #door: HttpDoor

  constructor(door: HttpDoor) {
    this.#door = door
  }

  async json<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Promise<T> {
    const pieces: Buffer[] = []
    let bytes = 0
    for await (const piece of await this.#answer(method, path, body)) {
      pieces.push(piece)
      bytes += piece.length
      if (bytes > answerBytesMax) throw foreign(path, `more than ${answerBytesMax} bytes`)
    }
    const text = Buffer.concat(pieces).toString('utf8')
    const parsed = schema.safeParse(text === '' ? undefined : parseJson(text, path))
    if (parsed.success) return parsed.data
    const [issue] = parsed.error.issues
    throw foreign(path, `${issue?.path.join('.')}: ${issue?.message}`)
  }

  stream(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#answer(method, path, body, signal)
  }

  async #answer(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const answer = await this.#ask(method, path, body, signal)
    const { statusCode = 0 } = answer
    if (statusCode >= 200 && statusCode < 300) return this.#pieces(answer, signal)
    const pieces: Buffer[] = []
    for await (const piece of this.#pieces(answer, signal)) pieces.push(piece)
    throw told(Buffer.concat(pieces).toString('utf8'), statusCode, `${method} ${path}`)
  }

  #ask(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<http.IncomingMessage> {
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body), 'utf8')
    const headers = content ? { 'content-type': 'application/json', 'content-length': content.length } : {}
    return new Promise((resolve, reject) => {
      const request = this.#door.open({ method, path, headers, signal })
      request.on('response', resolve)
      request.on('timeout', () => request.destroy(new Error(`no answer within ${silenceMsMax / 1000} s`)))
      request.on('error', (error) => reject(signal?.aborted ? signal.reason : this.#door.failed(error)))
      request.end(content)
    })
  }

  async *#pieces(answer: http.IncomingMessage, signal?: AbortSignal): AsyncGenerator<Buffer> {
    try {
      yield* answer
    } catch (error) {
      signal?.throwIfAborted()
      throw this.#door.failed(error)
    }
  }
}

/** The failure that a server told in its body. */
function told(text: string, status: number, what: string): TidemarkError {
  const parsed = failure.safeParse(text === '' ? undefined : parseJson(text, what))
  if (!parsed.success) return foreign(what, `status ${status}`)
  const { code, message, hint } = parsed.data.error
  const isKnown = Object.hasOwn(errorCodes, code)
  return new TidemarkError(isKnown ? (code as ErrorCode) : 'bad-request', {
    message: isKnown ? message : `${message} (${code})`,
    ...(hint === undefined ? {} : { hint }),
  })
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw foreign(what, messageOf(error))
  }
}

const foreign = (what: string, how: string): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the answer to ${what} is not of the documented form: ${how}`,
    hint: 'check that both sides are of releases that fit',
  })

const lost = (error: unknown, address: string): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the connection to ${address} was lost: ${messageOf(error)}`,
    cause: error,
  })
