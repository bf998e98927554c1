import assert from 'node:assert/strict'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PointRow } from '../../src/api/schemas.ts'
import { World } from './harness.ts'

async function holesOf(world: World): Promise<PointRow[]> {
  const { out } = await world.atVault('points', 'documents', '--json')
  const rows = out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as PointRow)
  return rows.filter(({ kind }) => kind === 'hole')
}

test(
  'points in the time an agent was away are inexact where something was changed in it',
  { timeout: 180_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('one')
    await agent.process.start()
    const directory = world.directory('documents')
    writeFileSync(join(directory, 'one'), 'before')
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'documents')
    await world.quietMoment('documents')

    await agent.process.stop()
    await agent.process.start()
    await world.quietMoment('documents')
    assert.deepEqual(await holesOf(world), [], 'nothing was missed')

    const before = await world.quietMoment('documents')
    await sleep(1500)
    await agent.process.kill()
    await sleep(500)
    const inside = new Date().toISOString()
    appendFileSync(join(directory, 'one'), ', missed')
    await sleep(500)
    const after = new Date().toISOString()
    await agent.process.start()
    await world.quietMoment('documents')
    const [hole, ...more] = await holesOf(world)
    assert.ok(hole?.until !== undefined && more.length === 0)
    assert.ok(hole.moment > before && hole.moment < inside, `${before} ${hole.moment} ${inside}`)
    assert.ok(hole.until > after)
  },
)
