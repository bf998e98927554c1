import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { byHeader } from '../../api/consoles.ts'
import { type TaskBody, taskBody, taskRecord } from '../../api/tasks.ts'
import { assert } from '../../base/assert.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'
import { withoutPassword } from '../../model/postgres-url.ts'
import { demandAction, isChange } from '../access.ts'
import type { Context } from '../context.ts'
import type { KnownVault } from '../known-vault.ts'
import { subjectOf } from '../passed-subject.ts'
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

type Passed = FastifyRequest<{ Params: Record<string, string>; Body: Buffer | undefined }>

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
          tell: (request) => {
            const vault = context.federation.find((request as Passed).params['vault'] as string)
            return vault && toldOf(request as Passed, route, vault, undefined)
          },
        },
        schema: { hide: true },
        handler: (request, reply) => pass(request, reply, route, context),
      })
    }
  })
}

async function pass(
  request: Passed,
  reply: FastifyReply,
  route: VaultRoute,
  { federation, audit }: Context,
): Promise<FastifyReply> {
  const vault = federation.demand(request.params['vault'] as string)
  const path = pathOf(request)
  request.told = toldOf(request, route, vault, bodyOf(request))
  const signal = gone(request, reply)
  if (route.action === 'by-task') {
    const task = await taskOf(request, vault)
    request.told = { action: task.kind, ...toldOf(request, route, vault, task) }
    demandAction(request.asker, taskActions[task.kind])
  }
  if (isChange(request.method) || route.isRecorded === true) audit.demandWritable()
  const answer = await ask(vault, request, path, signal)
  const status = answer.statusCode ?? 502
  reply.code(status).headers(named(answer.headers, headersFromVault))
  if (status >= 400)
    request.told = { ...request.told, detail: `${request.told.detail ?? ''} (status ${status})`.trim() }
  return reply.send(answer)
}

/** For the audit log; `about` is the body, or the task that is asked for. */
function toldOf(
  request: Passed,
  { action, deed }: VaultRoute,
  { record, lastTold }: KnownVault,
  about: unknown,
): NonNullable<FastifyRequest['told']> {
  const path = pathOf(request)
  const [, query = ''] = path.split('?')
  const done = deed ?? (action === 'by-task' ? undefined : action)
  return {
    ...(done === undefined ? {} : { action: done }),
    subject: subjectOf(record.name, lastTold, { params: request.params, query, body: about }),
    detail: detailOf(request, path),
  }
}

/** Behind the vault in the address as it came, still encoded; before it a request may name the server, as those of proxies do. */
function pathOf({ raw: { url = '' } }: FastifyRequest): string {
  const path = /^(?:https?:\/\/[^/]*)?\/api\/vaults\/[^/]+(\/.*)$/i.exec(url)?.[1]
  assert(path !== undefined, 'the address of a passed route has a vault')
  return path
}

/** The task that is asked for, or that a request is about. */
async function taskOf(request: Passed, vault: KnownVault): Promise<{ readonly kind: TaskBody['kind'] }> {
  const { task } = request.params
  if (task !== undefined) {
    const path = `/v1/tasks/${encodeURIComponent(task)}`
    return (await vault.client.json('GET', path, taskRecord.pick({ body: true }))).body
  }
  const asked = z
    .looseObject({ kind: z.enum(taskBody.options.map(({ shape }) => shape.kind.value)) })
    .safeParse(bodyOf(request))
  if (asked.success) return asked.data
  throw new TidemarkError('bad-request', {
    message: 'the body is not a task',
    hint: `give "kind", one of: ${Object.keys(taskActions).join(', ')}`,
  })
}

/** Undefined of what is not JSON, which a vault refuses. */
function bodyOf({ body }: { readonly body: Buffer | undefined }): unknown {
  if (body === undefined) return undefined
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
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

/** Much more than the audit log keeps of a body. */
const detailBytesMax = 16 * 1024

/** For the audit log: exactly what was asked, with the body of a change, but for passwords in URLs, which a vault refuses. */
function detailOf(
  { method, body }: { readonly method: string; readonly body: Buffer | undefined },
  path: string,
): string {
  const [place = '', query = ''] = path.split('?')
  const asked = `${method} ${readable(place)}${query === '' ? '' : `?${readable(query.replaceAll('+', ' '))}`}`
  return body === undefined ? asked : `${asked} ${bodyWithoutPasswords(body.toString('utf8', 0, detailBytesMax))}`
}

function bodyWithoutPasswords(text: string): string {
  try {
    return JSON.stringify(
      JSON.parse(text, (_name, value: unknown) => (typeof value === 'string' ? withoutPassword(value) : value)),
    )
  } catch (error) {
    // It is no JSON, was cut, or is nested so deeply that nobody walks it.
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error
    return withoutPassword(text)
  }
}

function readable(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
