import type { Socket } from 'node:net'
import { type Http, makeHttpServer } from '../http/server.ts'
import type { Id } from '../model/source.ts'
import { softwareVersion } from '../wire/software.ts'

/** Who asks: somebody at the vault's own socket, an enrolled console or agent, or (enrolment only) a stranger over TLS. */
export type Caller =
  | { readonly kind: 'operator' }
  | { readonly kind: 'console'; readonly console: Id }
  | { readonly kind: 'agent'; readonly agent: Id }
  | { readonly kind: 'stranger' }

/** The HTTP side of a vault without its routes. Sockets whose caller was not told by `admit` are the operator's. */
export async function makeHttp(): Promise<{ http: Http; admit(socket: Socket, caller: Caller): void }> {
  const callers = new WeakMap<Socket, Caller>()
  const http = await makeHttpServer({
    title: 'Tidemark vault',
    description: 'Everything the command line does is done through this API.',
    version: softwareVersion,
    document: '/v1/openapi.json',
  })
  http.decorateRequest('caller')
  http.addHook('onRequest', async (request) => {
    request.caller = callers.get(request.raw.socket) ?? { kind: 'operator' }
  })
  return {
    http,
    admit: (socket, caller) => {
      callers.set(socket, caller)
      http.server.emit('connection', socket)
    },
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller
  }
}
