import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import {
  hasZodFastifySchemaValidationErrors,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { type ErrorCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Id } from '../model/source.ts'
import { softwareVersion } from '../wire/software.ts'

/** Who asks: somebody at the vault's own socket, an enrolled console or agent, or (enrolment only) a stranger over TLS. */
export type Caller =
  | { readonly kind: 'operator' }
  | { readonly kind: 'console'; readonly console: Id }
  | { readonly kind: 'agent'; readonly agent: Id }
  | { readonly kind: 'stranger' }

const bodyBytesMax = 1024 * 1024
const statuses: Partial<Record<ErrorCode, number>> = {
  'bad-request': 400,
  'token-refused': 403,
  'not-allowed': 403,
  'not-found': 404,
  'point-unreachable': 404,
  'already-exists': 409,
  'vault-full': 507,
  'unreachable': 503,
  'interrupted': 503,
}

export type Http = FastifyInstance<
  import('node:http').Server,
  import('node:http').IncomingMessage,
  import('node:http').ServerResponse,
  import('fastify').FastifyBaseLogger,
  ZodTypeProvider
>

/** The HTTP side of a vault without its routes. Sockets whose caller was not told by `admit` are the operator's. */
export async function makeHttp(): Promise<{ http: Http; admit(socket: Socket, caller: Caller): void }> {
  const callers = new WeakMap<Socket, Caller>()
  const http = fastify({
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    return503OnClosing: true,
  }).withTypeProvider<ZodTypeProvider>()
  http.setValidatorCompiler(validatorCompiler)
  http.setSerializerCompiler(serializerCompiler)
  http.decorateRequest('caller')
  http.addHook('onRequest', async (request) => {
    request.caller = callers.get(request.raw.socket) ?? { kind: 'operator' }
  })
  http.setErrorHandler((error, _request, reply) => tellError(error, reply))
  http.setNotFoundHandler((request, reply) =>
    tellError(
      new TidemarkError('not-found', {
        message: `there is no ${request.method} ${request.url}`,
        hint: 'GET /v1/openapi.json lists what there is',
      }),
      reply,
    ),
  )
  await http.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark vault',
        version: softwareVersion,
        description: 'Everything the command line does is done through this API.',
      },
    },
    transform: jsonSchemaTransform,
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

function tellError(error: unknown, reply: FastifyReply): FastifyReply {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const message = error.validation
      .map(({ instancePath, message: what }) => `${instancePath.slice(1) || 'body'}: ${what}`)
      .join('; ')
    return reply.code(400).send({ error: { code: 'bad-request', message } })
  }
  if (error instanceof TidemarkError) {
    const { code, message, hint } = error
    return reply.code(statuses[code] ?? 500).send({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })
  }
  const status =
    error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  return reply
    .code(status)
    .send({ error: { code: status < 500 ? 'bad-request' : 'failed', message: messageOf(error) } })
}

/**
 * Sends values as lines of JSON, at the reader's pace. What fails before the first line is answered as an error;
 * afterwards the connection is cut, so that no reader takes a part for the whole.
 */
export async function sendLines(reply: FastifyReply, values: AsyncIterable<unknown>): Promise<FastifyReply> {
  return sendStream(reply, 'application/x-ndjson', toLines(values))
}

async function* toLines(values: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const value of values) yield Buffer.from(`${JSON.stringify(value)}\n`)
}

export async function sendStream(
  reply: FastifyReply,
  type: string,
  pieces: AsyncIterable<Uint8Array>,
): Promise<FastifyReply> {
  const iterator = pieces[Symbol.asyncIterator]()
  const first = await iterator.next()
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      if (first.done) return
      yield first.value
      for (;;) {
        const next = await iterator.next()
        if (next.done) return
        yield next.value
      }
    } finally {
      await iterator.return?.()
    }
  }
  return reply.type(type).send(Readable.from(all(), { objectMode: false, highWaterMark: 1024 * 1024 }))
}

/** Aborts when the client goes away before it has its answer. */
export function gone(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const abort = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished)
      abort.abort(new DOMException(`the client of ${request.method} ${request.url} went away`, 'AbortError'))
  })
  return abort.signal
}
