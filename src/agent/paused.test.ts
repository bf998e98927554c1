import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { lackingPostgres } from '../../test/support/postgres-program.ts'
import { Cluster } from '../../test/support/postgres.ts'
import { until } from '../../test/support/until.ts'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { whilePausedPostgres } from '../capture/postgres/paused.ts'
import type { Problem } from '../model/report.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import { keepPaused } from './paused.ts'

const major = 17
const onMajor = { skip: lackingPostgres(major) }
const id = '0123456789abcdef0123456789abcdef' as Id
const slot = 'tidemark_0123456789abcdef'
const account = { user: 'postgres', homeFolder: '/nonexistent', environment: {} }
const walKeptBytesMax = 1024 ** 2
const doors = {
  // What is looked at every ten seconds is looked at more often here.
  clock: { ...systemClock, sleep: (ms: number, ending?: AbortSignal) => systemClock.sleep(Math.min(ms, 20), ending) },
  random: systemRandom,
}

/** A paused source of this server, and what the vault was told of it. */
function paused(t: TestContext, url: string): { readonly told: Problem[]; end: () => Promise<void> } {
  const source: SourceDefinition = {
    id,
    name: 'orders',
    kind: 'postgres',
    agent: id,
    paths: [],
    exclude: [],
    postgres: { url, baselineMs: 86_400_000, walKeptBytesMax, zeroLoss: {} },
    policy: { windowMs: 1, reconcileMs: 1, lagMsMax: 1 },
    paused: true,
  }
  const told: Problem[] = []
  const stop = new AbortController()
  const running = keepPaused(
    source,
    {
      ...doors,
      kinds: { postgres: (one, report, ending) => whilePausedPostgres(one, { ...doors, account, report }, ending) },
      report: async (_, problems) => void told.push(...problems),
      tell: () => undefined,
    },
    stop.signal,
  )
  const end = async (): Promise<void> => {
    stop.abort(new Error('no longer paused'))
    await running
  }
  t.after(end)
  return { told, end }
}

const slots = async (cluster: Cluster): Promise<number> =>
  (await cluster.sql('SELECT 1 FROM pg_replication_slots')).length

test('the server of a paused source keeps log for the vault up to the limit, and not beyond', onMajor, async (t) => {
  const cluster = await Cluster.create(t, { major, initdbArgs: ['--wal-segsize=1'] })
  await cluster.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  const { told, end } = paused(t, cluster.url)
  await systemClock.sleep(100)
  assert.equal(await slots(cluster), 1)
  await cluster.sql('CREATE TABLE t (x text)')
  await cluster.sql("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
  await until('the slot is given up', async () => (await slots(cluster)) === 0)
  await until('the vault is told', () => told.some(({ code }) => code === 'wal-kept'))
  await end()
})

test(
  'no commit waits at the server of a paused source, also where that was away when the pause began',
  onMajor,
  async (t) => {
    const cluster = await Cluster.create(t, { major })
    await cluster.sql('CREATE TABLE t (n int)')
    await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${slot}'`)
    await cluster.stop()
    const { end } = paused(t, cluster.url)
    await cluster.start()
    // It waits for nobody in the end.
    await cluster.sql('INSERT INTO t VALUES (1)')
    assert.deepEqual(await cluster.sql('SHOW synchronous_standby_names'), [['']])
    await end()
  },
)
