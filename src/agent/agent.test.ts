import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { z } from 'zod'
import { freePort } from '../../test/support/free-port.ts'
import { until } from '../../test/support/until.ts'
import { systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import type { Capture, CaptureRequest } from '../capture/capture.ts'
import { moment } from '../model/moment.ts'
import { advance } from '../model/sequence.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../model/source.ts'
import { openCredentials } from '../wire/authority.ts'
import { formatToken } from '../wire/enrolment.ts'
import { apiClient, socketApiClient, vaultDoor } from '../wire/http-client.ts'
import { agentInMemory, batchForTest, JournalInMemory } from '../wire/journal-in-memory.ts'
import { issueFromCsr, publicKeyFingerprint } from '../wire/pki.ts'
import { serveConnection } from '../wire/serve.ts'
import { listenTls } from '../wire/tls.ts'
import { Wake } from '../base/wake.ts'
import { runAgent } from './agent.ts'
import { AgentHome, joinVault } from './identity.ts'

const now = () => moment(systemClock.now())
const signal = AbortSignal.timeout(600_000)
const noCommands = (): never => {
  throw new Error('nothing is asked of this agent')
}

/** A vault of one journal: the port, the certificates and the routes that an agent needs. */
async function startVault(test: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-agent-'))
  const credentials = await openCredentials(join(directory, 'vault'), ['127.0.0.1'], {
    clock: systemClock,
    random: systemRandom,
  })
  const journal = new JournalInMemory(systemClock, systemRandom, 1)
  const secrets = new Set<string>()
  const seen: string[] = []
  const replaced: (string | undefined)[] = []
  const api = http.createServer(async (request, response) => {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const body = Buffer.concat(pieces).toString()
    seen.push(`${request.method} ${request.url}`)
    const tell = (status: number, answer: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    if (request.url === '/v1/enrol' || request.url === '/v1/renew') {
      const { secret, name, csr, replaces } = JSON.parse(body) as Partial<Record<string, string>> & { csr: string }
      if (secret !== undefined) replaced.push(replaces)
      if (secret !== undefined && !secrets.delete(secret))
        return tell(403, { error: { code: 'token-refused', message: 'used', hint: 'make a new one' } })
      const certificate = await issueFromCsr(credentials.authority, csr, agentInMemory, now(), systemRandom)
      const ca = credentials.authority.certificate
      return tell(200, { agent: agentInMemory, name: name ?? 'web-1', vault: journal.id, certificate, ca })
    }
    if (request.url === '/v1/echo') return response.end(body)
    return tell(404, { error: { code: 'not-found', message: `no ${request.url}` } })
  })
  const listen = (port: number) =>
    listenTls({
      host: '127.0.0.1',
      port,
      credentials,
      admits: () => 'agent',
      link: async (link, peer) =>
        void (await serveConnection(link, peer, journal, systemClock, new AbortController().signal)),
      http: (socket) => void api.emit('connection', socket),
      clock: systemClock,
    })
  const port = await freePort()
  let listener = await listen(port)
  test.after(async () => {
    api.closeAllConnections()
    await listener[Symbol.asyncDispose]()
    await rm(directory, { recursive: true })
  })
  return {
    directory: join(directory, 'agent'),
    credentials,
    journal,
    port,
    seen,
    replaced,
    token: () => {
      const secret = Buffer.from(systemRandom.bytes(16))
      secrets.add(secret.toString('base64url'))
      return formatToken({ authority: publicKeyFingerprint(credentials.authority.certificate), secret, address: '' })
    },
    restart: async (away: () => Promise<void>) => {
      await listener[Symbol.asyncDispose]()
      await away()
      listener = await listen(port)
    },
  }
}

const source = (name: string, digit: string, paused = false): SourceDefinition => ({
  id: digit.repeat(32) as Id,
  name,
  kind: 'files',
  agent: agentInMemory,
  paths: ['/srv'],
  exclude: [],
  policy: defaultPolicy,
  paused,
})

/** Says a batch whenever it is poked. */
function pokedCaptures() {
  const pokes = new Wake()
  const open: string[] = []
  const opened: string[] = []
  let said = 0
  const openCapture = async ({ resumeAt, source: { name } }: CaptureRequest): Promise<Capture> => {
    const stop = new AbortController()
    open.push(name)
    opened.push(name)
    async function* outputs() {
      for (let at = advance(resumeAt, 1); ; at = advance(at, 1)) {
        await pokes.wait(stop.signal)
        said++
        yield { kind: 'batch', ...batchForTest(at, 1, [], false), moment: now(), marks: [] } as const
      }
    }
    return {
      outputs: outputs(),
      durable: () => undefined,
      answer: () => undefined,
      manifest: () => undefined,
      line: () => undefined,
      mark: () => undefined,
      reconcile: () => undefined,
      hole: () => undefined,
      [Symbol.asyncDispose]: async () => {
        open.splice(open.indexOf(name), 1)
        stop.abort(new TidemarkError('interrupted', { message: 'stopped' }))
      },
    }
  }
  return { open, opened, said: () => said, poke: () => pokes.wake(), openCapture }
}

const joining = (vault: Awaited<ReturnType<typeof startVault>>, token: string) =>
  joinVault(
    { directory: vault.directory, host: '127.0.0.1', port: vault.port, token, name: 'files-1' },
    { random: systemRandom, signal },
  )

test('an agent enrols once, with secrets that only it can read, and renews its certificate', async (test) => {
  const vault = await startVault(test)
  const token = vault.token()
  const joined = await joining(vault, token)
  assert.equal(joined.agent, agentInMemory)
  for (const name of await readdir(vault.directory))
    assert.equal((await stat(join(vault.directory, name))).mode & 0o777, 0o600, name)
  assert.equal((await stat(vault.directory)).mode & 0o777, 0o700)
  await assert.rejects(joining(vault, token), { code: 'token-refused' })

  const home = await AgentHome.open(vault.directory)
  assert.equal(home.needsRenewal(systemClock), false)
  assert.ok(home.needsRenewal({ ...systemClock, now: () => systemClock.now() + 21 * 86_400_000_000 }))
  const before = home.credential
  await home.renew()
  assert.notEqual(home.credential.key, before.key)
  const reread = await AgentHome.open(vault.directory)
  assert.deepEqual(reread.credential, home.credential)
})

test('an agent enrols again in place with a new token: as who it was, with what it has spooled', async (test) => {
  const vault = await startVault(test)
  await joining(vault, vault.token())
  const before = await AgentHome.open(vault.directory)
  await before.chunkKeyTold(Buffer.alloc(32, 1))
  await rm(join(vault.directory, 'credential.pem'))
  const request = {
    directory: vault.directory,
    host: 'localhost',
    port: vault.port,
    token: vault.token(),
    name: 'other',
  }
  const again = await joinVault(request, { random: systemRandom, signal })
  assert.deepEqual(again, { ...before.identity, host: 'localhost' })
  assert.equal(vault.replaced.at(-1), agentInMemory)
  const after = await AgentHome.open(vault.directory)
  assert.deepEqual(after.identity, again)
  assert.notEqual(after.credential.certificate, before.credential.certificate)
  assert.ok(after.spoolKey.equals(before.spoolKey))
  assert.deepEqual(after.chunkKey, before.chunkKey)

  const other = await startVault(test)
  await assert.rejects(
    joinVault({ ...request, port: other.port, token: other.token() }, { random: systemRandom, signal }),
    {
      code: 'already-exists',
    },
  )
})

test('a used token and a token of another vault do not enrol, and nothing is left behind', async (test) => {
  const vault = await startVault(test)
  const used = vault.token()
  await joining(vault, used)
  await rm(vault.directory, { recursive: true })
  await assert.rejects(joining(vault, used), { code: 'token-refused' })
  const other = formatToken({ authority: Buffer.alloc(32, 1), secret: Buffer.alloc(16, 2), address: '' })
  await assert.rejects(joining(vault, other), { code: 'tls-refused' })
  assert.equal(
    vault.seen.filter((request) => request === 'POST /v1/enrol').length,
    2,
    'the secret was not shown to the other vault',
  )
  await assert.rejects(stat(vault.directory), { code: 'ENOENT' })
  await assert.rejects(AgentHome.open(vault.directory), { code: 'not-found' })
})

test('the agent protects what the vault tells, follows changes live, and takes up the line again', async (test) => {
  const vault = await startVault(test)
  await joining(vault, vault.token())
  const { journal } = vault
  journal.sources = [source('documents', '5')]
  const captures = pokedCaptures()
  const stop = new AbortController()
  const lines: string[] = []
  const running = runAgent(
    {
      directory: vault.directory,
      captures: { files: captures.openCapture },
      startCommand: noCommands,
      clock: systemClock,
      random: systemRandom,
      tell: (line) => void lines.push(line),
    },
    stop.signal,
  )
  await until('a capture', () => captures.open.length === 1)
  await until('three batches', () => (captures.poke(), journal.durable >= 3))

  const local = socketApiClient(join(vault.directory, 'api.sock'))
  assert.equal((await stat(join(vault.directory, 'api.sock'))).mode & 0o777, 0o600)
  const status = z.object({
    id: z.string(),
    connected: z.boolean(),
    sources: z.array(z.object({ name: z.string(), line: z.string() }).loose()),
  })
  await until('the line is told to be up', async () => {
    const { sources, connected } = await local.json('GET', '/agent', status)
    return connected && sources[0]?.name === 'documents' && sources[0].line === 'up'
  })

  const long = 'x'.repeat(3_000_000)
  const echoed: Uint8Array[] = []
  for await (const piece of await local.stream('POST', '/v1/echo', { long })) echoed.push(piece)
  assert.equal(Buffer.concat(echoed).toString(), JSON.stringify({ long }))
  await assert.rejects(local.json('GET', '/v1/nothing', z.unknown()), { code: 'not-found', message: 'no /v1/nothing' })

  await vault.restart(async () => {
    await until('the line is missed', () => lines.some((line) => line.startsWith('no line')))
    await assert.rejects(local.json('GET', '/v1/echo', z.unknown()), { code: 'unreachable' })
    captures.poke()
  })
  await until('batches after the restart', () => (captures.poke(), journal.durable >= 6))
  assert.deepEqual(
    journal.applied.map(({ first }) => Number(first)),
    Array.from(journal.applied, (_, index) => index + 1),
  )

  journal.sources = [source('documents', '5', true)]
  journal.changed.wake()
  await until('paused', () => captures.open.length === 0)
  journal.sources = [source('letters', '6')]
  journal.changed.wake()
  await until('another source', () => captures.open[0] === 'letters')
  await until(
    'the first one is forgotten',
    async () => (await readdir(join(vault.directory, 'sources'))).join() === '6'.repeat(32),
  )

  const twice = runAgent(
    {
      directory: vault.directory,
      captures: { files: captures.openCapture },
      startCommand: noCommands,
      clock: systemClock,
      random: systemRandom,
      tell: () => undefined,
    },
    stop.signal,
  )
  await assert.rejects(twice, { code: 'already-running' })
  stop.abort()
  await running
  assert.deepEqual(captures.open, [])
  await assert.rejects(local.json('GET', '/agent', status), { code: 'not-running' })
})

test('a capture goes on through a change that is not about it', async (test) => {
  const vault = await startVault(test)
  await joining(vault, vault.token())
  const { journal } = vault
  const documents = source('documents', '5')
  journal.sources = [documents]
  const captures = pokedCaptures()
  const stop = new AbortController()
  const running = runAgent(
    {
      directory: vault.directory,
      captures: { files: captures.openCapture },
      startCommand: noCommands,
      clock: systemClock,
      random: systemRandom,
      tell: () => undefined,
    },
    stop.signal,
  )
  await until('a capture', () => captures.open.length === 1)
  const local = socketApiClient(join(vault.directory, 'api.sock'))
  const status = z.object({ sources: z.array(z.object({ name: z.string() }).loose()) })
  const told = async (name: string) => (await local.json('GET', '/agent', status)).sources[0]?.name === name

  const policy = { ...defaultPolicy, windowMs: 86_400_000, lagMsMax: 5000 }
  journal.sources = [{ ...documents, name: 'papers', system: 'archive', policy }]
  journal.changed.wake()
  await until('the new name', () => told('papers'))
  assert.deepEqual(captures.opened, ['documents'])
  assert.equal((await (await AgentHome.open(vault.directory)).definitions())[0]?.name, 'papers')

  journal.sources = [{ ...documents, name: 'papers', exclude: ['*.tmp'] }]
  journal.changed.wake()
  await until('the capture is opened anew', () => captures.opened.length === 2)
  stop.abort()
  await running
})

test('started without a line, the agent protects what it was told before', async (test) => {
  const vault = await startVault(test)
  await joining(vault, vault.token())
  vault.journal.sources = [source('documents', '5')]
  const run = (stop: AbortController, captures: ReturnType<typeof pokedCaptures>) =>
    runAgent(
      {
        directory: vault.directory,
        captures: { files: captures.openCapture },
        startCommand: noCommands,
        clock: systemClock,
        random: systemRandom,
        tell: () => undefined,
      },
      stop.signal,
    )
  const first = { stop: new AbortController(), captures: pokedCaptures() }
  const running = run(first.stop, first.captures)
  await until('a capture', () => first.captures.open.length === 1)
  await until('two batches', () => (first.captures.poke(), vault.journal.durable >= 2))
  first.stop.abort()
  await running
  const second = { stop: new AbortController(), captures: pokedCaptures() }
  let again: Promise<void> | undefined
  const before = vault.journal.durable
  await vault.restart(async () => {
    again = run(second.stop, second.captures)
    await until('a capture without a line', () => second.captures.open.length === 1)
    // A poke that comes while nobody waits for one is lost.
    await until('five batches', () => (second.captures.poke(), second.captures.said() >= 5))
  })
  await until('what was spooled arrives', () => vault.journal.durable >= before + 5)
  second.stop.abort()
  await again
})

test('the client tells a stranger’s answer from the vault’s', async (test) => {
  const server = http.createServer((request, response) => {
    if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': 100 }).write('half')
      setImmediate(() => response.destroy())
    } else if (request.url === '/html') response.writeHead(502).end('<html>')
    else response.end('{"other": 1}')
  })
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-client-'))
  const path = join(directory, 's')
  server.listen(path)
  await once(server, 'listening')
  test.after(async () => {
    server.close()
    await rm(directory, { recursive: true })
  })
  const client = socketApiClient(path)
  const wanted = z.object({ wanted: z.string() })
  await assert.rejects(client.json('GET', '/', wanted), { code: 'protocol-violation' })
  await assert.rejects(client.json('GET', '/html', wanted), { code: 'protocol-violation' })
  await assert.rejects(client.json('GET', '/cut', wanted), { code: 'unreachable' })
  await assert.rejects(socketApiClient(join(directory, 'none')).json('GET', '/', wanted), { code: 'not-running' })
  using door = vaultDoor({ host: '127.0.0.1', port: 1, authority: '' })
  await assert.rejects(
    apiClient(door).json('GET', '/', wanted),
    (error) => error instanceof TidemarkError && error.code === 'unreachable',
  )
})
