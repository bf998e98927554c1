import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import tls from 'node:tls'
import { z } from 'zod'
import { until } from '../../test/support/until.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { type Moment, moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { openCredentials, type VaultCredentials } from './authority.ts'
import { formatToken, parseToken } from './enrolment.ts'
import { apiClient, vaultDoor } from './http-client.ts'
import { agentInMemory, batchForTest, JournalInMemory } from './journal-in-memory.ts'
import { messageParts } from './messages.ts'
import { Pace } from './pace.ts'
import {
  agentCertificateMs,
  coversNames,
  createAuthority,
  createCsr,
  type Credential,
  issueFromCsr,
  publicKeyFingerprint,
} from './pki.ts'
import { type ConnectionEnd, serveConnection } from './serve.ts'
import { JournalSession, type ShippedBatch } from './ship.ts'
import { dialLink, fetchAuthority, type Listener, listenTls } from './tls.ts'

const source = '5'.repeat(32) as Id
const about = { source, software: 'test' }
const never = new AbortController().signal

interface Vault extends AsyncDisposable {
  readonly listener: Listener
  readonly credentials: VaultCredentials
  readonly journal: JournalInMemory
  readonly ends: ConnectionEnd[]
  readonly strangers: string[]
  readonly refused: string[]
  readonly revoked: Set<Id>
}

const now = (): Moment => moment(systemClock.now())

async function scratch(test: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-tls-'))
  test.after(() => rm(directory, { recursive: true }))
  return directory
}

async function startVault(test: TestContext, clock: Clock = systemClock, handshakeMs?: number): Promise<Vault> {
  const credentials = await openCredentials(await scratch(test), ['localhost', '127.0.0.1'], {
    clock: systemClock,
    random: systemRandom,
  })
  const journal = new JournalInMemory(systemClock, systemRandom, 0)
  const ends: ConnectionEnd[] = []
  const strangers: string[] = []
  const refused: string[] = []
  const revoked = new Set<Id>()
  const server = http.createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ path: request.url }))
  })
  const stop = new AbortController()
  const listener = await listenTls({
    host: '127.0.0.1',
    port: 0,
    credentials,
    admits: (id) => (revoked.has(id) ? undefined : 'agent'),
    link: async (link, peer) => void ends.push(await serveConnection(link, peer, journal, systemClock, stop.signal)),
    http: (socket, peer) => {
      strangers.push(peer?.id ?? 'stranger')
      server.emit('connection', socket)
    },
    refused: (_from, reason) => void refused.push(reason),
    clock,
    ...(handshakeMs === undefined ? {} : { handshakeMs }),
  })
  test.after(async () => {
    stop.abort()
    server.closeAllConnections()
    await listener[Symbol.asyncDispose]()
  })
  return {
    listener,
    credentials,
    journal,
    ends,
    strangers,
    refused,
    revoked,
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  }
}

async function agentCredential(
  authority: Credential,
  agent: Id = agentInMemory,
  at: Moment = now(),
): Promise<Credential> {
  const { csr, key } = await createCsr()
  return { key, certificate: await issueFromCsr(authority, csr, agent, at, systemRandom) }
}

const dialling = (vault: Vault, credential: Credential, authority = vault.credentials.authority.certificate) => ({
  host: '127.0.0.1',
  port: vault.listener.port,
  authority,
  credential,
})

async function opened(vault: Vault, credential: Credential): Promise<JournalSession> {
  return JournalSession.open(await dialLink(dialling(vault, credential), never), about, systemClock, never)
}

const refusedWith = (code: string) => (error: unknown) =>
  error instanceof TidemarkError && error.code === code && error.hint !== undefined

test('an enrolled agent ships over TLS', async (test) => {
  const vault = await startVault(test)
  const session = await opened(vault, await agentCredential(vault.credentials.authority))
  const batches = Array.from({ length: 50 }, (_, index): ShippedBatch =>
    batchForTest(sequence(index + 1), 1, [systemRandom.bytes(300_000)], index % 2 === 0),
  )
  const done = new AbortController()
  await session.run(
    {
      next: (first, signal) => {
        const batch = batches[first - 1]
        return batch
          ? Promise.resolve(batch)
          : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
      unanswered: () => [],
      acknowledged: (durable) => durable === 50 && done.abort(),
      answered: () => undefined,
      requested: () => undefined,
      stalled: () => undefined,
    },
    new Pace([], systemClock),
    done.signal,
  )
  assert.equal(vault.journal.applied.length, 50)
})

test('the link without a certificate is refused with the next step', async (test) => {
  const vault = await startVault(test)
  const { authority } = vault.credentials
  const socket = tls.connect({
    host: '127.0.0.1',
    port: vault.listener.port,
    ca: authority.certificate,
    ALPNProtocols: ['tidemark/1'],
    checkServerIdentity: () => undefined,
  })
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  await once(socket, 'close')
  assert.match(Buffer.concat(pieces).toString(), /tls-refused.*no certificate.*agent join/)
})

test('a certificate of another authority, an expired and a revoked one are refused', async (test) => {
  const vault = await startVault(test)
  const { authority } = vault.credentials
  const other = await createAuthority('another', now(), systemRandom)
  await assert.rejects(opened(vault, await agentCredential(other)), refusedWith('tls-refused'))
  const longAgo = moment(now() - (agentCertificateMs + 5000) * 1000)
  await assert.rejects(
    opened(vault, await agentCredential(authority, agentInMemory, longAgo)),
    (error) => refusedWith('tls-refused')(error) && /expired/.test(String(error)),
  )
  vault.revoked.add(agentInMemory)
  await assert.rejects(opened(vault, await agentCredential(authority)), refusedWith('not-allowed'))
  assert.equal(vault.ends.length, 0)
})

test('a server certificate is no agent, and an agent certificate is no vault', async (test) => {
  const vault = await startVault(test)
  const { authority, server } = vault.credentials
  await assert.rejects(opened(vault, server), refusedWith('tls-refused'))
  const agent = await agentCredential(authority)
  const impostor = tls.createServer({
    key: agent.key,
    cert: agent.certificate + authority.certificate,
    ALPNProtocols: ['tidemark/1'],
  })
  impostor.on('tlsClientError', () => undefined)
  await once(impostor.listen(0, '127.0.0.1'), 'listening')
  test.after(() => impostor.close())
  const { port } = impostor.address() as net.AddressInfo
  await assert.rejects(dialLink({ ...dialling(vault, agent), port }, never), refusedWith('tls-refused'))
})

test('an agent does not talk to a server of another authority', async (test) => {
  const vault = await startVault(test)
  const other = await createAuthority('another', now(), systemRandom)
  const credential = await agentCredential(vault.credentials.authority)
  await assert.rejects(dialLink(dialling(vault, credential, other.certificate), never), refusedWith('tls-refused'))
})

test('the authority is fetched only where its key is the pinned one', async (test) => {
  const vault = await startVault(test)
  const { authority } = vault.credentials
  const at = { host: '127.0.0.1', port: vault.listener.port }
  const found = await fetchAuthority(
    { ...at, fingerprint: publicKeyFingerprint(authority.certificate) },
    publicKeyFingerprint,
    never,
  )
  assert.equal(found.trim(), authority.certificate.trim())
  await assert.rejects(
    fetchAuthority({ ...at, fingerprint: Buffer.alloc(32) }, publicKeyFingerprint, never),
    refusedWith('tls-refused'),
  )
})

test('HTTP on the same port is told who asks', async (test) => {
  const vault = await startVault(test)
  const credential = await agentCredential(vault.credentials.authority)
  const address = { host: '127.0.0.1', port: vault.listener.port, authority: vault.credentials.authority.certificate }
  for (const door of [vaultDoor({ ...address, credential }), vaultDoor(address)]) {
    const answer = await apiClient(door).json('GET', '/v1/x', z.object({ path: z.string() }))
    assert.equal(answer.path, '/v1/x')
    door[Symbol.dispose]()
  }
  assert.deepEqual(vault.strangers, [agentInMemory, 'stranger'])
})

test('TLS 1.2, plaintext and other protocols do not get in', async (test) => {
  const vault = await startVault(test)
  const { port } = vault.listener
  const old = tls.connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    maxVersion: 'TLSv1.2',
    minVersion: 'TLSv1.2',
  })
  await assert.rejects(once(old, 'secureConnect'))
  const foreign = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['smtp'] })
  await assert.rejects(once(foreign, 'secureConnect'))
  const plain = net.connect(port, '127.0.0.1')
  plain.on('error', () => undefined)
  plain.end('GET / HTTP/1.1\r\n\r\n')
  plain.resume()
  await once(plain, 'close')
  await until('all three are told', () => vault.refused.length >= 3)
  await opened(vault, await agentCredential(vault.credentials.authority))
})

test('a connection that does not finish its handshake is closed', async (test) => {
  const vault = await startVault(test, systemClock, 100)
  const slow = net.connect(vault.listener.port, '127.0.0.1')
  slow.on('error', () => undefined)
  slow.write(Buffer.from([22, 3, 1]))
  slow.resume()
  await once(slow, 'close')
  assert.match(vault.refused.join(), /timeout/i)
})

test('a frame larger than allowed before the hello ends in a refusal that arrives', async (test) => {
  const vault = await startVault(test)
  const link = await dialLink(dialling(vault, await agentCredential(vault.credentials.authority)), never)
  const head = Buffer.alloc(5 + 60_000)
  head.writeUInt32BE(100_000_000)
  for (let count = 0; count < 20; count++) await link.send([head]).catch(() => undefined)
  const pieces: Uint8Array[] = []
  for await (const piece of link.received) pieces.push(piece)
  assert.match(Buffer.concat(pieces).toString(), /protocol-violation/)
})

test('an agent whose vault went away at once is told so', async (test) => {
  const vault = await startVault(test)
  const credential = await agentCredential(vault.credentials.authority)
  const { port } = vault.listener
  const link = await dialLink(dialling(vault, credential), never)
  await link.send(messageParts({ kind: 'hello', versions: [1], software: '', now: now(), role: { is: 'control' } }))
  link.destroy('test')
  await assert.rejects(link.send([Buffer.alloc(1)]), { code: 'unreachable' })
  await vault[Symbol.asyncDispose]()
  await assert.rejects(dialLink({ ...dialling(vault, credential), port }, never), refusedWith('unreachable'))
})

test('credentials are kept readable by their owner only; the server’s is renewed near its end or for other names', async (test) => {
  const directory = await scratch(test)
  const parts = { clock: systemClock, random: systemRandom }
  const first = await openCredentials(directory, ['localhost', '::1'], parts)
  assert.equal((await stat(join(directory, 'authority.pem'))).mode & 0o777, 0o600)
  assert.equal((await stat(join(directory, 'server.pem'))).mode & 0o777, 0o600)
  assert.deepEqual(await openCredentials(directory, ['localhost'], parts), first)
  const renamed = await openCredentials(directory, ['vault.example', '::1'], parts)
  assert.notEqual(renamed.server.certificate, first.server.certificate)
  assert.ok(coversNames(renamed.server.certificate, ['vault.example', '::1']))
  const later: Clock = { ...systemClock, now: () => systemClock.now() + 300 * 86_400_000_000 }
  const renewed = await openCredentials(directory, ['vault.example'], { ...parts, clock: later })
  assert.notEqual(renewed.server.certificate, renamed.server.certificate)
  assert.deepEqual(renewed.authority, first.authority)
})

test('a token survives its text form; others are refused', () => {
  const token = { authority: Buffer.alloc(32, 5), secret: Buffer.alloc(16, 6), address: 'vault.example:7440' }
  assert.deepEqual(parseToken(` ${formatToken(token)}\n`), token)
  for (const text of ['', 'hello', formatToken(token).slice(0, 40), 'B'.repeat(100)]) {
    assert.throws(() => parseToken(text), { code: 'token-refused' })
  }
})

test('a request for a certificate that is not signed by its key is refused', async () => {
  const authority = await createAuthority('test', now(), systemRandom)
  const { csr } = await createCsr()
  const bytes = Buffer.from(csr.split('\n').slice(1, -2).join(''), 'base64')
  bytes[bytes.length - 5]! ^= 1
  const damaged = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  await assert.rejects(issueFromCsr(authority, damaged, agentInMemory, now(), systemRandom), { code: 'bad-request' })
  await assert.rejects(issueFromCsr(authority, 'nonsense', agentInMemory, now(), systemRandom), { code: 'bad-request' })
})
