import type { Socket } from 'node:net'
import cookie from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { assert } from '../base/assert.ts'
import { type Http, makeHttpServer } from '../http/server.ts'
import { softwareVersion } from '../wire/software.ts'
import { type Asker, demandAllowed, demandOwnName, demandOwnPages, isChange, type Need } from './access.ts'
import type { Context } from './context.ts'
import { roleActions } from './roles.ts'
import type { Session } from './sessions.ts'

export interface HttpRequest {
  readonly isHttps: boolean
  /** Names, beside addresses and localhost, that the console is reached by. */
  readonly isOwnName: (name: string) => boolean
}

export interface RouteNeed {
  readonly method: string
  readonly url: string
  readonly needs: Need
}

/** Refusals of somebody who is not signed in that are recorded within a minute; how many more there were is told once. */
const strangersRecordedMax = 30
const minuteMs = 60_000

/** The HTTP side of the console without its routes. A socket that was not admitted is the console's own, of this machine. */
export async function makeConsoleHttp(
  context: Context,
  { isHttps, isOwnName }: HttpRequest,
): Promise<{ http: Http; routes: readonly RouteNeed[]; admit(socket: Socket): void }> {
  const admitted = new WeakMap<Socket, string>()
  const http = await makeHttpServer({
    title: 'Tidemark console',
    description: 'Everything the console shows and does goes through this API.',
    version: softwareVersion,
    document: '/api/openapi.json',
  })
  http.removeContentTypeParser('text/plain')
  await http.register(cookie)
  http.decorateRequest('asker')
  http.decorateRequest('told')
  const recorder = new Recorder(context)

  // Before anything looks at it: what leads nowhere, or is no address at all, is answered so as well.
  http.server.prependListener('request', ({ url = '' }, response) => {
    response.setHeaders(new Map(Object.entries(guarding(url, isHttps))))
  })
  const routes: RouteNeed[] = []
  http.addHook('onRoute', ({ method, url, config }) => {
    const needs = config?.needs
    assert(needs !== undefined, `the route ${url} says who may call it`)
    for (const one of [method].flat()) routes.push({ method: one, url, needs })
  })
  http.addHook('onRequest', async (request) => {
    const address = admitted.get(request.raw.socket)
    request.asker = address === undefined ? { kind: 'machine' } : askerOf(request, address, isHttps, context)
    demandOwnName(request, isOwnName)
    const { needs, tell } = request.routeOptions.config
    // There is no such route: the answer says so, to anybody.
    if (needs === undefined) return
    request.told = tell?.(request)
    demandAllowed(request.asker, needs)
    demandOwnPages(request, isHttps)
    if (request.asker.kind === 'user' && needs !== 'open') context.sessions.used(request.asker.session)
  })
  http.addHook('onError', async (request, _reply, error) => {
    const { detail } = request.told ?? {}
    request.told = { ...request.told, detail: [detail, error.code].filter((one) => one !== undefined).join(': ') }
  })
  // Before a byte of the answer leaves: what was done is recorded, or it is not answered as done.
  http.addHook('onSend', async (request, reply) => recorder.record(request, reply))
  return {
    http,
    routes,
    admit: (socket) => {
      admitted.set(socket, plainAddress(socket.remoteAddress ?? 'unknown'))
      http.server.emit('connection', socket)
    },
  }
}

/** An IPv4 address as everybody writes it, also of a socket that listens on both. */
const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/, '')

/** `__Host-`: set by HTTPS, for this host and nothing below it. */
const cookieName = (isHttps: boolean): string => (isHttps ? '__Host-tidemark' : 'tidemark')

function askerOf(request: FastifyRequest, address: string, isHttps: boolean, { sessions, accounts }: Context): Asker {
  const token = request.cookies[cookieName(isHttps)]
  const session = token === undefined ? undefined : sessions.find(token)
  const account = session && accounts.find(session.account)
  if (session === undefined || account === undefined || !account.enabled) return { kind: 'stranger', address }
  const { name, role, mustChange } = account
  return { kind: 'user', address, name, role, mustChange, actions: roleActions[role], session }
}

export function setCookie(reply: FastifyReply, token: string | undefined, isHttps: boolean): void {
  const how = { path: '/', httpOnly: true, sameSite: 'strict', secure: isHttps } as const
  if (token === undefined) reply.clearCookie(cookieName(isHttps), how)
  else reply.setCookie(cookieName(isHttps), token, how)
}

/** Of everything but pages, which loosen it to what they need (pages.ts). */
function guarding(url: string, isHttps: boolean): Record<string, string> {
  return {
    'content-security-policy':
      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox",
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
    ...(isHttps ? { 'strict-transport-security': 'max-age=31536000' } : {}),
    ...(url.startsWith('/api') ? { 'cache-control': 'no-store' } : {}),
  }
}

/** Writes into the audit log what was asked and what became of it. */
class Recorder {
  readonly #context: Context
  #minuteBegan = 0
  #strangers = 0

  constructor(context: Context) {
    this.#context = context
  }

  record(request: FastifyRequest, reply: FastifyReply): void {
    const { asker, told } = request
    const { needs, isRecorded } = request.routeOptions.config
    if (asker === undefined || needs === undefined) return
    const isRefused = [401, 403, 429].includes(reply.statusCode)
    if (!isRefused && !isChange(request.method) && isRecorded !== true) return
    if (isRefused && asker.kind === 'stranger' && !this.#isHeard()) return
    this.#context.audit.record({
      user: asker.kind === 'user' ? asker.name : (told?.user ?? null),
      address: asker.kind === 'machine' ? 'console' : asker.address,
      action: told?.action ?? needs,
      subject: told?.subject ?? `${request.method} ${request.url.split('?')[0]}`,
      outcome: isRefused ? 'refused' : reply.statusCode < 400 ? 'done' : 'failed',
      detail: told?.detail ?? '',
    })
  }

  #isHeard(): boolean {
    const now = this.#context.clock.monotonicMs()
    if (now - this.#minuteBegan >= minuteMs) {
      const more = this.#strangers - strangersRecordedMax
      this.#minuteBegan = now
      this.#strangers = 0
      if (more > 0) {
        this.#context.audit.record({
          user: null,
          address: 'console',
          action: 'open',
          subject: `${more} requests of nobody who is signed in`,
          outcome: 'refused',
          detail: 'more within a minute than are recorded one by one',
        })
      }
    }
    return ++this.#strangers <= strangersRecordedMax
  }
}

export const sessionOf = ({ asker }: FastifyRequest): { name: string; session: Session } => {
  assert(asker.kind === 'user', 'a route that needs a session has one')
  return asker
}
