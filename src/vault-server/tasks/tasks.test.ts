import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type TaskBody, tasksKeptMax, tasksRunningMax } from '../../api/tasks.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { Id } from '../../model/source.ts'
import type { TaskWork } from '../../wire/orders.ts'
import type { AgentOrder, AgentOrders, AgentPeer } from '../../wire/ports.ts'
import { KeptTasks } from './kept-tasks.ts'
import type { Plan } from './plan.ts'
import { type DoAtVault, Tasks } from './tasks.ts'

const agent = 'a'.repeat(32) as Id
const source = 'b'.repeat(32) as Id
const body: TaskBody = { kind: 'verify', source: 'docs', at: 'latest' }
const restoring: TaskBody = {
  kind: 'restore',
  agent: 'web',
  source: 'docs',
  at: 'latest',
  to: '/srv/back',
  paths: [],
  start: false,
}
const work: TaskWork = {
  kind: 'restore',
  steps: [{ source: 'docs', kind: 'files', at: 'seq:7', to: '/srv/back' }],
  paths: [],
  start: false,
  isInPlace: false,
}
const forAgent = { agent: { id: agent, name: 'web' }, sources: [source], work } as unknown as Plan
const forVault: Plan = { sources: [source] }
const peer: AgentPeer = { agent, version: 2, software: 'tidemark test', server: undefined, roundTripMs: () => 1 }

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-tasks-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

function opened(t: TestContext, directory: string, told: string[] = []): Tasks {
  const kept = KeptTasks.open(join(directory, 'tasks.sqlite'), (line) => void told.push(line))
  const tasks = new Tasks({ kept, clock: systemClock, random: systemRandom, tell: (line) => void told.push(line) })
  t.after(() => tasks[Symbol.asyncDispose]())
  return tasks
}

/** What is ordered, as it comes. */
function listening({ orders }: AgentOrders): AgentOrder[] {
  const heard: AgentOrder[] = []
  void (async () => {
    for await (const order of orders) heard.push(order)
  })()
  return heard
}

const atOnce: DoAtVault = async (_body, _source, told) => {
  told.log('looked')
  return { state: 'done', result: { receipt: { bytes: 5 } } }
}
/** Until it is stopped. */
const never: DoAtVault = (_body, _source, _told, signal) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

test('a task of the vault is done, with its log and result, and is there after a restart', async (t) => {
  const directory = folder(t)
  const tasks = opened(t, directory)
  tasks.begin(atOnce)
  const { id, by, state } = tasks.add(body, '张三', forVault)
  assert.deepEqual({ by, state }, { by: '张三', state: 'running' })
  await until('done', () => tasks.get(id).state === 'done')
  await tasks[Symbol.asyncDispose]()
  const again = opened(t, directory)
  const { result, log } = again.get(id)
  assert.deepEqual(result, { receipt: { bytes: 5 } })
  assert.deepEqual(
    log.map(({ line }) => line),
    ['asked for by 张三', 'looked', 'done'],
  )
  assert.deepEqual(again.list({ limit: 10 }), [{ ...again.get(id), log: [] }])
})

test('what the vault did when it stopped is interrupted, and done when it is resumed', async (t) => {
  const directory = folder(t)
  const tasks = opened(t, directory)
  tasks.begin(never)
  const { id } = tasks.add(body, 'operator', forVault)
  await tasks[Symbol.asyncDispose]()
  const again = opened(t, directory)
  again.begin(atOnce)
  assert.equal(again.get(id).state, 'interrupted')
  assert.ok(again.get(id).error?.hint)
  again.resume(id, 'operator')
  await until('done', () => again.get(id).state === 'done')
  assert.equal(again.get(id).error, undefined)
  assert.throws(() => again.resume(id, 'operator'), { code: 'bad-request' })
  assert.throws(() => again.cancel(id, 'operator'), { code: 'bad-request' })
  assert.throws(() => again.get('0'.repeat(32)), { code: 'not-found' })
})

test('a vault that dies while it does something finds it interrupted', (t) => {
  const directory = folder(t)
  const tasks = opened(t, directory)
  tasks.begin(never)
  const { id } = tasks.add(body, 'operator', forVault)
  // Another process reads the same file, as after a death; nothing was closed.
  assert.equal(opened(t, directory).get(id).state, 'interrupted')
})

test('a cancelled task of the vault is stopped', async (t) => {
  const tasks = opened(t, folder(t))
  tasks.begin(never)
  const { id } = tasks.add(body, 'operator', forVault)
  tasks.cancel(id, 'operator')
  await until('cancelled', () => tasks.get(id).state === 'cancelled')
})

test('an agent is told when it comes, again after each reconnect, and no more once it has told the end', async (t) => {
  const tasks = opened(t, folder(t))
  const { id, state } = tasks.add(restoring, 'operator', forAgent)
  assert.equal(state, 'waiting')
  const first = listening(tasks.connect(peer))
  await until('ordered', () => first.length === 1)
  assert.deepEqual(first[0], { kind: 'task', id, run: 1, logged: 0, work })
  const session = tasks.connect(peer)
  const second = listening(session)
  await until('ordered again', () => second.length === 1)
  const lines = [{ at: 5, line: 'one' }]
  session.reported({ id: id as Id, run: 1, state: 'running', first: 0, lines })
  // The same lines come twice where an answer was lost.
  session.reported({ id: id as Id, run: 1, state: 'running', first: 0, lines: [...lines, { at: 6, line: 'two' }] })
  const third = listening(tasks.connect(peer))
  await until('ordered with what is known', () => third.length === 1)
  assert.deepEqual(third[0], { kind: 'task', id, run: 1, logged: 2, work })
  session.reported({ id: id as Id, run: 1, state: 'done', first: 2, lines: [], result: { receipt: { files: 3 } } })
  assert.deepEqual(
    tasks.get(id).log.map(({ line }) => line),
    ['asked for by operator', 'one', 'two', 'done'],
  )
  const fourth = listening(tasks.connect(peer))
  tasks.add(restoring, 'operator', forAgent)
  await until('only what is new', () => fourth.length === 1)
  assert.notEqual((fourth[0] as { id: string }).id, id)
})

test('an agent may read the sources of its task from its beginning to its end or cancellation', (t) => {
  const tasks = opened(t, folder(t))
  const reads = (): string[] => [...tasks.granted(agent)]
  const { id } = tasks.add(restoring, 'operator', forAgent)
  assert.deepEqual(reads(), [], 'it has not begun')
  const session = tasks.connect(peer)
  assert.deepEqual(reads(), [source])
  assert.deepEqual([...tasks.granted('c'.repeat(32) as Id)], [], 'another agent may not')
  session.reported({ id: id as Id, run: 1, state: 'interrupted', first: 0, lines: [] })
  assert.deepEqual(reads(), [])
  tasks.resume(id, 'operator')
  assert.deepEqual(reads(), [source])
  tasks.cancel(id, 'operator')
  assert.deepEqual(reads(), [], 'from the moment of the cancellation, whatever the agent says')
  assert.equal(tasks.get(id).state, 'running', 'the agent has not stopped it yet')
  session.reported({ id: id as Id, run: 2, state: 'cancelled', first: 0, lines: [] })
  assert.equal(tasks.get(id).state, 'cancelled')
  const { id: other } = tasks.add(restoring, 'operator', forAgent)
  assert.deepEqual(reads(), [source])
  tasks.revoked(agent)
  assert.deepEqual(reads(), [])
  assert.equal(tasks.get(other).state, 'failed')
})

test('what an agent goes on with though it is over here is cancelled', async (t) => {
  const tasks = opened(t, folder(t))
  const session = tasks.connect(peer)
  const { id } = tasks.add(restoring, 'operator', forAgent)
  session[Symbol.dispose]()
  tasks.cancel(id, 'operator')
  assert.equal(tasks.get(id).state, 'cancelled', 'the agent is away')
  const again = tasks.connect(peer)
  const heard = listening(again)
  again.reported({ id: id as Id, run: 1, state: 'running', first: 0, lines: [] })
  await until('a cancellation', () => heard.length === 1)
  assert.deepEqual(heard, [{ kind: 'task-cancel', id, run: 1 }])
})

test('an agent does a few at once, and an agent of before there were tasks none', async (t) => {
  const tasks = opened(t, folder(t))
  const session = tasks.connect(peer)
  const added = Array.from({ length: tasksRunningMax + 2 }, () => tasks.add(restoring, 'operator', forAgent).id)
  const states = (): string[] => added.map((id) => tasks.get(id).state)
  assert.deepEqual(states(), [...Array<string>(tasksRunningMax).fill('running'), 'waiting', 'waiting'])
  session.reported({ id: added[1] as Id, run: 1, state: 'done', first: 0, lines: [] })
  assert.deepEqual(states().slice(-2), ['running', 'waiting'])
  tasks.connect({ ...peer, version: 1 })
  assert.deepEqual(new Set(states()), new Set(['done', 'failed']))
  assert.equal(tasks.get(added[0] as string).error?.code, 'version-refused')
})

test('of ended tasks the newest are kept', async (t) => {
  const tasks = opened(t, folder(t))
  tasks.begin(atOnce)
  const ids: string[] = []
  for (let count = 0; count < tasksKeptMax + 3; count++) {
    const { id } = tasks.add(body, 'operator', forVault)
    ids.push(id)
    await until('done', () => tasks.list({ state: 'running', limit: 1 }).length === 0)
  }
  assert.equal(tasks.list({ limit: 1000 }).length, tasksKeptMax)
  assert.throws(() => tasks.get(ids[2] as string), { code: 'not-found' })
  assert.equal(tasks.get(ids[3] as string).state, 'done')
})

test('a record of tasks that cannot be read is put aside, and told', (t) => {
  const directory = folder(t)
  writeFileSync(join(directory, 'tasks.sqlite'), 'no database, and longer than the header of one '.repeat(10))
  const told: string[] = []
  const tasks = opened(t, directory, told)
  assert.deepEqual(tasks.list({ limit: 10 }), [])
  assert.match(told.join(), /put aside/)
})
