import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Action, type Role, roles } from '../api/console.ts'
import {
  type Answer,
  type Asked,
  Browser,
  nameOf,
  type TestConsole,
  testConsole,
} from '../../test/support/console-world.ts'
import type { Need } from './access.ts'
import type { ListenRequest } from './run.ts'
import type { RouteNeed } from './server.ts'

/**
 * Every route that the console has, taken from the server itself, is asked by those who may not, in ways it must refuse. A new
 * route is asked as well.
 */

/** As the decision has it; that the code agrees is what is tested. */
const allowed: Record<Role, readonly Action[]> = {
  'system-administrator': ['see', 'servers', 'protect', 'vaults', 'channels', 'acknowledge'],
  'security-administrator': ['users'],
  'audit-administrator': ['audit'],
  'operator': ['see', 'contents', 'mark', 'verify', 'restore', 'acknowledge'],
  'viewer': ['see'],
}

const mayAsk = (role: Role, needs: Need): boolean =>
  needs === 'open' || needs === 'own' || needs === 'signed-in' || allowed[role].includes(needs)

const changes = ({ method }: RouteNeed): boolean => method !== 'GET'
const pathOf = ({ url }: RouteNeed): string => url.replaceAll(/:\w+/g, 'none').replace('*', 'none')
const nameOfRoute = ({ method, url }: RouteNeed): string => `${method} ${url}`

/** Whoever is asked answers at once; what is live goes on, and is cut. */
function head(browser: Browser, route: RouteNeed, asked: Asked = {}): Promise<Answer> {
  if (route.url !== '/api/live') return browser.ask(route.method, pathOf(route), asked)
  return new Promise((resolve, reject) => {
    const request = browser.open(route.method, pathOf(route), asked)
    request.on('error', reject)
    request.on('response', ({ statusCode, headers }) => {
      resolve({ status: statusCode as number, headers, text: '', body: undefined })
      request.destroy()
    })
  })
}

/** Whatever was asked, and whatever became of it. */
function assertGuarded({ status, headers }: Answer, what: string, isHttps = false): void {
  const policy = String(headers['content-security-policy'])
  const told = `${what} (${status}): ${policy}`
  assert.match(policy, /default-src 'none'/, told)
  assert.match(policy, /frame-ancestors 'none'/, told)
  assert.doesNotMatch(policy, /unsafe|\*|http:/, told)
  assert.equal(headers['x-content-type-options'], 'nosniff', told)
  assert.equal(headers['x-frame-options'], 'DENY', told)
  assert.equal(headers['referrer-policy'], 'no-referrer', told)
  assert.equal(headers['access-control-allow-origin'], undefined, told)
  assert.equal(headers['strict-transport-security'], isHttps ? 'max-age=31536000' : undefined, told)
}

const asksNothing = (route: RouteNeed): Asked => (changes(route) ? { body: {} } : {})

const openRoutes = ['GET /*', 'GET /api/health', 'GET /api/me', 'POST /api/sign-in']

async function consoleWithRoutes(
  context: TestContext,
  listen: ListenRequest = { host: '127.0.0.1', port: 0 },
): Promise<{ console: TestConsole; routes: readonly RouteNeed[] }> {
  const console = await testConsole(context, { listen })
  const { routes } = console.started
  assert.ok(routes.length > 50, `${routes.length} routes`)
  return { console, routes }
}

test('without a session every route but four refuses', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  assert.deepEqual(
    routes
      .filter(({ needs }) => needs === 'open')
      .map(nameOfRoute)
      .sort(),
    openRoutes,
  )
  for (const made of [undefined, 'tidemark=', 'tidemark=not-a-session', `tidemark=${'x'.repeat(4_000)}`]) {
    const stranger = new Browser(console.port)
    stranger.cookie = made
    stranger.csrf = 'made-up'
    for (const route of routes.filter(({ needs }) => needs !== 'open')) {
      const { status } = await head(stranger, route, asksNothing(route))
      assert.equal(status, 401, `${nameOfRoute(route)} with the cookie ${made}`)
    }
  }
})

test('every route is refused to every role but those whose duty it is', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  for (const role of roles) {
    let browser = await console.signedIn(role)
    for (const route of routes) {
      const { status, text } = await head(browser, route, asksNothing(route))
      const what = `${nameOfRoute(route)} by the ${role}: ${status} ${text}`
      if (mayAsk(role, route.needs)) assert.ok(route.url === '/api/sign-in' || ![401, 403].includes(status), what)
      else assert.equal(status, 403, what)
      assert.ok(status < 500, what)
      if (route.url.startsWith('/api/sign-out')) browser = await console.signedIn(role)
    }
  }
})

test('every role has something it may do and something it may not, and no duty covers another', () => {
  const [system, security, audit] = roles.map((role) => new Set(allowed[role])) as [
    Set<Action>,
    Set<Action>,
    Set<Action>,
  ]
  assert.ok(system.isDisjointFrom(security) && system.isDisjointFrom(audit) && security.isDisjointFrom(audit))
  assert.ok(!allowed.viewer.includes('contents') && !allowed['security-administrator'].includes('see'))
})

test('every change is refused from another page, from nowhere, and without the word of the session', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  for (const role of roles) {
    const browser = await console.signedIn(role)
    const other = await console.signedIn(role)
    const forged: Record<string, Asked['headers']> = {
      'another origin': { origin: 'https://evil.example' },
      'another port': { origin: 'http://127.0.0.1:1' },
      'https instead': { origin: console.origin.replace('http:', 'https:') },
      'an opaque origin': { origin: 'null' },
      'no origin': { origin: undefined },
      'no word': { 'x-tidemark-csrf': undefined },
      'an empty word': { 'x-tidemark-csrf': '' },
      'the word of another session': { 'x-tidemark-csrf': other.csrf },
    }
    for (const route of routes.filter((one) => changes(one) && mayAsk(role, one.needs))) {
      for (const [how, headers] of Object.entries(forged)) {
        if (route.needs === 'open' && how.includes('word')) continue
        const { status, text } = await head(browser, route, { body: {}, headers: headers ?? {} })
        assert.equal(status, 403, `${nameOfRoute(route)} by the ${role} with ${how}: ${text}`)
        assert.match(text, /not-allowed/)
      }
    }
    assert.notEqual(await browser.done('GET', '/api/me'), null, 'the session goes on')
  }
})

test('a body that is too large, no JSON, of another type or of another form is refused', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  const large = Buffer.alloc(1024 * 1024 + 1, ' ')
  for (const role of roles) {
    const browser = await console.signedIn(role)
    for (const route of routes.filter((one) => changes(one) && mayAsk(role, one.needs))) {
      if (route.url.startsWith('/api/sign-out')) continue
      const what = `${nameOfRoute(route)} by the ${role}`
      assert.equal((await head(browser, route, { raw: large })).status, 413, `${what}, too large`)
      const pieces = { 'content-length': undefined, 'transfer-encoding': 'chunked' }
      const unsaid = await head(browser, route, { raw: large, headers: pieces })
      assert.equal(unsaid.status, 413, `${what}, too large without saying so`)
      const statuses: number[] = []
      for (const raw of ['{"a": ', 'nonsense', '[]', '"text"', '{"__proto__": {"role": "operator"}, "x": 1}']) {
        statuses.push((await head(browser, route, { raw })).status)
      }
      assert.ok(
        statuses.every((status) => status < 500 && status !== 403),
        `${what}: ${statuses.join(' ')}`,
      )
      // What is passed on is judged by the vault, and there is none of that name.
      if (!route.url.startsWith('/api/vaults/:vault')) assert.deepEqual(statuses.slice(0, 2), [400, 400], what)
      const text = await head(browser, route, { raw: 'a=b', headers: { 'content-type': 'text/plain' } })
      assert.equal(text.status, 415, `${what}, another type`)
    }
  }
})

for (const isHttps of [false, true]) {
  test(`every answer over ${isHttps ? 'HTTPS' : 'HTTP'} carries the headers that keep a browser from doing what it should not`, async (context) => {
    const https = isHttps ? { https: { isSelfMade: true, names: ['127.0.0.1', 'localhost'] } as const } : {}
    const { console, routes } = await consoleWithRoutes(context, { host: '127.0.0.1', port: 0, ...https })
    for (const browser of [console.browser(), await console.signedIn('operator')]) {
      for (const route of routes) {
        if (route.url.startsWith('/api/sign-out')) continue
        const answer = await head(browser, route, asksNothing(route))
        assertGuarded(answer, nameOfRoute(route), isHttps)
        if (route.url.startsWith('/api')) assert.equal(answer.headers['cache-control'], 'no-store', nameOfRoute(route))
      }
    }
  })
}

test('what leads nowhere is refused, and guarded all the same', async (context) => {
  const { console } = await consoleWithRoutes(context)
  const nowhere = [
    '/api/nothing',
    '/api/',
    '/api/../api/users',
    '/api/%2e%2e/users',
    '//api/users',
    '/api/users/%ff',
    '/%',
  ]
  for (const browser of [console.browser(), await console.signedIn('security-administrator')]) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      for (const path of nowhere) {
        const answer = await browser.ask(method, path)
        assertGuarded(answer, `${method} ${path}`)
        const isPage = method === 'GET' && !path.startsWith('/api')
        assert.ok(
          isPage ? answer.status < 500 : answer.status >= 400 && answer.status < 500,
          `${method} ${path}: ${answer.status}`,
        )
      }
    }
  }
})

test('no name and no query makes a route fail, or be another', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  const names = ['%00', '..', '%2e%2e%2f%2e%2e', '%27%20or%201=1', '%F0%9F%94%A5', '__proto__', 'x'.repeat(2_000)]
  const asked = ['from', 'to', 'at', 'before', 'limit', 'system', 'month', 'user', 'text', 'format', 'open', 'language']
  const queries = ['', 'nonsense', '-1', '1e999', '%00', '%27', '2026-13-45T99:00:00Z'].map((value) =>
    asked.map((name) => `${name}=${value}`).join('&'),
  )
  for (const role of roles) {
    const browser = await console.signedIn(role)
    for (const route of routes.filter(({ url, needs }) => mayAsk(role, needs) && url !== '/api/live')) {
      if (route.url.startsWith('/api/sign-out')) continue
      const named = route.url.includes(':') ? names.map((name) => route.url.replaceAll(/:\w+|\*/g, name)) : []
      const questioned = changes(route) ? [] : queries.map((query) => `${pathOf(route)}?${query}`)
      for (const path of [...named, ...questioned]) {
        const answer = await browser.ask(route.method, path, asksNothing(route))
        assert.ok(answer.status < 500, `${route.method} ${path} by the ${role}: ${answer.status} ${answer.text}`)
      }
    }
    assert.notEqual(await browser.done('GET', '/api/me'), null, 'the session goes on')
  }
})

test('a name that is not the console’s own is refused on every route', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  const viewer = await console.signedIn('viewer')
  for (const route of routes) {
    const host = `rebound.example:${console.port}`
    const { status } = await head(viewer, route, { ...asksNothing(route), headers: { host, origin: `http://${host}` } })
    assert.equal(status, 403, nameOfRoute(route))
  }
  assert.equal((await viewer.ask('GET', '/api/me', { headers: { host: `localhost:${console.port}` } })).status, 200)
})

test('whose password somebody else has set does nothing before he has taken one of his own', async (context) => {
  const { console, routes } = await consoleWithRoutes(context)
  const browser = new Browser(console.port)
  await browser.signIn(nameOf('operator'), console.passwords.get('operator') as string)
  for (const route of routes.filter(({ needs }) => needs !== 'open' && needs !== 'own')) {
    const { status, text } = await head(browser, route, asksNothing(route))
    assert.equal(status, 403, nameOfRoute(route))
    if (route.url !== '/api/live') assert.match(text, /password-change-needed/)
  }
})

test('a cookie is for this console alone and out of reach of scripts', async (context) => {
  const console = await testConsole(context)
  const browser = new Browser(console.port)
  const body = { user: nameOf('viewer'), password: console.passwords.get('viewer') }
  const answer = await browser.ask('POST', '/api/sign-in', { body })
  assert.match(String(answer.headers['set-cookie']), /^tidemark=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/)
})
