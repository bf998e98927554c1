import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { agentDetails, type TaskBody, taskRecord, type TaskRecord } from '../../src/api/tasks.ts'
import { entry } from '../../src/api/schemas.ts'
import { systemClock } from '../../src/base/clock.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type Agent, command, differences, needsRsync, waitFor, World } from './harness.ts'

const atVault = (world: World) => socketApiClient(join(world.vaultFolder, 'api.sock'))

const begin = (world: World, body: TaskBody): Promise<TaskRecord> =>
  atVault(world).json('POST', '/v1/tasks', taskRecord, body)

const look = (world: World, { id }: TaskRecord): Promise<TaskRecord> =>
  atVault(world).json('GET', `/v1/tasks/${id}`, taskRecord)

/** Waits also while the vault does not answer. */
const until = (world: World, task: TaskRecord, what: string, holds: (task: TaskRecord) => boolean) =>
  waitFor(
    `a task: ${what}`,
    () => look(world, task).catch(() => undefined),
    (found) => found !== undefined && holds(found),
  ) as Promise<TaskRecord>

const ended = (world: World, task: TaskRecord): Promise<TaskRecord> =>
  until(world, task, 'its end', ({ state }) => !['waiting', 'running'].includes(state))

const restoring = (to: string): TaskBody & { kind: 'restore' } => ({
  kind: 'restore',
  agent: 'spare',
  source: 'docs',
  at: 'latest',
  to,
  paths: [],
  start: false,
})

/** Processes of a restore to there, by their command lines. */
function restoresTo(to: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`--to=${to}\0`)
    } catch {
      return false
    }
  })
}

/** A source with some bytes at one agent, and another agent that has nothing. */
async function scene(world: World, megabytes: number): Promise<{ owner: Agent; spare: Agent; docs: string }> {
  const owner = await world.join('web')
  const spare = await world.join('spare')
  await owner.process.start()
  await spare.process.start()
  const docs = world.directory('docs')
  for (let folder = 0; folder < 10; folder++) {
    mkdirSync(join(docs, `${folder}`))
    for (let file = 0; file < 10; file++)
      writeFileSync(join(docs, `${folder}`, `${file}`), randomBytes((megabytes * 1024 * 1024) / 100))
  }
  await world.atAgent(owner, 'protect', 'files', docs, '--name', 'docs')
  await world.quietMoment('docs')
  return { owner, spare, docs }
}

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

  const list = await atVault(world).json('GET', '/v1/tasks', z.array(taskRecord))
  assert.deepEqual(
    list.map(({ kind }) => kind),
    ['baseline', 'verify'],
  )
  await assert.rejects(begin(world, { kind: 'verify', source: 'none', at: 'latest' }), { code: 'not-found' })
  const asAgent = socketApiClient(join(agent.folder, 'api.sock'))
  await assert.rejects(asAgent.json('GET', '/v1/tasks', z.array(taskRecord)), { code: 'not-allowed' })
})

test(
  'a source comes back on another server, which may read it for as long as that takes',
  { skip: needsRsync },
  async (t) => {
    const world = await World.begin(t)
    const { spare, docs } = await scene(world, 4)
    const asSpare = socketApiClient(join(spare.folder, 'api.sock'))
    const read = () => asSpare.json('GET', `/v1/sources/docs/stat?path=${encodeURIComponent(docs)}`, entry)
    await assert.rejects(read(), { code: 'not-found' })
    const to = join(world.folder, 'back')
    const done = await ended(world, await begin(world, restoring(to)))
    assert.equal(done.state, 'done', JSON.stringify(done))
    assert.equal(done.result?.receipt?.['files'], 100)
    assert.equal(differences(docs, join(to, docs)), '')
    await assert.rejects(read(), { code: 'not-found' }, 'the grant is over')

    const again = await ended(world, await begin(world, restoring(to)))
    assert.equal(again.state, 'failed')
    assert.equal(again.error?.code, 'target-not-empty')
    assert.ok(again.error?.hint)
  },
)

for (const [who, kill] of [
  ['the agent', (_: World, spare: Agent) => spare.process.kill()],
  ['the vault', (world: World) => world.vault.kill()],
] as const) {
  test(
    `a restore goes on with the right bytes after ${who} was killed in its midst`,
    { skip: needsRsync },
    async (t) => {
      const world = await World.begin(t)
      const { spare, docs } = await scene(world, 200)
      const to = join(world.folder, 'back')
      const task = await begin(world, restoring(to))
      await until(world, task, 'some bytes', ({ progress, state }) => state !== 'running' || (progress?.bytes ?? 0) > 0)
      await kill(world, spare)
      await waitFor(
        'no process of it',
        async () => restoresTo(to),
        (found) => found.length === 0,
      )
      if (!spare.process.isRunning) await spare.process.start()
      if (!world.vault.isRunning) await world.vault.start()
      const stopped = await ended(world, task)
      assert.equal(stopped.state, 'interrupted', JSON.stringify(stopped))
      assert.ok(stopped.error?.hint)
      await atVault(world).json('POST', `/v1/tasks/${task.id}/resume`, taskRecord)
      const done = await ended(world, task)
      assert.equal(done.state, 'done', JSON.stringify(done))
      assert.equal(differences(docs, join(to, docs)), '')
    },
  )
}

test('a cancelled restore leaves no process, and its place can be gone on with by hand', async (t) => {
  const world = await World.begin(t)
  const { spare } = await scene(world, 200)
  const to = join(world.folder, 'back')
  const task = await begin(world, restoring(to))
  await until(world, task, 'some bytes', ({ progress, state }) => state !== 'running' || (progress?.bytes ?? 0) > 0)
  assert.equal(restoresTo(to).length, 1)
  await atVault(world).json('POST', `/v1/tasks/${task.id}/cancel`, taskRecord)
  const over = await ended(world, task)
  assert.equal(over.state, 'cancelled', JSON.stringify(over))
  assert.deepEqual(restoresTo(to), [])
  await world.atVault(
    'restore',
    'docs',
    '--at',
    String(over.log.map(({ line }) => /--at=(seq:\d+)/.exec(line)?.[1]).find(Boolean)),
    '--to',
    to,
    '--resume',
  )
  assert.ok(spare.process.isRunning)
})

test('what a server may send is limited by the vault at once, and told with how the server does', async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('web')
  await agent.process.start()
  const details = () => atVault(world).json('GET', '/v1/agents/web', agentDetails)
  const met = await waitFor('met', details, ({ connected, roundTripMs }) => connected && roundTripMs !== null)
  assert.match(String(met.software), /^tidemark /)
  assert.ok(met.certificateExpires !== null && met.address !== null && met.lastContact !== null)
  assert.equal(met.limitNow, null)
  const limit = { from: '00:00', to: '24:00', bytesPerSecond: 300 * 1024 }
  await atVault(world).json('PATCH', '/v1/agents/web', agentDetails, { limits: [limit] })
  const docs = world.directory('docs')
  writeFileSync(join(docs, 'large'), randomBytes(1024 * 1024))
  const began = systemClock.monotonicMs()
  await world.atAgent(agent, 'protect', 'files', docs, '--name', 'docs')
  await world.quietMoment('docs')
  assert.ok(systemClock.monotonicMs() - began > 2500, 'a megabyte takes its time')
  assert.equal((await details()).limitNow, 300 * 1024)
  // It is the vault's: it outlives both.
  await world.vault.stop()
  await world.vault.start()
  const again = await waitFor('met again', details, ({ connected }) => connected)
  assert.deepEqual(again.limits, [limit])
  await atVault(world).json('PATCH', '/v1/agents/web', agentDetails, {
    limits: [{ ...limit, bytesPerSecond: 64 * 1024 }],
  })
  writeFileSync(join(docs, 'more'), randomBytes(8 * 1024 * 1024))
  await world.until('docs', 'on the way', ({ dirty, lagBytes }) => dirty + lagBytes > 0)
  await atVault(world).json('PATCH', '/v1/agents/web', agentDetails, { limits: [] })
  const freed = systemClock.monotonicMs()
  await world.quietMoment('docs')
  assert.ok(systemClock.monotonicMs() - freed < 60_000, 'and not the two minutes of before')
})

const preflightOf = async (world: World, body: TaskBody & { kind: 'restore' }) => {
  const { kind: _, ...wanted } = body
  const done = await ended(world, await begin(world, { kind: 'preflight', ...wanted }))
  assert.equal(done.state, 'done', JSON.stringify(done))
  return Object.fromEntries((done.result?.preflight ?? []).map((row) => [row.check, row]))
}

test('a pre-flight check tells all that a restore would meet, and what of it stands in the way', async (t) => {
  const world = await World.begin(t)
  const { spare, docs } = await scene(world, 4)
  const free = await preflightOf(world, restoring(join(world.folder, 'back')))
  for (const check of ['agent', 'point', 'room', 'overwrites', 'duration'])
    assert.equal(free[check]?.verdict, 'good', JSON.stringify(free))
  assert.equal(free['room']?.code, 'room-enough')
  assert.ok(Number(free['room'].values?.['freeBytes']) > Number(free['room'].values?.['neededBytes']))
  const taken = await preflightOf(world, restoring(docs))
  assert.equal(taken['overwrites']?.verdict, 'refused')
  assert.ok(taken['overwrites'].hint)
  assert.equal(taken['overwrites'].code, 'target-filled')
  assert.equal(taken['overwrites'].values?.['path'], docs)
  assert.equal(taken['room']?.verdict, 'good', 'the other answers are there as well')
  const early = await preflightOf(world, { ...restoring('/srv/back'), at: '2001-01-01 00:00:00' })
  assert.equal(early['point']?.verdict, 'refused')
  await spare.process.stop()
  await waitFor(
    'away',
    async () => (await atVault(world).json('GET', '/v1/agents/spare', agentDetails)).connected,
    (is) => !is,
  )
  assert.equal((await preflightOf(world, restoring('/srv/back')))['agent']?.verdict, 'refused')
})

test('an agent tells what there is to protect, and what of it is protected', async (t) => {
  const world = await World.begin(t)
  const { docs } = await scene(world, 1)
  const done = await ended(world, await begin(world, { kind: 'discover', agent: 'web' }))
  assert.equal(done.state, 'done', JSON.stringify(done))
  const found = done.result?.discovered
  assert.ok(found !== undefined && found.mounts.length > 0 && found.directories.length > 0)
  assert.ok(found.mounts.some(({ bytes, usedBytes }) => bytes > 0 && usedBytes <= bytes))
  assert.ok(docs.startsWith('/'))
})

test(
  'a source comes back to its original place, once its name was given, and what was there stays beside it',
  { skip: needsRsync },
  async (t) => {
    const world = await World.begin(t)
    const { docs } = await scene(world, 2)
    const before = world.directory('before')
    cpSync(docs, before, { recursive: true, preserveTimestamps: true })
    const { sequence } = (await world.source('docs')) ?? { sequence: 0 }
    rmSync(join(docs, '3'), { recursive: true })
    writeFileSync(join(docs, 'later'), 'made since')
    await world.quietMoment('docs')
    const wanted = { ...restoring('/'), agent: 'web', at: `seq:${sequence}` }
    await assert.rejects(begin(world, { ...wanted, inPlace: 'doc' }), { code: 'bad-request' })
    await assert.rejects(begin(world, { ...wanted, agent: 'spare', inPlace: 'docs' }), { code: 'bad-request' })
    const row = (await preflightOf(world, { ...wanted, inPlace: 'docs' }))['overwrites']
    assert.equal(row?.verdict, 'warning')
    const done = await ended(world, await begin(world, { ...wanted, inPlace: 'docs' }))
    assert.equal(done.state, 'done', JSON.stringify(done))
    assert.deepEqual(readdirSync(docs).sort(), readdirSync(before).sort())
    assert.ok(readFileSync(join(docs, '3', '3')).equals(readFileSync(join(before, '3', '3'))))
    const kept = `${docs}.before-seq-${sequence}`
    assert.equal(readFileSync(join(kept, 'later'), 'utf8'), 'made since')
    await world.until('docs', 'protected again', ({ state }) => state === 'protected')
  },
)

test(
  'a script can do what the console can: tasks and limits from the command line',
  { skip: needsRsync },
  async (t) => {
    const world = await World.begin(t)
    const { docs } = await scene(world, 2)
    const to = join(world.folder, 'back')
    const checked = await world.atVault('restore', 'docs', '--to', to, '--on', 'spare', '--preflight')
    assert.match(checked.out, /overwrites +good/)
    const restored = await world.atVault('restore', 'docs', '--to', to, '--on', 'spare')
    assert.match(restored.out, /: done/)
    assert.equal(differences(docs, join(to, docs)), '')
    const list = (await world.atVault('tasks', '--json')).out.trim().split('\n')
    const [newest] = list.map((line) => taskRecord.parse(JSON.parse(line)))
    assert.equal(newest?.kind, 'restore')
    const one = await world.atVault('tasks', String(newest?.id).slice(0, 12))
    assert.match(one.out, /asked for by operator/)
    const again = await command([
      '--vault',
      world.vaultFolder,
      'restore',
      'docs',
      '--to',
      to,
      '--on',
      'spare',
      '--json',
    ])
    assert.equal(again.status, 1)
    assert.equal(
      taskRecord.parse(JSON.parse(again.out.trim().split('\n').at(-1) as string)).error?.code,
      'target-not-empty',
    )
    const refused = await command(['--vault', world.vaultFolder, 'tasks', 'cancel', String(newest?.id)])
    assert.match(refused.err, /next: /)
    const limited = await world.atVault('agents', 'limit', 'web', 'mon-fri 08:00-18:00=2MiB/s', '--json')
    assert.deepEqual(agentDetails.parse(JSON.parse(limited.out)).limits, [
      { days: [1, 2, 3, 4, 5], from: '08:00', to: '18:00', bytesPerSecond: 2 * 1024 * 1024 },
    ])
    assert.match((await world.atVault('agents', 'web')).out, /limits: mon,tue,wed,thu,fri 08:00-18:00=2.0 MiB\/s/)
    const found = (await world.atVault('agents', 'discover', 'web', '--json')).out.trim().split('\n').at(-1)
    assert.ok(taskRecord.parse(JSON.parse(String(found))).result?.discovered)
  },
)
