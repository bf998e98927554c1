import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answer, ask, until } from '../../test/support/watched.ts'
import { testConsole, testVault } from '../../test/support/console-world.ts'
import { socketName } from './place.ts'

const readyOf = ({ status, text }: Answer): { status: number; ready: boolean; reasons: { message: string }[] } => ({
  status,
  ...(JSON.parse(text) as { ready: boolean; reasons: { message: string }[] }),
})

test('a console tells its metrics and whether it reaches its vaults at its own socket, and to nobody who is not signed in', async (context) => {
  const console = await testConsole(context)
  const door = { socketPath: join(console.directory, socketName) }
  assert.deepEqual(readyOf(await ask(door, '/readyz')).reasons, [])

  const vault = await testVault(context)
  const browser = await console.signedIn('system-administrator')
  await browser.done('POST', '/api/vaults', { body: { url: vault.address, token: await vault.token() } })
  await until('the vault is connected', async () =>
    (await ask(door, '/metrics')).text.includes('tidemark_console_vault_connected{vault="north"} 1'),
  )
  const { text } = await ask(door, '/metrics')
  assert.match(text, /^tidemark_console_sessions 1$/m)
  assert.match(text, /^tidemark_console_alarms\{severity="critical"\} 0$/m)
  assert.match(text, /^tidemark_console_audit_records_total [1-9]\d*$/m)
  assert.match(text, /^tidemark_console_answer_seconds_count\{status="2xx"\} [1-9]\d*$/m)
  assert.match(text, /^tidemark_console_vault_certificate_left_seconds\{vault="north"\} [1-9]\d*/m)

  await vault.stop()
  await until('the console is not ready', async () => readyOf(await ask(door, '/readyz')).status === 503)
  assert.match(readyOf(await ask(door, '/readyz')).reasons[0]?.message ?? '', /vault north .* is away/)
  assert.equal((await ask(door, '/healthz')).status, 200)

  const strange = { host: '127.0.0.1', port: console.port }
  for (const path of ['/metrics', '/healthz', '/readyz']) assert.equal((await ask(strange, path)).status, 401, path)
})
