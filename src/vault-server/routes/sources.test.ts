import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { z } from 'zod'
import type { ApiClient } from '../../api/client.ts'
import { enrolAnswer, sourceStatus, tokenAnswer } from '../../api/schemas.ts'
import { parseToken } from '../../wire/enrolment.ts'
import { apiClient, vaultDoor } from '../../wire/http-client.ts'
import { createCsr, publicKeyFingerprint } from '../../wire/pki.ts'
import { fetchAuthority } from '../../wire/tls.ts'
import { type ServedVault, servedVault } from '../../../test/support/served-vault.ts'

/** A server let in at the vault, which asks with its certificate. */
async function enrolled(context: TestContext, { operator, host, port }: ServedVault, name: string): Promise<ApiClient> {
  const { token } = await operator.json('POST', '/v1/tokens', tokenAnswer, {})
  const { authority: fingerprint, secret } = parseToken(token)
  const authority = await fetchAuthority({ host, port, fingerprint }, publicKeyFingerprint, context.signal)
  const { csr, key } = await createCsr()
  using stranger = vaultDoor({ host, port, authority })
  const asked = { secret: secret.toString('base64url'), name, csr }
  const { certificate } = await apiClient(stranger).json('POST', '/v1/enrol', enrolAnswer, asked)
  const door = vaultDoor({ host, port, authority, credential: { certificate, key } })
  context.after(() => door[Symbol.dispose]())
  return apiClient(door)
}

const dayMs = 86_400_000
const windowOf = async (client: ApiClient): Promise<number> =>
  (await client.json('GET', '/v1/sources/docs', sourceStatus)).policy.windowMs

test('a server cannot have its own history deleted sooner, whoever has taken it over', async (context) => {
  const vault = await servedVault(context)
  const agent = await enrolled(context, vault, 'web')
  const wanted = { name: 'docs', kind: 'files', paths: ['/srv/docs'], policy: { windowMs: 30 * dayMs } }
  await agent.json('POST', '/v1/sources', sourceStatus, wanted)
  const shorten = (client: ApiClient, windowMs: number): Promise<unknown> =>
    client.json('PATCH', '/v1/sources/docs', z.unknown(), { policy: { windowMs, lagMsMax: 7_000 } })
  await assert.rejects(shorten(agent, 60_000), { code: 'not-allowed' })
  assert.equal(await windowOf(agent), 30 * dayMs)
  await shorten(agent, 40 * dayMs)
  await shorten(agent, 40 * dayMs)
  await assert.rejects(shorten(agent, 30 * dayMs), { code: 'not-allowed' })
  await shorten(vault.operator, 10 * dayMs)
  assert.equal(await windowOf(agent), 10 * dayMs)
})

test('what the link could not carry to a server is refused, not kept', async (context) => {
  const vault = await servedVault(context)
  const agent = await enrolled(context, vault, 'web')
  const wanted = { name: 'docs', kind: 'files', paths: ['/srv/docs'] }
  const long = 'x'.repeat(4097)
  for (const wrong of [{ paths: [`/${long}`] }, { exclude: [long] }]) {
    await assert.rejects(agent.json('POST', '/v1/sources', z.unknown(), { ...wanted, ...wrong }), {
      code: 'bad-request',
    })
  }
  await agent.json('POST', '/v1/sources', sourceStatus, wanted)
  for (const exclude of [[long], Array(1025).fill('*.tmp'), ['']]) {
    await assert.rejects(agent.json('PATCH', '/v1/sources/docs', z.unknown(), { exclude }), { code: 'bad-request' })
  }
})

test('a password in the URL of a database is never kept, and so never told', async (context) => {
  const vault = await servedVault(context)
  await enrolled(context, vault, 'web')
  const { operator } = vault
  const ask = (method: 'POST' | 'PATCH', path: string, body: object): Promise<unknown> =>
    operator.json(method, path, sourceStatus, body)
  const wanted = { name: 'shop', kind: 'postgres', agent: 'web' }
  for (const url of ['postgres://li:geheim@db/shop', 'postgres://db/shop?password=geheim']) {
    await assert.rejects(ask('POST', '/v1/sources', { ...wanted, postgres: { url } }), (error: Error) => {
      assert.match(error.message, /postgres\/url: holds a password/)
      assert.ok(!error.message.includes('geheim'))
      return true
    })
  }
  await ask('POST', '/v1/sources', { ...wanted, postgres: { url: 'postgres://li@db/shop' } })
  const change = { postgres: { url: 'postgres://li:geheim@db/shop' } }
  await assert.rejects(ask('PATCH', '/v1/sources/shop', change), { code: 'bad-request' })
})
