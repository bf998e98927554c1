import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answer, ask as askAt } from '../support/watched.ts'
import { waitFor, World } from './harness.ts'

const told = ['--log-format', 'json', '--log-level', 'debug']

const ask = (folder: string, path: string): Promise<Answer> => askAt({ socketPath: join(folder, 'api.sock') }, path)

/** The value of one series, or undefined where it is not told. */
async function metric(folder: string, series: string): Promise<number | undefined> {
  const line = (await ask(folder, '/metrics')).text.split('\n').find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

type Line = Record<string, string | number>

const linesOf = (log: string): Line[] =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)

test('vault and agent tell how they do, and one name follows each batch from one to the other', async (t) => {
  const world = await World.begin(t, undefined, told)
  const agent = await world.join('web-1', told)
  await agent.process.start()
  const documents = world.directory('documents')
  writeFileSync(join(documents, 'letter.txt'), 'a letter')
  writeFileSync(join(documents, 'book.txt'), Array.from({ length: 20_000 }, (_, line) => `line ${line}\n`).join(''))
  await world.atAgent(agent, 'protect', 'files', documents, '--name', 'documents')
  await world.quietMoment('documents')
  writeFileSync(join(documents, 'second.txt'), 'another letter')
  await world.quietMoment('documents')
  const of = '{source="documents"}'

  const { sequence } = (await world.source('documents'))!
  assert.equal(await metric(world.vaultFolder, `tidemark_vault_source_durable_sequence${of}`), sequence)
  assert.equal(await metric(world.vaultFolder, 'tidemark_vault_source_state{source="documents",state="protected"}'), 1)
  assert.equal(await metric(world.vaultFolder, `tidemark_vault_source_changes_total${of}`), sequence)
  assert.equal(await metric(world.vaultFolder, 'tidemark_vault_agent_connected{agent="web-1"}'), 1)
  assert.ok((await metric(world.vaultFolder, `tidemark_vault_source_lag_seconds${of}`))! < 10)
  assert.ok((await metric(world.vaultFolder, 'tidemark_vault_write_seconds_count{file="journal"}'))! >= 2)
  assert.ok((await metric(world.vaultFolder, 'tidemark_vault_write_seconds_count{file="packs"}'))! >= 1)

  assert.equal(await metric(agent.folder, 'tidemark_agent_connected'), 1)
  assert.equal(await metric(agent.folder, `tidemark_agent_source_backlog_changes${of}`), 0)
  assert.equal(await metric(agent.folder, `tidemark_agent_source_captured_changes_total${of}`), sequence)
  const sent = (await metric(agent.folder, `tidemark_agent_source_sent_bytes_total${of}`))!
  assert.equal(await metric(world.vaultFolder, `tidemark_vault_source_received_bytes_total${of}`), sent)
  assert.equal(
    await metric(agent.folder, 'tidemark_agent_acknowledged_seconds_count'),
    await metric(world.vaultFolder, `tidemark_vault_source_batches_total${of}`),
  )

  // Health.
  assert.equal((await ask(agent.folder, '/readyz')).status, 200)
  await world.vault.stop()
  const away = await waitFor(
    'the agent is not ready',
    () => ask(agent.folder, '/readyz'),
    ({ status }) => status === 503,
  )
  const [reason] = (JSON.parse(away.text) as { reasons: { code: string; message: string; hint: string }[] }).reasons
  assert.equal(reason?.code, 'unreachable')
  assert.ok(reason.hint.length > 10 && reason.message.length > 10, away.text)
  assert.equal((await ask(agent.folder, '/healthz')).status, 200)
  await world.vault.start()
  await waitFor(
    'the agent is ready again',
    () => ask(agent.folder, '/readyz'),
    ({ status }) => status === 200,
  )
  await waitFor(
    'the second connection is counted',
    () => metric(agent.folder, 'tidemark_agent_connections_total'),
    (count) => count === 2,
  )
  await agent.process.stop()
  await waitFor(
    'the vault tells that the agent is away',
    () => metric(world.vaultFolder, 'tidemark_vault_agent_connected{agent="web-1"}'),
    (connected) => connected === 0,
  )
  assert.equal((await ask(world.vaultFolder, '/readyz')).status, 200)
  await world.vault.stop()

  // The way of each batch.
  const atAgent = linesOf(agent.process.log).filter(({ batch }) => batch !== undefined)
  const atVault = new Map(linesOf(world.vault.log).flatMap((line) => (line['batch'] ? [[line['batch'], line]] : [])))
  assert.ok(atAgent.length >= 2)
  for (const { batch, first, last, captured, sent: left, acknowledged } of atAgent) {
    const there = atVault.get(batch!)
    assert.ok(there, `the vault tells of ${batch}`)
    assert.deepEqual([there['first'], there['last']], [first, last])
    assert.ok(captured! <= left! && left! <= acknowledged!, `${captured} ${left} ${acknowledged}`)
    assert.ok(there['received']! <= there['durable']!, JSON.stringify(there))
    // All on one machine, by one clock: it is not acknowledged before it is durable.
    assert.ok(there['durable']! <= acknowledged!, `${JSON.stringify(there)} ${acknowledged}`)
  }

  // Nothing secret stands in the logs: no key, no token, no content.
  const logs = readFileSync(agent.process.log, 'latin1') + readFileSync(world.vault.log, 'latin1')
  assert.ok(!logs.includes('a letter') && !logs.includes('PRIVATE KEY'))
  for (const name of readdirSync(world.vaultFolder).filter((one) => one.endsWith('.key'))) {
    const key = readFileSync(join(world.vaultFolder, name))
    for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) assert.ok(!logs.includes(key.toString(form)))
  }
})
