import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresCaptureDriver } from '../../../test/support/postgres-capture-driver.ts'
import {
  coveredAsAtServer,
  onMain,
  positionOf,
  problemsOf,
  segment,
  small,
  startedOn,
} from '../../../test/support/postgres-captured.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { type Lsn, parseLsn } from '../../model/lsn.ts'
import { createPhysicalSlot, identifySystem } from './protocol/replication.ts'
import { startPhysical } from './protocol/wal-stream.ts'
import { slotOf } from './slot.ts'

test('the server forgets its log when it is acknowledged, and not before', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.isAcknowledging = false
  driver.acknowledge()
  const acknowledged = positionOf(driver.tree())
  const restart = async (): Promise<number> => {
    const [row] = await cluster.sql('SELECT restart_lsn FROM pg_replication_slots')
    return parseLsn(row?.[0] ?? '')
  }
  await until('the slot is where it was acknowledged', async () => (await restart()) === acknowledged)
  await cluster.sql('CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n')
  await driver.covered()
  assert.equal(await restart(), acknowledged)
  driver.acknowledge()
  await until('the slot moves', async () => (await restart()) > acknowledged)
})

test('without a line nothing is taken, and the slot keeps the log until there is one', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.capture.line(false)
  await driver.idle(cluster)
  const before = driver.batches.length
  await cluster.sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n')
  await cluster.sql('SELECT pg_switch_wal()')
  await cluster.sql('CHECKPOINT')
  await sleep(500)
  assert.equal(driver.batches.length, before)
  assert.deepEqual(await cluster.sql('SELECT active FROM pg_replication_slots'), [['f']])
  driver.capture.line(true)
  await coveredAsAtServer(cluster, driver)
})

test(
  'a slot dropped behind our back is made again, without a hole while the server still has the log',
  onMain,
  async (t) => {
    const cluster = await Cluster.create(t, small)
    await using driver = new PostgresCaptureDriver(cluster.url)
    await driver.open()
    await driver.live()
    await cluster.sql('CREATE TABLE t AS SELECT 1')
    await driver.covered()
    await dropSlot(cluster)
    await cluster.sql('CREATE TABLE u AS SELECT n FROM generate_series(1, 3000) n')
    await coveredAsAtServer(cluster, driver)
    assert.deepEqual(await cluster.sql('SELECT active FROM pg_replication_slots'), [['t']])
    assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
  },
)

for (const [how, isMovedBack] of [
  ['', false],
  [', also where the slot says that it keeps it', true],
] as const) {
  test(`log that is gone is told as a hole, and a new baseline makes the tree whole again${how}`, onMain, (t) =>
    logIsGone(t, isMovedBack),
  )
}

async function logIsGone(t: TestContext, isMovedBack: boolean): Promise<void> {
  const cluster = await Cluster.create(t, { ...small, settings: { max_wal_size: '2MB', min_wal_size: '2MB' } })
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int)')
  await driver.covered()
  const coveredBefore = driver.report?.covered ?? 0
  driver.capture.line(false)
  await driver.idle(cluster)
  await dropSlot(cluster)
  const missedFrom = systemClock.now()
  await cluster.sql('INSERT INTO t SELECT n FROM generate_series(1, 1000) n')
  for (let round = 0; round < 6; round++) {
    await cluster.sql('SELECT pg_switch_wal()')
    await cluster.sql('CHECKPOINT')
  }
  if (isMovedBack) await moveSlotBack(cluster, slotOf(driver), positionOf(driver.tree()))
  driver.reports = []
  driver.capture.line(true)
  await driver.until(() => driver.marks.some(({ type }) => type === 'hole'), 'the hole is told')
  const hole = driver.marks.find(({ type }) => type === 'hole')
  assert.ok(hole?.type === 'hole' && hole.since >= coveredBefore && hole.since <= missedFrom)
  await driver.until(() =>
    driver.reports.some(({ problems }) => problems.some(({ code }) => code === 'database-log-gap')),
  )
  await driver.live()
  await cluster.sql('INSERT INTO t VALUES (0)')
  await driver.covered()
  assert.deepEqual(problemsOf(driver), [])
  assert.deepEqual(driver.marks.at(-1), { type: 'complete', reason: 'baseline' })
  const restored = await startedOn(t, driver.tree())
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['1001']])
}

test('log that is kept beyond the limit is given up, also without a line', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url, { walKeptBytesMax: 4 * segment })
  await driver.open()
  await driver.live()
  driver.capture.line(false)
  await driver.idle(cluster)
  await cluster.sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 12000) n')
  const slots = 'SELECT 1 FROM pg_replication_slots'
  await until('the slot is dropped', async () => (await cluster.sql(slots)).length === 0)
  driver.capture.line(true)
  await driver.covered()
  await driver.live()
  await coveredAsAtServer(cluster, driver)
})

/** A primary with a standby, and the URL of both. */

/** A receiver has told where it is, and the server has believed it. */
async function moveSlotBack(cluster: Cluster, slot: string, to: Lsn): Promise<void> {
  await using connection = await cluster.connect('replication')
  await createPhysicalSlot(connection, slot)
  const { flushed, timeline: on } = await identifySystem(connection)
  await using stream = await startPhysical(connection, { slot, start: flushed, timeline: on })
  stream.sendStatus({ written: to, flushed: to })
  const restart = 'SELECT restart_lsn FROM pg_replication_slots'
  await until(
    'the slot stands at log that is gone',
    async () => parseLsn((await cluster.sql(restart))[0]?.[0] ?? '') === to,
  )
}

/** Also while its sender comes back, which takes that longer than this does. */
async function dropSlot(cluster: Cluster): Promise<void> {
  await using sql = await cluster.connect('database')
  await until('the slot is dropped', async () => {
    await sql.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active')
    try {
      await sql.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
      return true
    } catch (error) {
      assert.match(String(error), /55006/)
      return false
    }
  })
}
