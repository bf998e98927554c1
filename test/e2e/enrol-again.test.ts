import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { readCredential } from '../../src/wire/authority.ts'
import { apiClient, vaultDoor } from '../../src/wire/http-client.ts'
import { type Agent, command, World } from './harness.ts'

/** One agent a line. */
async function agentsOf(world: World): Promise<{ id: string; name: string }[]> {
  const { out } = await world.atVault('agents', '--json')
  const agents = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; name: string })
  return agents.map(({ id, name }) => ({ id, name }))
}

const tokenFor = async (world: World, ...args: string[]): Promise<string> =>
  (JSON.parse((await world.atVault('vault', 'token', '--json', ...args)).out) as { token: string }).token

const joinWith = (world: World, folder: string, token: string) =>
  command(['agent', 'join', `127.0.0.1:${world.port}`, '--name', 'another', '--dir', folder], { TIDEMARK_TOKEN: token })

test('an agent enrols again in place and goes on', { timeout: 900_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('one')
  const enrolAgain = async ({ folder }: Agent) => joinWith(world, folder, await tokenFor(world))
  await agent.process.start()
  const directory = world.directory('documents')
  writeFileSync(join(directory, 'first'), 'before')
  await world.atAgent(agent, 'protect', 'files', directory, '--name', 'documents')
  await world.quietMoment('documents')
  const before = await agentsOf(world)

  const running = await enrolAgain(agent)
  assert.equal(running.status, 1)
  assert.match(running.err, /already works on/)

  // With its key, whether the certificate has expired or not.
  await agent.process.stop()
  const again = await enrolAgain(agent)
  assert.equal(again.status, 0, again.err)
  assert.match(again.out, /agent "one"/)
  await agent.process.start()
  writeFileSync(join(directory, 'second'), 'after')
  await world.quietMoment('documents')
  const { out } = await world.atVault('cat', `documents:${join(directory, 'second')}`)
  assert.equal(out, 'after')
  assert.deepEqual(await agentsOf(world), before)

  await agent.process.stop()
  await world.atVault('agents', '--revoke', 'one')
  const revoked = await enrolAgain(agent)
  assert.equal(revoked.status, 1)
  assert.match(revoked.err, /revoked/)
})

test('without the key of an agent only a token made for it takes its place', { timeout: 900_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('one')
  const other = await world.join('two')
  await agent.process.start()
  const directory = world.directory('documents')
  writeFileSync(join(directory, 'first'), 'before')
  await world.atAgent(agent, 'protect', 'files', directory, '--name', 'documents')
  await world.quietMoment('documents')
  await agent.process.stop()
  const before = await agentsOf(world)

  // Who knows the agent's id and has a token, with no key or with that of another agent.
  const token = await tokenFor(world)
  const thief = world.directory('thief')
  copyFileSync(join(agent.folder, 'identity.json'), join(thief, 'identity.json'))
  for (const key of [undefined, join(other.folder, 'credential.pem')]) {
    if (key !== undefined) copyFileSync(key, join(thief, 'credential.pem'))
    const refused = await joinWith(world, thief, token)
    assert.equal(refused.status, 1)
    assert.match(refused.err, /vault token --replaces one/)
  }

  // A token for one agent is none for another.
  const foreign = await joinWith(world, other.folder, await tokenFor(world, '--replaces', 'one'))
  assert.equal(foreign.status, 1)
  assert.match(foreign.err, /for another one/)

  // The machine is lost: an empty directory becomes that agent's.
  const lost = await readCredential(join(agent.folder, 'credential.pem'))
  assert.ok(lost)
  rmSync(agent.folder, { recursive: true })
  const replaced = await joinWith(world, agent.folder, await tokenFor(world, '--replaces', 'one'))
  assert.equal(replaced.status, 0, replaced.err)
  assert.match(replaced.out, /agent "one"/)
  await agent.process.start()
  writeFileSync(join(directory, 'second'), 'after')
  await world.quietMoment('documents')
  assert.equal((await world.atVault('cat', `documents:${join(directory, 'second')}`)).out, 'after')

  // Whoever has the lost machine is nobody to the vault any more.
  const identity = JSON.parse(readFileSync(join(agent.folder, 'identity.json'), 'utf8')) as { authority: string }
  using door = vaultDoor({ host: '127.0.0.1', port: world.port, authority: identity.authority, credential: lost })
  await assert.rejects(apiClient(door).json('GET', '/v1/status', z.unknown()), { code: 'not-allowed' })
  assert.deepEqual(await agentsOf(world), before)
})
