import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { z } from 'zod'
import { auditRecord, vaultEntry } from '../api/console.ts'
import { sourceStatus, tokenAnswer } from '../api/schemas.ts'
import { taskRecord } from '../api/tasks.ts'
import { systemRandom } from '../base/random.ts'
import { type Browser, nameOf, type TestConsole, testConsole } from '../../test/support/console-world.ts'
import { servedVault } from '../../test/support/served-vault.ts'
import { until } from '../../test/support/until.ts'
import { addAgentWithSource, batchOf, blockOf, putFile } from '../../test/support/vault-world.ts'

/** One chunk again and again: a large file that costs little to keep. */
const chunkBytes = 32_768
const chunksOfLarge = 4_000
const chunk = Buffer.from(systemRandom.bytes(chunkBytes))

const prepareContents: Parameters<typeof servedVault>[1] = async (vault) => {
  const { agent, source } = await addAgentWithSource(vault, 'archive')
  const { chunks, bytes } = blockOf(vault, chunk)
  await using appender = await vault.appender(agent, source, new AbortController().signal)
  await appender.block(bytes)
  const [one] = chunks
  await appender.batch(batchOf(1, [putFile('small', chunks), putFile('large', Array(chunksOfLarge).fill(one))]))
}

/** Between console and vault: knows which connections are open, and what has passed to the console on each. */
async function relayTo(context: TestContext, port: number) {
  const relay = { port: 0, bytes: 0, open: new Map<net.Socket, number>() }
  const server = net.createServer((near) => {
    relay.open.set(near, 0)
    const far = net.connect(port, '127.0.0.1')
    far.on('data', (piece) => {
      relay.bytes += piece.length
      const before = relay.open.get(near)
      if (before !== undefined) relay.open.set(near, before + piece.length)
    })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
    near.on('close', () => relay.open.delete(near))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  relay.port = (server.address() as AddressInfo).port
  return relay
}

interface World {
  readonly console: TestConsole
  readonly operator: Browser
  readonly administrator: Browser
  readonly base: string
  readonly relay: Awaited<ReturnType<typeof relayTo>>
}

async function world(context: TestContext): Promise<World> {
  const vault = await servedVault(context, prepareContents)
  const relay = await relayTo(context, vault.port)
  const console = await testConsole(context)
  const { token } = await vault.operator.json('POST', '/v1/consoles/tokens', tokenAnswer, {})
  const administrator = await console.signedIn('system-administrator')
  const body = { url: `127.0.0.1:${relay.port}`, token }
  const { id } = vaultEntry.parse(await administrator.done('POST', '/api/vaults', { body }))
  const base = `/api/vaults/${id}/v1`
  const operator = await console.signedIn('operator')
  const indexed = async () => (await operator.read(`${base}/sources/archive-files`, sourceStatus)).indexed > 0
  await until('it is indexed', indexed)
  return { console, operator, administrator, base, relay }
}

const opened = (
  browser: Browser,
  path: string,
): Promise<{ request: http.ClientRequest; response: http.IncomingMessage }> =>
  new Promise((resolve, reject) => {
    const request = browser.open('GET', path)
    request.on('error', reject)
    request.on('response', (response) => resolve({ request, response }))
  })

test('a file comes through byte for byte, cannot run as a page, and who took it is recorded', async (context) => {
  const { console, operator, base } = await world(context)
  const path = `${base}/sources/archive-files/content?at=latest&path=/large`
  const { response } = await opened(operator, path)
  const hash = createHash('sha256')
  for await (const piece of response) hash.update(piece)
  const wanted = createHash('sha256')
  for (let at = 0; at < chunksOfLarge; at++) wanted.update(chunk)
  assert.equal(hash.digest('hex'), wanted.digest('hex'))
  assert.match(String(response.headers['content-security-policy']), /^default-src 'none'.*sandbox/)
  assert.equal(response.headers['x-content-type-options'], 'nosniff')
  assert.equal(response.headers['set-cookie'], undefined)
  const auditor = await console.signedIn('audit-administrator')
  const records = await auditor.read('/api/audit?text=content', z.array(auditRecord))
  assert.deepEqual(
    records.map(({ user, action, subject, outcome, detail }) => [user, action, subject, outcome, detail]),
    [
      [
        nameOf('operator'),
        'download',
        'north · archive-files · /large',
        'done',
        'GET /v1/sources/archive-files/content?at=latest&path=/large',
      ],
    ],
  )
})

test('a browser that reads slowly holds the vault back, and one that goes ends the request there', async (context) => {
  const { operator, base, relay } = await world(context)
  const before = relay.bytes
  const { request, response } = await opened(operator, `${base}/sources/archive-files/content?at=latest&path=/large`)
  response.once('data', () => response.pause())
  await once(response, 'data')
  let last = -1
  let same = 0
  await until('nothing more comes', () => {
    same = relay.bytes === last ? same + 1 : 0
    last = relay.bytes
    return same >= 25
  })
  assert.ok(relay.bytes - before < (chunkBytes * chunksOfLarge) / 2, `${relay.bytes - before} bytes`)
  // Others come and go meanwhile.
  const [[busiest] = assert.fail()] = [...relay.open].sort(([, one], [, other]) => other - one)
  request.destroy()
  await until('its connection to the vault is gone', () => !relay.open.has(busiest))
})

test('a task is asked for by the role whose duty its kind is, and bears the name of who asked', async (context) => {
  const { console, operator, administrator, base } = await world(context)
  const source = 'archive-files'
  const restore = { kind: 'restore', agent: 'archive', source, at: 'latest', to: '/srv/back' }
  const ask = (browser: Browser, body: object) => browser.ask('POST', `${base}/tasks`, { body })
  assert.equal((await ask(administrator, restore)).status, 403)
  assert.equal((await ask(administrator, { kind: 'verify', source })).status, 403)
  assert.equal((await administrator.ask('GET', `${base}/sources/${source}/tree?at=latest&path=/large`)).status, 403)
  assert.equal((await ask(operator, { kind: 'discover', agent: 'archive' })).status, 403)
  assert.equal((await ask(operator, { kind: 'baseline', source })).status, 403)
  assert.equal((await ask(operator, { kind: 'nonsense' })).status, 400)
  assert.equal((await ask(operator, {})).status, 400)
  const made = taskRecord.parse(await operator.done('POST', `${base}/tasks`, { body: { kind: 'verify', source } }))
  assert.equal(made.by, nameOf('operator'))
  const viewer = await console.signedIn('viewer')
  assert.equal((await viewer.ask('GET', `${base}/tasks/${made.id}`)).status, 200)
  for (const browser of [viewer, administrator]) {
    assert.equal((await browser.ask('POST', `${base}/tasks/${made.id}/cancel`)).status, 403)
  }
  const auditor = await console.signedIn('audit-administrator')
  const refused = await auditor.read('/api/audit?user=the-system-administrator', z.array(auditRecord))
  assert.deepEqual(
    refused.filter(({ outcome }) => outcome === 'refused').map(({ action, subject }) => [action, subject]),
    [
      ['cancel-task', 'north · verify · archive-files'],
      ['browse', 'north · archive-files · /large'],
      ['verify', 'north · verify · archive-files'],
      ['restore', 'north · restore · archive-files · archive:/srv/back'],
    ],
  )
})

test('an address that tries to leave its place reaches nothing', async (context) => {
  const { operator, administrator, base } = await world(context)
  for (const path of [
    `${base}/sources/..%2ftokens`,
    `${base}/sources/archive-files/../../chunk-key`,
    `${base}/sources/archive-files/%2e%2e/%2e%2e/chunk-key`,
    `${base}/consoles/tokens`,
    `${base}/consoles/renew`,
    `${base}//status`,
    `${base}/chunk-key`,
    `${base}/sources/archive-files/manifest?at=latest`,
  ]) {
    const { status } = await operator.ask('GET', path)
    assert.equal(status, 404, path)
    if (!path.includes('?')) assert.equal((await administrator.ask('POST', path, { body: {} })).status, 404, path)
  }
})

test('a request that names the server as well is passed on like any other', async (context) => {
  const { console, operator, base } = await world(context)
  assert.equal((await operator.ask('GET', `${console.origin}${base}/sources/archive-files`)).status, 200)
  assert.ok((await operator.ask('GET', `http://evil.example${base}/chunk-key`)).status >= 400)
})

test('nothing is asked of a vault that could not be recorded afterwards', async (context) => {
  const { console, operator, base } = await world(context)
  const { sqlite } = console.started.context.database
  sqlite.exec("CREATE TRIGGER full BEFORE UPDATE ON audit_ends BEGIN SELECT raise(ABORT, 'disk full'); END")
  const body = { kind: 'verify', source: 'archive-files' }
  assert.ok((await operator.ask('POST', `${base}/tasks`, { body })).status >= 500)
  sqlite.exec('DROP TRIGGER full')
  assert.deepEqual(await operator.done('GET', `${base}/tasks`), [])
})

test('a password that somebody put into a URL comes neither to the vault nor into the audit log', async (context) => {
  const { console, administrator, base } = await world(context)
  const url = 'postgres:\\/\\/li:ge\\"h@eim@db\\/shop?password=ge%22h@eim'
  const raw = `{"name":"shop","kind":"postgres","agent":"archive","postgres":{"url":"${url}"}}`
  assert.equal(await administrator.refused('POST', `${base}/sources`, { raw }), 'bad-request')
  const auditor = await console.signedIn('audit-administrator')
  const { text } = await auditor.ask('GET', '/api/audit?text=postgres')
  assert.match(text, /postgres:\/\/li:…@db\/shop\?password=…/)
  assert.ok(!text.includes('eim'))
})

test('a body that is made to be hard to read is refused like any other that is no task', async (context) => {
  const { console, base } = await world(context)
  const viewer = await console.signedIn('viewer')
  for (const raw of ['['.repeat(8_190) + ']'.repeat(8_190), '://:'.repeat(200_000), '"\\ud800"', '{"kind":']) {
    assert.equal(await viewer.refused('POST', `${base}/tasks`, { raw }), 'bad-request')
  }
})
