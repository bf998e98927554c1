import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { byHeader } from '../../api/consoles.ts'
import { taskBody, taskRecord } from '../../api/tasks.ts'
import { assert } from '../../base/assert.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'
import { demandAction, isChange } from '../access.ts'
import type { Context } from '../context.ts'
import type { KnownVault } from '../known-vault.ts'
import { taskActions, type VaultRoute, vaultRoutes } from '../vault-routes.ts'

const prefix = '/api/vaults/:vault'

/** Only these are passed on, each way. */
const headersToVault = ['accept', 'content-type', 'range', 'if-range', 'if-none-match'] as const
const headersFromVault = [
  'content-type',
  'content-length',
  'content-disposition',
  'content-range',
  'accept-ranges',
  'etag',
  'last-modified',
  'retry-after',
] as const

/** What concerns one vault is asked of that vault, in the name of the user. */
export async function proxyRoutes(http: Http, context: Context): Promise<void> {
  await http.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    // What the vault's API takes is small: it is taken whole, and checked there.
    scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    for (const route of vaultRoutes) {
      scope.route<{ Params: Record<string, string>; Body: Buffer | undefined }>({
        method: route.method,
        url: `${prefix}${route.path}`,
        config: {
          needs: route.action === 'by-task' ? 'see' : route.action,
          ...(route.isRecorded === true ? { isRecorded: true } : {}),
        },
        schema: { hide: true },
        handler: (request, reply) => pass(request, reply, route, context),
      })
    }
  })
}

async function pass(
  request: FastifyRequest<{ Params: Record<string, string>; Body: Buffer | undefined }>,
  reply: FastifyReply,
  route: VaultRoute,
  { federation, audit }: Context,
): Promise<FastifyReply> {
  const vault = federation.demand(request.params['vault'] as string)
  const path = pathOf(request)
  request.told = { action: route.action, subject: subjectOf(vault, request, path), detail: detailOf(request) }
  const signal = gone(request, reply)
  if (route.action === 'by-task') {
    const kind = await kindOf(request, vault)
    request.told = { ...request.told, action: taskActions[kind] }
    demandAction(request.asker, taskActions[kind])
  }
  if (isChange(request.method) || route.isRecorded === true) audit.demandWritable()
  const answer = await ask(vault, request, path, signal)
  const status = answer.statusCode ?? 502
  reply.code(status).headers(named(answer.headers, headersFromVault))
  if (status >= 400)
    request.told = { ...request.told, detail: `${request.told.detail ?? ''} (status ${status})`.trim() }
  return reply.send(answer)
}

/** Behind the vault in the address as it came, still encoded. */
function pathOf({ raw: { url = '' } }: FastifyRequest): string {
  const path = /^\/api\/vaults\/[^/]+(\/.*)$/.exec(url)?.[1]
  assert(path !== undefined, 'the address of a passed route has a vault')
  return path
}

async function kindOf(
  request: FastifyRequest<{ Params: Record<string, string>; Body: Buffer | undefined }>,
  vault: KnownVault,
): Promise<keyof typeof taskActions> {
  const { task } = request.params
  if (task !== undefined) {
    const { kind } = await vault.client.json(
      'GET',
      `/v1/tasks/${encodeURIComponent(task)}`,
      taskRecord.pick({ kind: true }),
    )
    return kind
  }
  const kind = z
    .object({ kind: z.enum(taskBody.options.map(({ shape }) => shape.kind.value)) })
    .safeParse(bodyOf(request))
  if (kind.success) return kind.data.kind
  throw new TidemarkError('bad-request', {
    message: 'the body is not a task',
    hint: `give "kind", one of: ${Object.keys(taskActions).join(', ')}`,
  })
}

function bodyOf({ body }: { readonly body: Buffer | undefined }): unknown {
  if (body === undefined) return undefined
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new TidemarkError('bad-request', { message: `the body is not JSON: ${messageOf(error)}`, cause: error })
  }
}

function ask(
  vault: KnownVault,
  { method, headers, body, asker }: FastifyRequest<{ Body: Buffer | undefined }>,
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { door } = vault
  const passed: OutgoingHttpHeaders = {
    ...named(headers, headersToVault),
    // Percent-encoded UTF-8: a header carries no Chinese name.
    [byHeader]: encodeURIComponent(asker.kind === 'user' ? asker.name : 'console'),
    ...(body === undefined ? {} : { 'content-length': body.length }),
  }
  return new Promise((resolve, reject) => {
    const opened = door.open({ method, path, headers: passed, signal })
    opened.on('response', resolve)
    opened.on('timeout', () => opened.destroy(new Error('the vault has not answered in time')))
    opened.on('error', (error) => reject(signal.aborted ? signal.reason : door.failed(error)))
    opened.end(body)
  })
}

const named = (headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )

/** For the audit log: where, what, and which path of a tree. */
function subjectOf({ record }: KnownVault, { method }: FastifyRequest, path: string): string {
  const [place = '', query = ''] = path.split('?')
  const readable = (text: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      return text
    }
  }
  return `${record.name}: ${method} ${readable(place)}${query === '' ? '' : `?${readable(query.replaceAll('+', ' '))}`}`
}

/** The body of a change; a password in an address, which a vault would refuse, is left out. */
function detailOf({ body }: { readonly body: Buffer | undefined }): string {
  return body?.toString('utf8').replaceAll(/(:\/\/[^:/@\s"]*):[^@\s"]*@/g, '$1:…@') ?? ''
}
