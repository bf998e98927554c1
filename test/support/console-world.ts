import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { z } from 'zod'
import type { ApiClient } from '../../src/api/client.ts'
import { type LiveEvent, type Me, me, type Role, roles } from '../../src/api/console.ts'
import { tokenAnswer } from '../../src/api/schemas.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { initConsole } from '../../src/console/init.ts'
import { httpsFolder, socketName as consoleSocketName } from '../../src/console/place.ts'
import { type ListenRequest, type Started, startConsole } from '../../src/console/run.ts'
import { initVault } from '../../src/vault-server/init.ts'
import { socketName } from '../../src/vault-server/place.ts'
import { runVault } from '../../src/vault-server/run.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'

/** A console at work with an account of each role, and what speaks to it as a browser does. */
export interface TestConsole {
  readonly directory: string
  readonly started: Started
  readonly port: number
  readonly origin: string
  /** What the command line speaks to. */
  readonly machine: ApiClient
  /** Passwords by role, already changed by their owners. */
  readonly passwords: ReadonlyMap<Role, string>
  /** One that nobody uses yet. */
  browser(): Browser
  signedIn(role: Role): Promise<Browser>
  stop(): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly body: unknown
}

export interface Asked {
  readonly body?: unknown
  /** Sent as it is. */
  readonly raw?: string | Buffer
  readonly headers?: http.OutgoingHttpHeaders
}

const quickCost = 4

export async function testConsole(
  context: TestContext,
  {
    directory = scratch(context, 'tidemark-console-'),
    listen = { host: '127.0.0.1', port: 0 },
    pages = join(directory, 'pages'),
    clock = systemClock,
    passwords = new Map<Role, string>(),
  }: {
    directory?: string
    listen?: ListenRequest
    pages?: string
    clock?: Clock
    passwords?: Map<Role, string>
  } = {},
): Promise<TestConsole> {
  const parts = { clock, random: systemRandom, tell: () => undefined, passwordCost: quickCost }
  if (passwords.size === 0) {
    const users = roles.map((role) => ({ name: nameOf(role), role }))
    const { accounts } = await initConsole({ directory, users }, parts)
    for (const { role, password } of accounts) passwords.set(role, password)
  }
  const started = await startConsole({ directory, listen, pages, names: [] }, parts)
  const over = new AbortController()
  const watching = started.context.alarms.run(over.signal)
  watching.catch(() => undefined)
  const stop = async (): Promise<void> => {
    if (over.signal.aborted) return
    over.abort(new Error('the test is over'))
    await assert.rejects(watching, over.signal.reason as Error)
    await started[Symbol.asyncDispose]()
  }
  atEnd(context, stop)
  const port = started.port as number
  const newBrowser = (): Browser =>
    new Browser(
      port,
      listen.https === undefined ? undefined : readFileSync(join(httpsFolder(directory), 'authority.pem'), 'utf8'),
    )
  return {
    directory,
    port,
    origin: newBrowser().origin,
    machine: socketApiClient(join(directory, consoleSocketName)),
    passwords,
    started,
    stop,
    browser: newBrowser,
    signedIn: async (role) => {
      const browser = newBrowser()
      const first = passwords.get(role) as string
      const { mustChangePassword } = await browser.signIn(nameOf(role), first)
      if (mustChangePassword) {
        const changed = `own-${first}`
        await browser.done('POST', '/api/me/password', { body: { old: first, new: changed } })
        passwords.set(role, changed)
      }
      return browser
    },
  }
}

export const nameOf = (role: Role): string => `the-${role}`

/** One browser with its cookie. */
export class Browser {
  readonly port: number
  readonly origin: string
  /** Of a console over HTTPS: what signed its certificate. */
  readonly #authority: string | undefined
  cookie: string | undefined
  csrf: string | undefined

  constructor(port: number, authority?: string) {
    this.port = port
    this.origin = `${authority === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
    this.#authority = authority
  }

  async signIn(user: string, password: string, code?: string): Promise<Me> {
    const answer = await this.ask('POST', '/api/sign-in', { body: { user, password, code } })
    assert.equal(answer.status, 200, answer.text)
    this.cookie = answer.headers['set-cookie']?.[0]?.split(';')[0]
    const parsed = me.parse(answer.body)
    this.csrf = parsed.csrf
    return parsed
  }

  /** The answer, whatever it is. */
  ask(method: string, path: string, asked: Asked = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = this.open(method, path, asked)
      request.on('error', reject)
      request.on('response', (response) => {
        const pieces: Buffer[] = []
        response.on('data', (piece: Buffer) => pieces.push(piece))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(pieces).toString('utf8')
          const isJson = response.headers['content-type']?.startsWith('application/json') === true
          resolve({
            status: response.statusCode as number,
            headers: response.headers,
            text,
            body: isJson && text !== '' ? JSON.parse(text) : undefined,
          })
        })
      })
    })
  }

  /** The body of an answer that says it was done. */
  async done(method: string, path: string, asked: Asked = {}): Promise<unknown> {
    const { status, text, body } = await this.ask(method, path, asked)
    assert.ok(status >= 200 && status < 300, `${method} ${path}: ${status} ${text}`)
    return body
  }

  async read<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return schema.parse(await this.done('GET', path))
  }

  /** The code of the refusal. */
  async refused(method: string, path: string, asked: Asked = {}): Promise<string> {
    const { status, text, body } = await this.ask(method, path, asked)
    assert.ok(status >= 400, `${method} ${path}: ${status} ${text}`)
    return (body as { error: { code: string } }).error.code
  }

  open(method: string, path: string, { body, raw, headers = {} }: Asked = {}): http.ClientRequest {
    const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const asked: https.RequestOptions = {
      host: '127.0.0.1',
      port: this.port,
      method,
      path,
      agent: false,
      headers: withoutUndefined({
        ...(this.cookie === undefined ? {} : { cookie: this.cookie }),
        ...(method === 'GET' ? {} : { 'origin': this.origin, 'x-tidemark-csrf': this.csrf }),
        ...(content === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
        ...headers,
      }),
    }
    const request =
      this.#authority === undefined
        ? http.request(asked)
        : https.request({ ...asked, ca: this.#authority, servername: 'localhost' })
    request.end(content)
    return request
  }

  /** What is live, until `signal` aborts or it is broken off. */
  async *live(signal: AbortSignal): AsyncGenerator<LiveEvent> {
    const request = this.open('GET', '/api/live')
    signal.addEventListener('abort', () => request.destroy(), { once: true })
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      request.on('response', resolve)
      request.on('error', reject)
    })
    assert.equal(response.statusCode, 200)
    let held = ''
    try {
      for await (const piece of response.setEncoding('utf8')) {
        held += piece
        const messages = held.split('\n\n')
        held = messages.pop() as string
        for (const message of messages) yield JSON.parse(message.replace(/^data: /, '')) as LiveEvent
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}

const withoutUndefined = (headers: http.OutgoingHttpHeaders): http.OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))

/** The time of this machine, and more as the test says. */
export class ForwardClock implements Clock {
  readonly sleep = systemClock.sleep
  #aheadMs = 0

  forward(ms: number): void {
    this.#aheadMs += ms
  }

  now(): number {
    return systemClock.now() + this.#aheadMs * 1000
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#aheadMs
  }
}

export interface TestVault {
  readonly directory: string
  readonly operator: ApiClient
  readonly address: string
  /** For a console. */
  token(): Promise<string>
  stop(): Promise<void>
}

export async function testVault(
  context: TestContext,
  { directory, port = 0 }: { directory?: string; port?: number } = {},
): Promise<TestVault> {
  const place = directory ?? scratch(context, 'tidemark-console-vault-')
  const parts = { clock: systemClock, random: systemRandom }
  if (directory === undefined) await initVault({ directory: place, name: 'north', addresses: [] }, parts)
  const stop = new AbortController()
  const started = Promise.withResolvers<number>()
  const tell = (line: string): void => {
    const listening = /listens on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (listening !== undefined) started.resolve(Number(listening))
  }
  const ended = runVault({ directory: place, host: '127.0.0.1', port }, { ...parts, tell }, stop.signal)
  const stopped = async (): Promise<void> => {
    stop.abort(new Error('the test is over'))
    await ended.catch((error: unknown) => assert.equal(error, stop.signal.reason))
  }
  atEnd(context, stopped)
  const listening = await Promise.race([started.promise, ended.then(() => assert.fail('the vault ended'))])
  const operator = socketApiClient(join(place, socketName))
  return {
    directory: place,
    operator,
    address: `127.0.0.1:${listening}`,
    token: async () => (await operator.json('POST', '/v1/consoles/tokens', tokenAnswer, {})).token,
    stop: stopped,
  }
}

function scratch(context: TestContext, prefix: string): string {
  const directory = mkdtempSync(join(tmpdir(), prefix))
  atEnd(context, async () => rmSync(directory, { recursive: true, force: true }))
  return directory
}

const endings = new WeakMap<TestContext, (() => Promise<void>)[]>()

/** What was begun last ends first: nobody's directory goes while he is at work. */
function atEnd(context: TestContext, end: () => Promise<void>): void {
  const all = endings.get(context)
  if (all !== undefined) return void all.push(end)
  const made = [end]
  endings.set(context, made)
  context.after(async () => {
    for (const one of made.toReversed()) await one()
  })
}
