import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { z } from 'zod'
import type { ApiClient } from '../api/client.ts'
import { jsonLines } from '../api/client.ts'
import { consoleEnrolAnswer, consoleRecord } from '../api/consoles.ts'
import { type VaultEvent, vaultEvent } from '../api/events.ts'
import { taskRecord } from '../api/tasks.ts'
import { agentRecord, sourceStatus, tokenAnswer, vaultStatus } from '../api/schemas.ts'
import { systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import type { Id } from '../model/source.ts'
import { parseToken } from '../wire/enrolment.ts'
import { apiClient, socketApiClient, vaultDoor } from '../wire/http-client.ts'
import { createCsr, type Credential, publicKeyFingerprint } from '../wire/pki.ts'
import { dialLink, fetchAuthority } from '../wire/tls.ts'
import { initVault } from './init.ts'
import { socketName } from './place.ts'
import { runVault } from './run.ts'

const never = new AbortController().signal

interface Served {
  readonly operator: ApiClient
  readonly host: string
  readonly port: number
}

async function served(context: TestContext): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-consoles-'))
  await initVault({ directory, name: 'north', addresses: [] }, { clock: systemClock, random: systemRandom })
  const stop = new AbortController()
  const answers = Promise.withResolvers<number>()
  const tell = (line: string): void => {
    const port = /listens on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) answers.resolve(Number(port))
  }
  const host = '127.0.0.1'
  const ended = runVault({ directory, host, port: 0 }, { clock: systemClock, random: systemRandom, tell }, stop.signal)
  context.after(async () => {
    stop.abort(new Error('the test is over'))
    await ended.catch((error: unknown) => assert.equal(error, stop.signal.reason))
    rmSync(directory, { recursive: true })
  })
  const port = await Promise.race([answers.promise, ended.then(() => assert.fail('the vault ended'))])
  return { operator: socketApiClient(join(directory, socketName)), host, port }
}

interface Joined {
  readonly id: Id
  readonly client: ApiClient
  readonly credential: Credential
  readonly authority: string
}

async function joined(context: TestContext, { operator, host, port }: Served, name: string): Promise<Joined> {
  const { token } = await operator.json('POST', '/v1/consoles/tokens', tokenAnswer, {})
  const { authority: fingerprint, secret, isForConsole } = parseToken(token)
  assert.equal(isForConsole, true)
  const authority = await fetchAuthority({ host, port, fingerprint }, publicKeyFingerprint, never)
  using stranger = vaultDoor({ host, port, authority })
  const { csr, key } = await createCsr()
  const body = { secret: secret.toString('base64url'), name, csr }
  const answer = await apiClient(stranger).json('POST', '/v1/consoles', consoleEnrolAnswer, body)
  await assert.rejects(
    apiClient(stranger).json('POST', '/v1/consoles', consoleEnrolAnswer, { ...body, name: 'another' }),
    (error) => isCode(error, 'token-refused'),
  )
  await assert.rejects(apiClient(stranger).json('POST', '/v1/enrol', z.unknown(), body), (error) =>
    isCode(error, 'token-refused'),
  )
  const credential = { certificate: answer.certificate, key }
  const door = vaultDoor({ host, port, authority, credential })
  context.after(() => door[Symbol.dispose]())
  return { id: answer.console as Id, client: apiClient(door), credential, authority }
}

test('a console is let in once by its token, steers the vault, and lets no other in', async (context) => {
  const vault = await served(context)
  const { client, credential, authority } = await joined(context, vault, 'duty-room')
  assert.equal((await client.json('GET', '/v1/status', vaultStatus)).name, 'north')
  assert.deepEqual(await client.json('GET', '/v1/agents', z.array(agentRecord)), [])
  await client.json('POST', '/v1/tokens', tokenAnswer, {})
  for (const [method, path, body] of [
    ['POST', '/v1/consoles/tokens', {}],
    ['POST', '/v1/consoles/duty-room/revoke', undefined],
    // Who takes the place of a server reads what it protects.
    ['POST', '/v1/tokens', { replaces: 'any' }],
  ] as const) {
    await assert.rejects(client.json(method, path, z.unknown(), body), (error) => isCode(error, 'not-allowed'))
  }
  const { host, port } = vault
  const link = await dialLink({ host, port, authority, credential }, never)
  const pieces: Uint8Array[] = []
  for await (const piece of link.received) pieces.push(piece)
  assert.match(Buffer.concat(pieces).toString(), /a console captures nothing/)
  await link[Symbol.asyncDispose]()
})

test('the certificate of a console is renewed, and one that is revoked is good for nothing', async (context) => {
  const vault = await served(context)
  const before = await joined(context, vault, 'duty-room')
  const { csr, key } = await createCsr()
  const { certificate } = await before.client.json('POST', '/v1/consoles/renew', consoleEnrolAnswer, { csr })
  const { host, port } = vault
  using door = vaultDoor({ host, port, authority: before.authority, credential: { certificate, key } })
  await apiClient(door).json('GET', '/v1/status', vaultStatus)
  await vault.operator.json('POST', '/v1/consoles/duty-room/revoke', z.unknown())
  const [told] = await vault.operator.json('GET', '/v1/consoles', z.array(consoleRecord))
  assert.equal(told?.revoked, true)
  using again = vaultDoor({ host, port, authority: before.authority, credential: { certificate, key } })
  await assert.rejects(apiClient(again).json('GET', '/v1/status', vaultStatus), (error) => isCode(error, 'not-allowed'))
  await joined(context, vault, 'duty-room')
})

test('who reads the events is told everything, then what changes, and that nothing does', async (context) => {
  const vault = await served(context)
  const { client } = await joined(context, vault, 'duty-room')
  const { token } = await vault.operator.json('POST', '/v1/tokens', tokenAnswer, {})
  const stop = new AbortController()
  const lines = await client.stream('GET', '/v1/events', undefined, stop.signal)
  const events = jsonLines(lines, vaultEvent)[Symbol.asyncIterator]()
  const next = async (): Promise<VaultEvent> => {
    const { value, done } = await events.next()
    assert.ok(done !== true)
    return value
  }
  const until = async (kind: VaultEvent['kind']): Promise<VaultEvent> => {
    for (;;) {
      const event = await next()
      if (event.kind === kind) return event
    }
  }
  const first = await next()
  assert.ok(first.kind === 'vault' && first.vault.sources.length === 0)
  const [watching] = await vault.operator.json('GET', '/v1/consoles', z.array(consoleRecord))
  assert.equal(watching?.connected, true)
  const { host, port } = vault
  const { secret, authority: fingerprint } = parseToken(token)
  const authority = await fetchAuthority({ host, port, fingerprint }, publicKeyFingerprint, never)
  using stranger = vaultDoor({ host, port, authority })
  const { csr } = await createCsr()
  const enrol = { secret: secret.toString('base64url'), name: 'server', csr }
  await apiClient(stranger).json('POST', '/v1/enrol', z.unknown(), enrol)
  await until('agents')
  const source = { name: 'documents', kind: 'files', agent: 'server', paths: ['/srv'] }
  const { id } = await client.json('POST', '/v1/sources', sourceStatus, source)
  const told = await until('source')
  assert.ok(told.kind === 'source' && told.source.id === id && told.source.state === 'waiting')
  await client.json('POST', '/v1/sources/documents/pause', z.unknown())
  const paused = await until('source')
  assert.ok(paused.kind === 'source' && paused.source.state === 'paused')
  const task = await client.json('POST', '/v1/tasks', taskRecord, { kind: 'discover', agent: 'server' })
  const asked = await until('task')
  assert.ok(asked.kind === 'task' && asked.id === task.id && task.state === 'waiting' && task.by === 'operator')
  await until('heartbeat')
  stop.abort()
  await assert.rejects(events.next())
  await (async () => {
    for (;;) {
      const [one] = await vault.operator.json('GET', '/v1/consoles', z.array(consoleRecord))
      if (one?.connected === false) return
      await systemClock.sleep(20)
    }
  })()
})
