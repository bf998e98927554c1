import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateSync } from 'otplib'
import { auditRecord, totpBegun } from '../api/console.ts'
import { z } from 'zod'
import { Browser, ForwardClock, nameOf, testConsole } from '../../test/support/console-world.ts'
import { until } from '../../test/support/until.ts'
import { readersOfOneMax } from './routes/live.ts'
import { idleMsMax, sessionMsMax } from './sessions.ts'

const minuteMs = 60_000

test('a session ends after half an hour without use, and after twelve hours with it', async (context) => {
  const clock = new ForwardClock()
  const console = await testConsole(context, { clock })
  const browser = await console.signedIn('operator')
  const steps = Math.floor((sessionMsMax - minuteMs) / (idleMsMax - minuteMs))
  for (let step = 0; step < steps; step++) {
    clock.forward(idleMsMax - minuteMs)
    assert.notEqual(await browser.done('GET', '/api/me'), null, `step ${step}`)
  }
  clock.forward(idleMsMax - minuteMs)
  assert.equal(await browser.refused('GET', '/api/openapi.json'), 'sign-in-needed')
  const idle = await console.signedIn('operator')
  clock.forward(idleMsMax + minuteMs)
  assert.equal(await idle.refused('GET', '/api/openapi.json'), 'sign-in-needed')
})

test('a viewer’s page that hangs on a wall keeps its session, and nobody else’s does', async (context) => {
  const clock = new ForwardClock()
  const console = await testConsole(context, { clock })
  const viewer = await console.signedIn('viewer')
  const operator = await console.signedIn('operator')
  const stop = new AbortController()
  const [wall, desk] = [viewer.live(stop.signal), operator.live(stop.signal)]
  await desk.next()
  for (let round = 0; round < 2; round++) {
    clock.forward(idleMsMax * 0.7)
    for (let kind = ''; kind !== 'heartbeat';) kind = (await wall.next()).value?.kind ?? 'heartbeat'
  }
  assert.notEqual(await viewer.done('GET', '/api/me'), null)
  assert.equal(await operator.done('GET', '/api/me'), null)
  stop.abort()
})

test('what is live ends with its session', async (context) => {
  const console = await testConsole(context)
  const browser = await console.signedIn('viewer')
  const events = browser.live(new AbortController().signal)
  const first = await events.next()
  assert.equal(first.value?.kind, 'hello')
  await browser.done('POST', '/api/sign-out')
  for (let next = first; next.done !== true;) next = await events.next()
  assert.equal(await browser.refused('GET', '/api/live'), 'sign-in-needed')
})

test('nobody opens so many pages that others get none', async (context) => {
  const console = await testConsole(context)
  const viewer = await console.signedIn('viewer')
  const stop = new AbortController()
  const pages = Array.from({ length: readersOfOneMax }, () => viewer.live(stop.signal))
  for (const page of pages) assert.equal((await page.next()).value?.kind, 'hello')
  assert.equal(await viewer.refused('GET', '/api/live'), 'busy')
  const operator = await console.signedIn('operator')
  assert.equal((await operator.live(stop.signal).next()).value?.kind, 'hello')
  stop.abort()
  const { live } = console.started.context
  await until('all are closed', () => live.pages === 0)
  const again = new AbortController()
  assert.equal((await viewer.live(again.signal).next()).value?.kind, 'hello')
  again.abort()
})

test('another password ends the other sessions of the account, and signing out everywhere all of them', async (context) => {
  const console = await testConsole(context)
  const one = await console.signedIn('operator')
  const other = await console.signedIn('operator')
  const old = console.passwords.get('operator') as string
  await one.done('POST', '/api/me/password', { body: { old, new: 'another-password-9' } })
  assert.notEqual(await one.done('GET', '/api/me'), null)
  assert.equal(await other.done('GET', '/api/me'), null)
  assert.equal(await other.refused('GET', '/api/openapi.json'), 'sign-in-needed')
  const third = new Browser(console.port)
  await third.signIn(nameOf('operator'), 'another-password-9')
  await third.done('POST', '/api/sign-out-everywhere')
  assert.equal(await one.refused('GET', '/api/openapi.json'), 'sign-in-needed')
})

test('a new password must be long, not the name, not the old one, and not one letter', async (context) => {
  const console = await testConsole(context)
  const browser = await console.signedIn('viewer')
  const old = console.passwords.get('viewer') as string
  for (const wanted of ['short', 'aaaaaaaaaaaaaaaa', `${nameOf('viewer')}-2026`, nameOf('viewer').toUpperCase(), old]) {
    const code = await browser.refused('POST', '/api/me/password', { body: { old, new: wanted } })
    assert.equal(code, 'bad-request', wanted)
  }
  const body = { old: 'not the old one', new: 'another-password-9' }
  assert.equal(await browser.refused('POST', '/api/me/password', { body }), 'sign-in-refused')
})

test('who guesses waits longer and longer, at an account that exists as at one that does not', async (context) => {
  const clock = new ForwardClock()
  const console = await testConsole(context, { clock })
  const stranger = new Browser(console.port)
  const guess = (user: string) => stranger.ask('POST', '/api/sign-in', { body: { user, password: 'wrong' } })
  const codes = async (user: string): Promise<string[]> => {
    const all: string[] = []
    for (let tries = 0; tries < 7; tries++) all.push((await guess(user)).text)
    return all.map((text) => text.replace(/\d+ s/, 'N s'))
  }
  const known = await codes(nameOf('operator'))
  assert.deepEqual(known, await codes('nobody-of-that-name'))
  assert.match(known[4]!, /sign-in-refused/)
  assert.match(known[5]!, /too-many-tries/)
  const right = { user: nameOf('operator'), password: console.passwords.get('operator') }
  assert.equal(await stranger.refused('POST', '/api/sign-in', { body: right }), 'too-many-tries')
  clock.forward(11_000)
  assert.match((await guess(nameOf('operator'))).text, /sign-in-refused/)
  clock.forward(11_000)
  assert.match((await guess(nameOf('operator'))).text, /too-many-tries/)
  clock.forward(11_000)
  assert.equal((await stranger.ask('POST', '/api/sign-in', { body: right })).status, 200)
})

test('an address that guesses at many accounts waits as well', async (context) => {
  const console = await testConsole(context)
  const stranger = new Browser(console.port)
  const codes: string[] = []
  for (let one = 0; one < 21; one++) {
    codes.push(await stranger.refused('POST', '/api/sign-in', { body: { user: `guess-${one}`, password: 'wrong' } }))
  }
  assert.deepEqual(new Set(codes.slice(0, 20)), new Set(['sign-in-refused']))
  assert.equal(codes[20], 'too-many-tries')
})

test('an authenticator is asked for once it is confirmed, and a code is good once', async (context) => {
  const clock = new ForwardClock()
  const console = await testConsole(context, { clock })
  const browser = await console.signedIn('operator')
  const { secret, uri } = totpBegun.parse(await browser.done('POST', '/api/me/totp'))
  assert.match(uri, /^otpauth:\/\/totp\/Tidemark:the-operator\?secret=/)
  const codeNow = (): string => generateSync({ secret, epoch: Math.floor(clock.now() / 1_000_000) })
  const user = nameOf('operator')
  const password = console.passwords.get('operator') as string
  const signIn = (code?: string) =>
    new Browser(console.port).ask('POST', '/api/sign-in', { body: { user, password, code } })
  assert.equal((await signIn()).status, 200, 'not before it is confirmed')
  assert.equal(await browser.refused('POST', '/api/me/totp/confirm', { body: { code: '000000' } }), 'sign-in-refused')
  await browser.done('POST', '/api/me/totp/confirm', { body: { code: codeNow() } })
  assert.match((await signIn()).text, /code-needed/)
  assert.match((await signIn(codeNow())).text, /sign-in-refused/, 'it was used to confirm')
  clock.forward(30_000)
  const code = codeNow()
  assert.equal((await signIn(code)).status, 200)
  assert.match((await signIn(code)).text, /sign-in-refused/)
  clock.forward(10 * minuteMs)
  assert.match((await signIn(code)).text, /sign-in-refused/)
  await browser.done('DELETE', '/api/me/totp', { body: { code: codeNow() } })
  assert.equal((await signIn()).status, 200)
})

test('no secret stands in the audit log, not even a password typed as the name', async (context) => {
  const console = await testConsole(context)
  const browser = await console.signedIn('operator')
  const { secret } = totpBegun.parse(await browser.done('POST', '/api/me/totp'))
  await browser.refused('POST', '/api/sign-in', { body: { user: 'My-Secret-Pass1', password: 'My-Secret-Pass2' } })
  const security = await console.signedIn('security-administrator')
  const made = (await security.done('POST', '/api/users', { body: { name: 'chen', role: 'viewer' } })) as {
    password: string
  }
  const auditor = await console.signedIn('audit-administrator')
  const records = JSON.stringify(await auditor.read('/api/audit?limit=1000', z.array(auditRecord)))
  for (const one of [
    ...console.passwords.values(),
    secret,
    made.password,
    'My-Secret',
    browser.csrf!,
    browser.cookie!,
  ]) {
    assert.ok(!records.includes(one), one)
  }
  assert.match(records, /chen/)
})
