import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { type TaskBody, taskRecord, type TaskRecord } from '../../src/api/tasks.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { waitFor, World } from './harness.ts'

const begin = (world: World, body: TaskBody): Promise<TaskRecord> =>
  socketApiClient(join(world.vaultFolder, 'api.sock')).json('POST', '/v1/tasks', taskRecord, body)

const ended = (world: World, { id }: TaskRecord): Promise<TaskRecord> =>
  waitFor(
    'the end of a task',
    () => socketApiClient(join(world.vaultFolder, 'api.sock')).json('GET', `/v1/tasks/${id}`, taskRecord),
    ({ state }) => !['waiting', 'running'].includes(state),
  )

test('the vault reads back what it keeps, and has a source compared anew, as tasks', async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('web')
  await agent.process.start()
  const docs = world.directory('docs')
  writeFileSync(join(docs, 'a'), 'something')
  await world.atAgent(agent, 'protect', 'files', docs, '--name', 'docs')
  await world.quietMoment('docs')

  const verified = await ended(world, await begin(world, { kind: 'verify', source: 'docs', at: 'latest' }))
  assert.equal(verified.state, 'done', JSON.stringify(verified))
  assert.equal(verified.result?.receipt?.['bytes'], 9)

  const compared = await ended(world, await begin(world, { kind: 'baseline', source: 'docs' }))
  assert.equal(compared.state, 'done', JSON.stringify(compared))

  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const list = await client.json('GET', '/v1/tasks', z.array(taskRecord))
  assert.deepEqual(
    list.map(({ kind }) => kind),
    ['baseline', 'verify'],
  )
  await assert.rejects(begin(world, { kind: 'verify', source: 'none', at: 'latest' }), { code: 'not-found' })
  const asAgent = socketApiClient(join(agent.folder, 'api.sock'))
  await assert.rejects(asAgent.json('GET', '/v1/tasks', z.array(taskRecord)), { code: 'not-allowed' })
})
