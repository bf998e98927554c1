import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Receiver } from '../../../test/support/postgres-receiver.ts'
import { availableMajors, lackingPostgres, type PostgresMajor } from '../../../test/support/postgres-program.ts'
import { Cluster, type Settings } from '../../../test/support/postgres.ts'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import { type SlotSeen, watchSlot } from './server-watch.ts'
import { removeSlot } from './slot-removal.ts'

const newest = 18
const onNewest = { skip: lackingPostgres(newest) }
const slot = 'tidemark_0123456789abcdef'
const mib = 1024 ** 2
const never = new AbortController().signal
const account = { user: 'postgres', homeFolder: '/nonexistent', environment: {} }

/** What is seen at once, once `before` has been seen. */
async function look(cluster: Cluster, walKeptBytesMax: number, between?: () => Promise<unknown>): Promise<SlotSeen> {
  const server = { url: cluster.url, account, applicationName: slot, clock: systemClock, random: systemRandom }
  const quick = { ...systemClock, sleep: (_: number, signal?: AbortSignal) => systemClock.sleep(1, signal) }
  let seen: SlotSeen | undefined
  for await (seen of watchSlot({ server, slot, walKeptBytesMax, clock: quick }, never)) {
    if (between === undefined) break
    await between()
    between = undefined
  }
  assert.ok(seen)
  return seen
}

const write = (cluster: Cluster, mebibytes: number): Promise<unknown> =>
  cluster.sql(
    `SELECT count(pg_logical_emit_message(false, 't', repeat('x', 1048576))) FROM generate_series(1, ${mebibytes})`,
  )

async function withSlot(t: Parameters<typeof Cluster.create>[0], major: PostgresMajor, settings: Settings = {}) {
  const cluster = await Cluster.create(t, { major, settings })
  await cluster.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  return cluster
}

for (const major of availableMajors()) {
  test(`version ${major}: log that the slot keeps is told early, then late, then it is to be given up`, async (t) => {
    const cluster = await withSlot(t, major)
    const first = await look(cluster, 40 * mib)
    assert.deepEqual([first.verdict, first.problems], ['keep', []])
    await write(cluster, 24)
    const early = await look(cluster, 40 * mib)
    assert.deepEqual([early.verdict, early.problems.map(({ code }) => code)], ['keep', ['wal-kept-early']])
    const last = await look(cluster, 40 * mib, () => write(cluster, 10))
    assert.deepEqual([last.verdict, last.problems.map(({ code }) => code)], ['keep', ['wal-kept-last']])
    assert.match(
      last.problems[0]?.message ?? '',
      /after \d MiB more its slot is given up, at the present rate in \d+ min/,
    )
    await write(cluster, 8)
    const over = await look(cluster, 40 * mib)
    assert.equal(over.verdict, 'give-up')
    assert.ok((over.keptBytes ?? 0) >= 40 * mib)
    await using sql = await cluster.connect('database')
    await removeSlot(sql, slot, systemClock, never)
    assert.equal((await look(cluster, 40 * mib)).verdict, 'absent')
    await removeSlot(sql, slot, systemClock, never)
  })
}

test('a slot that the server has given up is told, and one that vanishes', onNewest, async (t) => {
  const cluster = await withSlot(t, newest, { max_slot_wal_keep_size: '16MB', max_wal_size: '32MB' })
  for (let round = 0; (await look(cluster, 1024 * mib)).verdict !== 'lost'; round++) {
    assert.ok(round < 10)
    await write(cluster, 30)
    await cluster.sql('CHECKPOINT')
  }
  assert.equal((await look(cluster, 1024 * mib)).problems[0]?.code, 'slot-lost')
  const gone = await look(cluster, 1024 * mib, () => cluster.sql(`SELECT pg_drop_replication_slot('${slot}')`))
  assert.deepEqual([gone.verdict, gone.problems[0]?.code], ['absent', 'slot-missing'])
})

test('a server that is away is asked again', onNewest, async (t) => {
  const cluster = await withSlot(t, newest)
  const away = await look(cluster, 1024 * mib, () => cluster.stop())
  assert.deepEqual([away.verdict, away.problems], ['unknown', []])
  await cluster.start()
  assert.equal((await look(cluster, 1024 * mib)).verdict, 'keep')
})

test('a slot that a receiver uses is dropped, and the receiver ended', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await using receiver = await Receiver.start(cluster, slot)
  await using sql = await cluster.connect('database')
  await removeSlot(sql, slot, systemClock, never)
  assert.ok((await receiver.ended) instanceof Error)
  assert.deepEqual(await cluster.sql('SELECT 1 FROM pg_replication_slots'), [])
})
