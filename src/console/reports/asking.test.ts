import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { report } from '../../api/console.ts'
import { tokenAnswer, vaultStatus } from '../../api/schemas.ts'
import { testConsole } from '../../../test/support/console-world.ts'
import { servedVault } from '../../../test/support/served-vault.ts'
import { until } from '../../../test/support/until.ts'
import { addAgentWithSource, definition } from '../../../test/support/vault-world.ts'

const sources = 60

test('a report of many sources asks their vault for a few at a time', async (context) => {
  const vault = await servedVault(context, async (prepared) => {
    const { agent, source } = await addAgentWithSource(prepared, 'web-0')
    await prepared.registry.changeSource(source, { system: 'shop' })
    for (let at = 1; at < sources; at++) await prepared.addSource({ ...definition(`web-${at}`, agent), system: 'shop' })
  })
  const open = { now: 0, most: 0 }
  const relay = net.createServer((near) => {
    open.most = Math.max(open.most, ++open.now)
    const far = net.connect(vault.port, vault.host)
    near.pipe(far).pipe(near)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
    near.on('close', () => open.now--)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  context.after(() => relay.close())
  const console = await testConsole(context)
  const { token } = await vault.operator.json('POST', '/v1/consoles/tokens', tokenAnswer, {})
  const administrator = await console.signedIn('system-administrator')
  const { port } = relay.address() as AddressInfo
  await administrator.done('POST', '/api/vaults', { body: { url: `127.0.0.1:${port}`, token } })
  const told = async (): Promise<boolean> =>
    (await administrator.ask('GET', '/api/vaults/north/v1/status')).status === 200 &&
    vaultStatus.parse(await administrator.done('GET', '/api/vaults/north/v1/status')).sources.length === sources
  await until('the vault is reached', told)
  const viewer = await console.signedIn('viewer')
  const path = '/api/reports/shop/2026-11'
  await until('all are in the report', async () => {
    const answer = await viewer.ask('GET', path)
    return answer.status === 200 && report.parse(answer.body).sources.length === sources
  })
  assert.ok(open.most < sources, `${open.most} connections at once`)
})
