import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export interface Received {
  readonly url: URL
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly body: unknown
}

export interface Answering {
  readonly status?: number
  readonly headers?: http.OutgoingHttpHeaders
  readonly text: string
  /** Nothing is answered. */
  readonly isSilent?: boolean
}

/** A real server that keeps what it gets and answers as the test says. */
export async function alarmReceiver(
  context: TestContext,
  answer: (received: Received, count: number) => Answering,
  tls?: { readonly certificate: string; readonly key: string },
): Promise<{ readonly url: string; readonly received: Received[] }> {
  const received: Received[] = []
  const serve: http.RequestListener = (request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const text = Buffer.concat(pieces).toString('utf8')
      const url = new URL(request.url ?? '/', 'http://receiver')
      const one = { url, headers: request.headers, text, body: JSON.parse(text) as unknown }
      received.push(one)
      const { status = 200, headers, text: answered, isSilent } = answer(one, received.length)
      if (isSilent !== true) response.writeHead(status, headers).end(answered)
    })
  }
  const server =
    tls === undefined ? http.createServer(serve) : https.createServer({ cert: tls.certificate, key: tls.key }, serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `${tls === undefined ? 'http' : 'https'}://localhost:${port}`, received }
}
