import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { type LiveEvent, vaultEntry } from '../api/console.ts'
import { sourceStatus, tokenAnswer, vaultStatus } from '../api/schemas.ts'
import { Browser, ForwardClock, testConsole, testVault } from '../../test/support/console-world.ts'
import { freePort } from '../../test/support/free-port.ts'
import { vaultCredentialsFolder } from './place.ts'
import { until } from '../../test/support/until.ts'

const vaults = z.array(vaultEntry)
const dayMs = 86_400_000

test('a vault is added by its token, told live, asked through the console, and removed', async (context) => {
  const vault = await testVault(context)
  const console = await testConsole(context)
  const administrator = await console.signedIn('system-administrator')
  const viewer = await console.signedIn('viewer')
  const stop = new AbortController()
  const events = viewer.live(stop.signal)
  const next = async (): Promise<LiveEvent> => {
    const { value, done } = await events.next()
    assert.ok(done !== true)
    return value
  }
  const untilEvent = async <T extends LiveEvent>(is: (event: LiveEvent) => event is T): Promise<T> => {
    for (;;) {
      const event = await next()
      if (is(event)) return event
    }
  }
  const hello = await next()
  assert.ok(hello.kind === 'hello' && hello.vaults.length === 0)

  const body = { url: vault.address, token: await vault.token(), site: 'the hill' }
  const added = vaultEntry.parse(await administrator.done('POST', '/api/vaults', { body }))
  assert.equal(added.name, 'north')
  assert.equal(await administrator.refused('POST', '/api/vaults', { body }), 'token-refused')
  const told = await untilEvent((event) => event.kind === 'vault')
  assert.ok(told.vault === added.id && told.event.kind === 'vault')
  await until('it is connected', async () => (await viewer.read('/api/vaults', vaults))[0]?.connected === true)

  const base = `/api/vaults/${added.id}/v1`
  assert.equal((await viewer.read(`${base}/status`, vaultStatus)).name, 'north')
  assert.equal(await viewer.refused('POST', `${base}/tokens`, { body: {} }), 'not-allowed')
  tokenAnswer.parse(await administrator.done('POST', `${base}/tokens`, { body: {} }))

  await administrator.done('DELETE', `/api/vaults/${added.id}`)
  await untilEvent((event) => event.kind === 'vault-removed')
  assert.equal(await viewer.refused('GET', `${base}/status`), 'not-found')
  stop.abort()
})

test('a vault that goes is told as away with the reason, and found again when it is back', async (context) => {
  const port = await freePort()
  const vault = await testVault(context, { port })
  const console = await testConsole(context)
  const administrator = await console.signedIn('system-administrator')
  const body = { url: vault.address, token: await vault.token() }
  const { id } = vaultEntry.parse(await administrator.done('POST', '/api/vaults', { body }))
  const entry = async () => (await administrator.read('/api/vaults', vaults))[0]!
  await until('it is connected', async () => (await entry()).connected)
  const before = (await entry()).since
  await vault.stop()
  await until('it is away', async () => !(await entry()).connected)
  const away = await entry()
  assert.ok(away.error !== undefined && away.since !== null && before !== null && away.since > before)
  const { status, body: told } = await administrator.ask('GET', `/api/vaults/${id}/v1/status`)
  assert.equal(status, 503)
  assert.equal((told as { error: { code: string } }).error.code, 'unreachable')
  await testVault(context, { directory: vault.directory, port })
  await until('it is connected again', async () => (await entry()).connected)
})

test('a restarted console knows its vaults, and who was signed in still is', async (context) => {
  const vault = await testVault(context)
  const first = await testConsole(context)
  const administrator = await first.signedIn('system-administrator')
  const body = { url: vault.address, token: await vault.token() }
  await administrator.done('POST', '/api/vaults', { body })
  await first.stop()
  const { directory } = first
  const again = await testConsole(context, { directory, passwords: new Map(first.passwords) })
  const same = new Browser(again.port)
  same.cookie = administrator.cookie
  await until('it is connected', async () => (await same.read('/api/vaults', vaults))[0]?.connected === true)
})

test('what the vault refuses reaches the browser as the vault said it', async (context) => {
  const vault = await testVault(context)
  const console = await testConsole(context)
  const administrator = await console.signedIn('system-administrator')
  const body = { url: vault.address, token: await vault.token() }
  const { id } = vaultEntry.parse(await administrator.done('POST', '/api/vaults', { body }))
  const missing = await administrator.ask('GET', `/api/vaults/${id}/v1/sources/none`)
  assert.equal(missing.status, 404)
  assert.match(missing.text, /there is no source \\"none\\"/)
  const bad = await administrator.ask('POST', `/api/vaults/${id}/v1/sources`, { raw: '{"name": ' })
  assert.equal(bad.status, 400)
  const strange = await administrator.ask('GET', `/api/vaults/${id}/v1/chunk-key`)
  assert.equal(strange.status, 404)
  assert.throws(() => sourceStatus.parse(strange.body))
})

test('the certificate of a connection that lasts is renewed with a third of its life left', async (context) => {
  const clock = new ForwardClock()
  const vault = await testVault(context)
  const console = await testConsole(context, { clock })
  const body = { url: vault.address, token: await vault.token() }
  const { id } = await console.machine.json('POST', '/api/vaults', vaultEntry, body)
  const credential = () => readFileSync(join(vaultCredentialsFolder(console.directory), `${id}.pem`), 'utf8')
  const entry = async () => (await console.machine.json('GET', '/api/vaults', vaults))[0]!
  const isConnected = async () => (await entry()).connected
  await until('it is connected', isConnected)
  const before = credential()
  const { since } = await entry()
  clock.forward(19 * dayMs)
  await until('it is connected anew', async () => {
    // Whether a line of the vault or the look for its silence comes first after a leap is chance.
    clock.forward(20_000)
    return (await isConnected()) && (await entry()).since !== since
  })
  assert.equal(credential(), before)
  clock.forward(2 * dayMs)
  await until('it is another', () => credential() !== before)
  await until('it is connected with it', isConnected)
  assert.equal(statSync(join(vaultCredentialsFolder(console.directory), `${id}.pem`)).mode & 0o777, 0o600)
})

test('a server that says it is a vault that is known, but proves it by another authority, does not take its place', async (context) => {
  const vault = await testVault(context)
  const console = await testConsole(context)
  const administrator = await console.signedIn('system-administrator')
  const add = async ({ address, token }: typeof vault) => ({ body: { url: address, token: await token() } })
  const { id, url } = vaultEntry.parse(await administrator.done('POST', '/api/vaults', await add(vault)))
  await vault.stop()
  rmSync(join(vault.directory, 'authority'), { recursive: true })
  const other = await testVault(context, { directory: vault.directory })
  assert.equal(await administrator.refused('POST', '/api/vaults', await add(other)), 'tls-refused')
  const [kept] = await administrator.read('/api/vaults', vaults)
  assert.deepEqual([kept?.id, kept?.url], [id, url])
  await administrator.done('DELETE', `/api/vaults/${id}`)
  await administrator.done('POST', '/api/vaults', await add(other))
})
