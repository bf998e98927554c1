import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lackingPostgres, type PostgresMajor } from '../../../test/support/postgres-program.ts'
import { Receiver } from '../../../test/support/postgres-receiver.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { Id, SourceDefinition, ZeroLoss } from '../../model/source.ts'
import { releasePostgres } from './release.ts'
import { type UnprotectedSpan, ZeroLossKeeper } from './zero-loss.ts'

const middle = 17
const onMiddle = { skip: lackingPostgres(middle) }
const id = '0123456789abcdef0123456789abcdef' as Id
const name = 'tidemark_0123456789abcdef'
const account = { user: 'postgres', homeFolder: '/nonexistent', environment: {} }
const doors = { clock: systemClock, random: systemRandom }
const never = new AbortController().signal

interface Keeping extends AsyncDisposable {
  readonly keeper: ZeroLossKeeper
  readonly spans: UnprotectedSpan[]
}

/** Silence lasts as long as a test says, however slow the machine is. */
class SilenceClock implements Clock {
  readonly now = systemClock.now
  ms = 0

  monotonicMs(): number {
    return this.ms
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(Math.min(ms, 20), signal)
  }
}

interface KeepOptions {
  readonly url?: string
  readonly clock?: Clock
}

function keep(
  cluster: Cluster,
  zeroLoss: ZeroLoss | undefined,
  { url = cluster.url, clock = systemClock }: KeepOptions = {},
): Keeping {
  const spans: UnprotectedSpan[] = []
  const server = { url, account, applicationName: name, ...doors }
  const keeper = new ZeroLossKeeper({
    server,
    zeroLoss,
    clock,
    capturedAt: undefined,
    unprotected: (span) => void spans.push(span),
  })
  const stop = new AbortController()
  const running = keeper.run(stop.signal)
  return {
    keeper,
    spans,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('stopped'))
      await running
    },
  }
}

const names = async (cluster: Cluster): Promise<string> =>
  (await cluster.sql('SHOW synchronous_standby_names'))[0]?.[0] ?? ''

const codes = ({ keeper }: Keeping): string[] => keeper.problems().map(({ code }) => code)

const isDone = async (work: Promise<unknown>, withinMs: number): Promise<boolean> =>
  await Promise.race([work.then(() => true), systemClock.sleep(withinMs).then(() => false)])

const source = (cluster: Cluster, url = cluster.url): SourceDefinition => ({
  id,
  name: 'orders',
  kind: 'postgres',
  agent: id,
  paths: [],
  exclude: [],
  postgres: { url, baselineMs: 86_400_000, walKeptBytesMax: 1024 ** 3, zeroLoss: {} },
  policy: { windowMs: 1, reconcileMs: 1, lagMsMax: 1 },
  paused: false,
})

async function clusterWithTable(t: Parameters<typeof Cluster.create>[0], major: PostgresMajor = middle) {
  const cluster = await Cluster.create(t, { major })
  await cluster.sql('CREATE TABLE t (n int)')
  return cluster
}

for (const major of [12, 15, 18] as const) {
  test(
    `version ${major}: commits wait once the receiver has caught up, and not before`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const cluster = await clusterWithTable(t, major)
      await using receiver = await Receiver.start(cluster, name)
      await using keeping = keep(cluster, {})
      keeping.keeper.line(true)
      await until('it is told that it waits', () => codes(keeping).includes('zero-loss-waiting'))
      assert.equal(await names(cluster), '')
      keeping.keeper.caughtUp(true)
      await until('it is on', () => keeping.keeper.isOn)
      assert.equal(await names(cluster), name)
      await until('nothing is wrong', () => codes(keeping).length === 0)
      await cluster.heeds()
      await cluster.sql('INSERT INTO t VALUES (1)')
      receiver.acknowledges = false
      const commit = cluster.sql('INSERT INTO t VALUES (2)')
      assert.equal(await isDone(commit, 700), false)
      receiver.acknowledges = true
      // The next WAL brings the next acknowledgement.
      await cluster.sql('SELECT pg_switch_wal()')
      await commit
    },
  )
}

test('a receiver that does not stream is not waited for', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await using keeping = keep(cluster, {})
  keeping.keeper.line(true)
  keeping.keeper.caughtUp(true)
  await systemClock.sleep(1500)
  assert.equal(await names(cluster), '')
})

test('the agent is gone and the source let go: commits that wait go on, and new ones do', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  {
    await using receiver = await Receiver.start(cluster, name)
    await using keeping = keep(cluster, {})
    keeping.keeper.line(true)
    keeping.keeper.caughtUp(true)
    await until('it is on', () => keeping.keeper.isOn)
    await cluster.heeds()
    await cluster.sql('INSERT INTO t VALUES (1)')
    assert.equal(receiver.acknowledges, true)
  }
  assert.equal(await names(cluster), name)
  const waiting = [cluster.sql('INSERT INTO t VALUES (2)'), cluster.sql('INSERT INTO t VALUES (3)')]
  assert.equal(await isDone(Promise.race(waiting), 700), false)
  await releasePostgres(source(cluster), { account, ...doors }, never)
  await Promise.all(waiting)
  await cluster.sql('INSERT INTO t VALUES (4)')
  assert.deepEqual(await cluster.sql('SELECT count(*) FROM t'), [['4']])
  assert.equal(await names(cluster), '')
  assert.deepEqual(await cluster.sql('SELECT slot_name FROM pg_replication_slots'), [])
  await cluster.restart()
  assert.equal(await names(cluster), '')
  await releasePostgres(source(cluster), { account, ...doors }, never)
})

test('a source is let go while its receiver still streams, and what an operator has set stays', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (${name}, "Other one")'`)
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) !== '')
  await using receiver = await Receiver.start(cluster, name)
  await releasePostgres(source(cluster), { account, ...doors }, never)
  assert.ok((await receiver.ended) instanceof Error)
  assert.equal(await names(cluster), '"Other one"')
})

test('a name of ours in postgresql.conf is taken out as well', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  cluster.configure({ synchronous_standby_names: name })
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) === name)
  await releasePostgres(source(cluster), { account, ...doors }, never)
  assert.equal(await names(cluster), '')
  await cluster.sql('INSERT INTO t VALUES (1)')
})

test('every member of a cluster is let go, also when another one is away', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await cluster.sql(`SELECT pg_create_physical_replication_slot('${name}')`)
  const url = `postgres://postgres@127.0.0.1:1,127.0.0.1:${cluster.port}/postgres`
  await assert.rejects(releasePostgres(source(cluster, url), { account, ...doors }, never), /127\.0\.0\.1:1/)
  assert.deepEqual(await cluster.sql('SELECT slot_name FROM pg_replication_slots'), [])
})

test(
  'without an answer for as long as allowed commits go on, the span is noted, and then they wait again',
  onMiddle,
  async (t) => {
    const cluster = await clusterWithTable(t)
    await using receiver = await Receiver.start(cluster, name)
    const clock = new SilenceClock()
    await using keeping = keep(cluster, { degradeMs: 2500 }, { clock })
    keeping.keeper.line(true)
    keeping.keeper.caughtUp(true)
    await until('it is on', () => keeping.keeper.isOn)
    keeping.spans.length = 0
    await cluster.heeds()
    receiver.acknowledges = false
    const commit = cluster.sql('INSERT INTO t VALUES (1)')
    keeping.keeper.caughtUp(false)
    for (let heard = 0; heard < 10; heard += 1) {
      clock.ms += 2000
      keeping.keeper.acknowledged()
      assert.equal(await isDone(commit, 100), false)
    }
    clock.ms += 2500
    await commit
    assert.equal(await names(cluster), '')
    assert.equal(keeping.spans.length, 1)
    await until('it is told', () => codes(keeping).join() === 'zero-loss-degraded')
    receiver.acknowledges = true
    keeping.keeper.caughtUp(true)
    await until('it is on again', () => keeping.keeper.isOn)
    assert.equal(await names(cluster), name)
    const [began, ended] = keeping.spans
    assert.ok(began && ended?.until && ended.since === began.since && ended.until > ended.since)
  },
)

test(
  'the time before commits wait for the first time is an unprotected span, and so is what follows when somebody takes our name out',
  onMiddle,
  async (t) => {
    const cluster = await clusterWithTable(t)
    await using receiver = await Receiver.start(cluster, name)
    const before = systemClock.now()
    await using keeping = keep(cluster, {})
    await until('it is noted', () => keeping.spans.length === 1)
    const [first] = keeping.spans
    assert.ok(first && first.until === undefined && first.since >= before && first.since <= systemClock.now())
    await until('it is told', () => codes(keeping).join() === 'zero-loss-waiting')
    assert.match(keeping.keeper.problems()[0]?.message ?? '', /^since \d{4}-.* commits have not waited for the vault/)

    keeping.keeper.line(true)
    keeping.keeper.caughtUp(true)
    await until('it is on', () => keeping.keeper.isOn && keeping.spans.length === 2)
    const ended = keeping.spans[1]
    assert.ok(ended?.until !== undefined && ended.since === first.since && ended.until > first.since)
    await until('nothing is wrong', () => codes(keeping).length === 0)

    keeping.keeper.line(false)
    await cluster.sql('ALTER SYSTEM RESET synchronous_standby_names')
    cluster.reload()
    await until('it is noted', () => keeping.spans.length === 3)
    const again = keeping.spans[2]
    assert.ok(again && again.until === undefined && again.since >= ended.until)
    assert.equal(receiver.acknowledges, true)
  },
)

test('commits wait for ever where they are to, and it is told how to let them go', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await using receiver = await Receiver.start(cluster, name)
  await using keeping = keep(cluster, {})
  keeping.keeper.line(true)
  keeping.keeper.caughtUp(true)
  await until('it is on', () => keeping.keeper.isOn)
  await cluster.heeds()
  receiver.acknowledges = false
  const commit = cluster.sql('INSERT INTO t VALUES (1)')
  keeping.keeper.line(false)
  await until('it is told', () => codes(keeping).includes('zero-loss-blocked'))
  assert.equal(await isDone(commit, 500), false)
  const { hint = '' } = keeping.keeper.problems().find(({ code }) => code === 'zero-loss-blocked') ?? {}
  for (const statement of hint.replace(/^.*?: /, '').split(/(?<=;) /)) await cluster.sql(statement)
  await commit
})

test('a setting of the operator without our name is not touched, and the line for it is told', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  cluster.configure({ synchronous_standby_names: 'ANY 1 (a, b)', synchronous_commit: 'local' })
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) !== '')
  await using receiver = await Receiver.start(cluster, name)
  await using keeping = keep(cluster, {})
  keeping.keeper.line(true)
  keeping.keeper.caughtUp(true)
  await until('it is told', () => codes(keeping).includes('zero-loss-names'))
  assert.equal(await names(cluster), 'ANY 1 (a, b)')
  assert.ok(codes(keeping).includes('zero-loss-commit'))
  const { hint = '' } = keeping.keeper.problems().find(({ code }) => code === 'zero-loss-names') ?? {}
  assert.match(hint, /'FIRST 2 \(tidemark_0123456789abcdef, a, b\)'/)
  assert.equal(receiver.acknowledges, true)
})

test("an operator's setting with our name is taken as it is; degraded and back it is the same", onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  const setting = `FIRST 2 (${name}, other)`
  cluster.configure({ synchronous_standby_names: setting })
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) === setting)
  await using first = await Receiver.start(cluster, name)
  await using second = await Receiver.start(cluster, 'other')
  const clock = new SilenceClock()
  await using keeping = keep(cluster, { degradeMs: 1000 }, { clock })
  keeping.keeper.line(true)
  keeping.keeper.caughtUp(true)
  await until('it is on', () => keeping.keeper.isOn)
  first.acknowledges = false
  keeping.keeper.line(false)
  const commit = cluster.sql('INSERT INTO t VALUES (1)')
  clock.ms += 1000
  await until('commits wait for the other one', async () => (await names(cluster)) === 'other')
  await until('it goes on', () => {
    second.repeat()
    return isDone(commit, 20)
  })
  keeping.keeper.line(true)
  await until('it is on again', () => keeping.keeper.isOn)
  assert.equal(await names(cluster), setting)
  await until('nothing is wrong', () => codes(keeping).length === 0)
  assert.equal(second.acknowledges, true)
})

test('where no zero loss is wanted any more, what an earlier agent has set is taken back', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`)
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) === name)
  await using keeping = keep(cluster, undefined)
  await until('it is gone', async () => (await names(cluster)) === '')
  assert.deepEqual(keeping.keeper.problems(), [])
})

test('an agent that starts while commits wait, and has no line, lets them go when it is time', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`)
  cluster.reload()
  await until('it counts', async () => (await names(cluster)) === name)
  await cluster.heeds()
  const commit = cluster.sql('INSERT INTO t VALUES (1)')
  await using keeping = keep(cluster, { degradeMs: 1000 })
  await commit
  await until('it is noted', () => keeping.spans.length === 1)
})

test('an agent that ends lets commits go where they may, and not where they must wait', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await using receiver = await Receiver.start(cluster, name)
  for (const [zeroLoss, left] of [
    [{}, name],
    [{ degradeMs: 60_000 }, ''],
  ] as const) {
    await using keeping = keep(cluster, zeroLoss)
    keeping.keeper.line(true)
    keeping.keeper.caughtUp(true)
    await until('it is on', () => keeping.keeper.isOn)
    await keeping[Symbol.asyncDispose]()
    assert.equal(await names(cluster), left)
  }
  assert.equal(receiver.acknowledges, true)
})

test('a role that may not is told what would let it', onMiddle, async (t) => {
  const cluster = await clusterWithTable(t)
  await cluster.sql('CREATE ROLE tide LOGIN REPLICATION')
  await using receiver = await Receiver.start(cluster, name)
  await using keeping = keep(cluster, {}, { url: `postgres://tide@127.0.0.1:${cluster.port}/postgres` })
  await cluster.sql('GRANT pg_monitor TO tide')
  keeping.keeper.line(true)
  keeping.keeper.caughtUp(true)
  await until('it is told', () => codes(keeping).includes('zero-loss-unknown'))
  const { hint = '' } = keeping.keeper.problems().find(({ code }) => code === 'zero-loss-unknown') ?? {}
  assert.match(hint, /GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO tide;/)
  for (const statement of hint.replace('as a superuser: ', '').split(/(?<=;) /)) await cluster.sql(statement)
  await until('it is on', () => keeping.keeper.isOn)
  assert.equal(receiver.acknowledges, true)
})
