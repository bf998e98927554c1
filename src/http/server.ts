import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import {
  hasZodFastifySchemaValidationErrors,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { type ErrorCode, messageOf, TidemarkError } from '../base/errors.ts'

export const bodyBytesMax: number = 1024 * 1024
/** From the first byte of a request to its last: whoever sends one a minute holds a connection no longer. */
export const requestMsMax = 120_000

const statuses: Partial<Record<ErrorCode, number>> = {
  'bad-request': 400,
  'sign-in-needed': 401,
  'sign-in-refused': 401,
  'code-needed': 401,
  'token-refused': 403,
  'not-allowed': 403,
  'password-change-needed': 403,
  'not-found': 404,
  'point-unreachable': 404,
  'already-exists': 409,
  'in-use': 409,
  'too-many-tries': 429,
  'vault-full': 507,
  'no-space': 507,
  'unreachable': 503,
  'interrupted': 503,
  'busy': 503,
  'not-running': 503,
}

export type Http = FastifyInstance<
  import('node:http').Server,
  import('node:http').IncomingMessage,
  import('node:http').ServerResponse,
  import('fastify').FastifyBaseLogger,
  ZodTypeProvider
>

export interface HttpText {
  readonly title: string
  readonly description: string
  readonly version: string
  /** Where the document that lists the routes stands. */
  readonly document: string
}

/** An HTTP server without its routes: bodies and answers by zod, errors as the API tells them, an OpenAPI document. */
export async function makeHttpServer({ title, description, version, document }: HttpText): Promise<Http> {
  const http = fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestMsMax,
    forceCloseConnections: true,
    return503OnClosing: true,
    // Of an answer that goes on for ever, the head would as well.
    exposeHeadRoutes: false,
    // What is no address does not come to the error handler.
    frameworkErrors: (error, _request, reply) => tellError(error, reply),
  }).withTypeProvider<ZodTypeProvider>()
  http.setValidatorCompiler(validatorCompiler)
  http.setSerializerCompiler(serializerCompiler)
  http.setErrorHandler((error, _request, reply) => tellError(error, reply))
  http.setNotFoundHandler((request, reply) =>
    tellError(
      new TidemarkError('not-found', {
        message: `there is no ${request.method} ${request.url}`,
        hint: `GET ${document} lists what there is`,
      }),
      reply,
    ),
  )
  await http.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title, version, description } },
    transform: jsonSchemaTransform,
  })
  return http
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
