import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresCaptureDriver } from '../../../test/support/postgres-capture-driver.ts'
import { coveredAsAtServer, commitsIn, onMain, small, startedOn } from '../../../test/support/postgres-captured.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { parseLsn } from '../../model/lsn.ts'

test('a promoted standby is followed to its new timeline, and nothing is missing', onMain, async (t) => {
  const { primary, standby, url } = await pair(t)
  await using driver = new PostgresCaptureDriver(url)
  await driver.open()
  await driver.live()
  await primary.sql('CREATE TABLE t AS SELECT n FROM generate_series(1, 3000) n')
  await driver.covered()
  await caughtUp(primary, standby)
  await primary.kill()
  await standby.promote()
  await standby.sql('INSERT INTO t SELECT n FROM generate_series(1, 4000) n')
  await driver.covered()
  await driver.live()
  const tree = await coveredAsAtServer(standby, driver)
  assert.ok(tree.files.has('wal/00000002.history'))
  assert.ok(driver.marks.some((mark) => mark.type === 'user' && /^timeline 2 from 0\/[0-9A-F]+$/.test(mark.label)))
  assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
  assert.equal(driver.marks.filter(({ type }) => type === 'complete').length, 1)
  const restored = await startedOn(t, tree)
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['7000']])
})

test(
  'what a standby had not got when it was promoted is kept, and its own history goes on beside it',
  onMain,
  async (t) => {
    const { primary, standby, url } = await pair(t)
    await using driver = new PostgresCaptureDriver(url)
    await driver.open()
    await driver.live()
    await primary.sql('CREATE TABLE t AS SELECT n FROM generate_series(1, 3000) n')
    await caughtUp(primary, standby)
    // The standby gets nothing more.
    await standby.kill()
    await primary.sql('INSERT INTO t SELECT n FROM generate_series(1, 500) n')
    await driver.covered()
    const [surplus] = (await primary.sql('INSERT INTO t VALUES (0) RETURNING pg_current_xact_id()'))[0] ?? []
    await driver.covered()
    await primary.kill()
    standby.configure({ primary_conninfo: '' })
    await standby.start()
    await standby.promote()
    await standby.sql('INSERT INTO t SELECT n FROM generate_series(1, 40) n')
    const tree = await coveredAsAtServer(standby, driver, '00000002')
    assert.ok(commitsIn(tree, '00000001').some(({ xid }) => xid === Number(surplus)))
    assert.ok(driver.report?.problems.some(({ message }) => /before 0\/[0-9A-F]+, up to where the vault/.test(message)))
    assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
    const restored = await startedOn(t, tree)
    assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['3040']])
    const before = await startedOn(t, tree, { recovery_target_timeline: '1' })
    assert.deepEqual(await before.sql('SELECT count(*) FROM t'), [['3501']])
  },
)

test('an old primary that comes back alone is refused', onMain, async (t) => {
  const { primary, standby, url } = await pair(t)
  await using driver = new PostgresCaptureDriver(url)
  await driver.open()
  await driver.live()
  await caughtUp(primary, standby)
  await primary.kill()
  await standby.promote()
  await standby.sql('CREATE TABLE t AS SELECT 1')
  await driver.covered()
  await standby.kill()
  await primary.start()
  await driver.until(() => driver.report?.state === 'vanished', 'it is told')
  const before = driver.last
  await primary.sql('CREATE TABLE u AS SELECT 1')
  await sleep(500)
  assert.equal(driver.last, before)
})

async function pair(t: TestContext): Promise<{ primary: Cluster; standby: Cluster; url: string }> {
  const primary = await Cluster.create(t, small)
  await primary.stop()
  const standby = await primary.standbyOfFiles(t)
  await primary.start()
  await standby.start()
  const url = `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`
  return { primary, standby, url }
}

async function caughtUp(primary: Cluster, standby: Cluster): Promise<void> {
  const [[end] = []] = await primary.sql('SELECT pg_current_wal_flush_lsn()')
  await until('the standby follows', async () => {
    const [[at] = []] = await standby.sql('SELECT pg_last_wal_replay_lsn()')
    return parseLsn(at ?? '') >= parseLsn(end ?? '')
  })
}
