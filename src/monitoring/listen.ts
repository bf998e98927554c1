import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Told } from './exposition.ts'
import { answerWatcher, type Watched, watchedPaths } from './watched.ts'

const connectionsMax = 32
/** From the first byte of a request to its last: there is nothing to send but a line. */
const requestMsMax = 10_000

export interface WatchedAddress {
  readonly host: string
  readonly port: number
}

/**
 * A port for watchers alone: metrics and health, without any names of files, and nothing can be changed by it. Plain HTTP and
 * open to whoever reaches it, as watchers expect; so there is none until it is asked for.
 */
export async function listenForWatchers({ host, port }: WatchedAddress, watched: Watched) {
  const server = http.createServer(
    { requestTimeout: requestMsMax, headersTimeout: requestMsMax },
    (request, response) => {
      answer(request, watched).then(
        ({ status, type, text }) =>
          response
            .writeHead(status, {
              'content-type': type,
              'cache-control': 'no-store',
              'x-content-type-options': 'nosniff',
            })
            .end(request.method === 'HEAD' ? undefined : text),
        (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
      )
    },
  )
  server.maxConnections = connectionsMax
  server.listen({ host, port })
  try {
    await once(server, 'listening')
  } catch (error) {
    throw new TidemarkError('in-use', {
      message: `metrics cannot be served on ${host}:${port}: ${messageOf(error)}`,
      hint: 'give another address with --metrics',
      cause: error,
    })
  }
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer({ method, url = '/' }: http.IncomingMessage, watched: Watched): Promise<Told> {
  const asked = url.split('?')[0]
  const path = watchedPaths.find((one) => one === asked)
  if (path === undefined) return failed(404, 'not-found', `there is no ${asked}`)
  if (method !== 'GET' && method !== 'HEAD') return failed(405, 'bad-request', `${path} is only to be read`)
  try {
    return await answerWatcher(path, watched)
  } catch (error) {
    return failed(500, 'failed', messageOf(error))
  }
}

const failed = (status: number, code: string, message: string): Told => ({
  status,
  type: 'application/json',
  text: `${JSON.stringify({ error: { code, message, hint: `there are ${watchedPaths.join(', ')}` } })}\n`,
})
