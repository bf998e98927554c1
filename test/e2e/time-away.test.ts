import assert from 'node:assert/strict'
import { appendFileSync, globSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PointRow } from '../../src/api/schemas.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import { type Agent, waitFor, World } from './harness.ts'

async function holesOf(world: World): Promise<PointRow[]> {
  const { out } = await world.atVault('points', 'documents', '--json')
  const rows = out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as PointRow)
  return rows.filter(({ kind }) => kind === 'hole')
}

/** Up to when an agent of one source remembers all to be captured. */
function notedBy(agent: Agent): string {
  const [path = ''] = globSync('sources/*/**/catalog.sqlite', { cwd: agent.folder })
  using catalog = new DatabaseSync(join(agent.folder, path), { readOnly: true })
  return isoMoment(moment(Number(catalog.prepare('SELECT drained FROM state').get()?.['drained'])))
}

test(
  'points in the time an agent was away are inexact where something was changed in it',
  { timeout: 900_000 },
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
    await waitFor(
      'the agent has noted that all until then is captured',
      async () => notedBy(agent),
      (noted) => noted > before,
    )
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
