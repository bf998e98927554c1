import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
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

test('an agent whose certificate is gone enrols again in place and goes on', { timeout: 180_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('one')
  const enrolAgain = async ({ folder }: Agent) => {
    const { token } = JSON.parse((await world.atVault('vault', 'token', '--json')).out) as { token: string }
    return command(['agent', 'join', `127.0.0.1:${world.port}`, '--name', 'another', '--dir', folder], {
      TIDEMARK_TOKEN: token,
    })
  }
  await agent.process.start()
  const directory = world.directory('documents')
  writeFileSync(join(directory, 'first'), 'before')
  await world.atAgent(agent, 'protect', 'files', directory, '--name', 'documents')
  await world.quietMoment('documents')
  const before = await agentsOf(world)

  const running = await enrolAgain(agent)
  assert.equal(running.status, 1)
  assert.match(running.err, /already works on/)

  await agent.process.stop()
  rmSync(join(agent.folder, 'credential.pem'))
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
