import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { PostgresCaptureDriver } from '../../../test/support/postgres-capture-driver.ts'
import {
  coveredAsAtServer,
  commitsIn,
  onMain,
  problemsOf,
  segment,
  small,
  startedOn,
} from '../../../test/support/postgres-captured.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { decodeBaselines } from '../../format/postgres-tree.ts'
import { lsn, timeline, walSegmentName } from '../../model/lsn.ts'

test('the log comes into the journal as it is in the server, and the lists hold every commit', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int, x xid8 DEFAULT pg_current_xact_id(), filling text)')
  for (let n = 0; n < 50; n++) await cluster.sql(`INSERT INTO t VALUES (${n}, DEFAULT, repeat(md5('${n}'), 2000))`)
  const tree = await coveredAsAtServer(cluster, driver)
  const listed = commitsIn(tree).map(({ xid }) => xid)
  const committed = (await cluster.sql('SELECT x FROM t ORDER BY n')).map(([xid]) => Number(xid))
  assert.deepEqual(
    listed.filter((xid) => committed.includes(xid)),
    committed,
  )
})

test('a server that is started on the tree has the rows', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await cluster.sql('CREATE TABLE before AS SELECT n, md5(n::text) FROM generate_series(1, 2000) n')
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE after AS SELECT n, md5(n::text) FROM generate_series(1, 3000) n')
  await driver.covered()
  const restored = await startedOn(t, driver.tree())
  for (const table of ['before', 'after']) {
    const rows = `SELECT count(*), md5(string_agg(t::text, '' ORDER BY n)) FROM ${table} t`
    assert.deepEqual(await restored.sql(rows), await cluster.sql(rows))
  }
  const complete = driver.marks.find(({ type }) => type === 'complete')
  assert.deepEqual(complete, { type: 'complete', reason: 'baseline' })
  assert.deepEqual(problemsOf(driver), [])
})

test('from any batch on, a capture goes on without a gap and without saying anything twice', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  const driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.isAcknowledging = false
  for (let n = 0; n < 40; n++) {
    await cluster.sql(`CREATE TABLE t${n} AS SELECT n, md5(n::text) FROM generate_series(1, 600) n`)
  }
  await driver.covered()
  await driver.close()
  const whole = driver.batches
  const complete = whole.findIndex(({ changes }) =>
    changes.some((change) => change.kind === 'mark' && change.mark.type === 'complete'),
  )
  const content = driver.tree()
  for (const share of [0, 0.1, 0.35, 0.6, 0.85, 1]) {
    driver.batches = whole.slice(0, complete + 3 + Math.floor(share * (whole.length - complete - 3)))
    await driver.open()
    const again = await coveredAsAtServer(cluster, driver)
    await driver.close()
    for (const path of content.paths.filter((name) => !name.startsWith('base/'))) {
      const before = content.content(path)
      assert.ok(again.content(path).subarray(0, before.length).equals(before), `${path} from batch ${driver.last}`)
    }
  }
})

test('a server that dies and comes back is followed on, and what it had committed is there', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int)')
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 20; n++) await cluster.sql(`INSERT INTO t SELECT ${n} FROM generate_series(1, 300)`)
    await cluster.kill()
    await driver.until(() => driver.report?.problems.some(({ code }) => code === 'unreachable') === true, 'it is told')
    await cluster.start()
  }
  const tree = await coveredAsAtServer(cluster, driver)
  assert.deepEqual(problemsOf(driver), [])
  assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
  const restored = await startedOn(t, tree)
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['18000']])
})

test('what is told as covered is in the journal, also where the sender of the log was held up', onMain, async (t) => {
  const cluster = await Cluster.create(t, { ...small, settings: { max_wal_size: '1GB' } })
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await driver.covered()
  const [[sender] = []] = await cluster.sql("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")
  process.kill(Number(sender), 'SIGSTOP')
  const [[xid] = []] = await cluster.sql(
    `SELECT pg_current_xact_id() FROM pg_logical_emit_message(true, '', repeat('x', ${64 * 2 ** 20}))`,
  )
  const told = systemClock.now()
  // Long enough for the server to be asked several times.
  await sleep(1500)
  // The next report comes in the middle of it.
  driver.batchMs = 40
  process.kill(Number(sender), 'SIGCONT')
  await driver.covered()
  const claim = driver.reports.find(({ covered }) => covered >= told)
  const tree = driver.tree(driver.batches.findLastIndex(({ last }) => last <= (claim?.upTo ?? 0)) + 1)
  assert.ok(commitsIn(tree).some((commit) => commit.xid === Number(xid)))
})

test('a capture that was behind when it ended claims no more when it is opened again', onMain, async (t) => {
  const cluster = await Cluster.create(t, { ...small, settings: { max_wal_size: '1GB' } })
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.batchMs = 100
  await cluster.sql(`SELECT 1 FROM pg_logical_emit_message(true, '', repeat('x', ${64 * 2 ** 20}))`)
  const told = systemClock.now()
  await sleep(500)
  const taken = driver.batches.length
  driver.batchMs = 0
  await driver.close()
  driver.loseAllBut(taken)
  await driver.open({ line: false })
  await driver.until(() => driver.report !== undefined)
  assert.ok((driver.report?.covered ?? 0) < told)
})

test('another cluster in the place of the protected one is refused', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  const other = await Cluster.create(t, small)
  const driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await driver.close()
  await using elsewhere = new PostgresCaptureDriver(other.url)
  elsewhere.batches = driver.batches
  await elsewhere.open()
  await elsewhere.until(() => elsewhere.report?.state === 'vanished', 'it is told')
  assert.deepEqual(problemsOf(elsewhere), ['source-vanished'])
  assert.equal(elsewhere.last, driver.last)
  assert.deepEqual(await other.sql('SELECT slot_name FROM pg_replication_slots'), [])
})

test('a mark stands after what was committed before it was asked for', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int)')
  for (let round = 0; round < 10; round++) {
    const [row] = await cluster.sql(`INSERT INTO t VALUES (${round}) RETURNING pg_current_xact_id()`)
    driver.capture.mark(round, `round ${round}`)
    await driver.until(() => driver.marked.length > round, 'the mark is there')
    const { sequence } = driver.marked[round] as { sequence: number }
    const upTo = driver.batches.findIndex(({ last }) => last >= sequence)
    assert.ok(commitsIn(driver.tree(upTo + 1)).some(({ xid }) => xid === Number(row?.[0])))
  }
})

test('a baseline that is interrupted is removed and taken again, and no chunk is sent twice', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await cluster.sql('CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 60000) n')
  await using driver = new PostgresCaptureDriver(cluster.url)
  for (const enough of [3, 6, 9]) {
    driver.bulkMax = enough
    await driver.open()
    await driver.until(() => driver.bulkBatches >= enough, 'some of it is there')
    await driver.close()
    assert.equal(driver.marks.filter(({ type }) => type === 'complete').length, 0)
  }
  driver.bulkMax = Infinity
  await driver.open()
  await driver.live()
  await driver.covered()
  const tree = driver.tree()
  const numbers = new Set(tree.paths.flatMap((path) => /^base\/(\d+)\//.exec(path)?.[1] ?? []))
  assert.equal(numbers.size, 1)
  const kept = [...driver.chunks.values()].reduce((sum, { length }) => sum + length, 0)
  assert.ok(driver.sentBytes < 1.1 * kept, `${driver.sentBytes} sent, ${kept} kept`)
  const restored = await startedOn(t, tree)
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['60000']])
})

test('the log goes on while a baseline is copied, however long that takes', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await cluster.sql('CREATE TABLE t (n int)')
  // At this rate it takes minutes.
  await using driver = new PostgresCaptureDriver(cluster.url, { baselineBytesPerSecond: 256 * 1024 })
  await driver.open()
  await driver.until(() => driver.tree().paths.some((path) => path.startsWith('base/')), 'a baseline is under way')
  for (let n = 1; n <= 3; n++) {
    const [[xid] = []] = await cluster.sql(`INSERT INTO t VALUES (${n}) RETURNING txid_current()`)
    await driver.until(
      () => commitsIn(driver.tree()).some((commit) => commit.xid === Number(xid)),
      'its commit is in the journal',
    )
  }
  assert.ok(!driver.marks.some(({ type }) => type === 'complete'))
})

test(
  'a baseline on request takes the place of the one before, with the log that only that one needed',
  onMain,
  async (t) => {
    const cluster = await Cluster.create(t, small)
    await using driver = new PostgresCaptureDriver(cluster.url)
    await driver.open()
    await driver.live()
    for (let round = 2; round < 4; round++) {
      await cluster.sql(`CREATE TABLE t${round} AS SELECT n, md5(n::text) FROM generate_series(1, 30000) n`)
      driver.capture.reconcile()
      await driver.until(
        () => driver.marks.filter(({ type }) => type === 'complete').length === round,
        'it is complete',
      )
      await driver.covered()
      const lines = decodeBaselines(driver.tree().content('baselines'))
      assert.equal(lines.length, round)
      const last = lines.at(-1)
      assert.ok(last)
      const written = driver.changeAt(last.sequence)
      assert.ok(written?.kind === 'write' && written.path === 'baselines')
      const left = (): unknown => {
        const { folders, paths } = driver.tree()
        const bases = [...folders].filter((path) => /^base\/\d+$/.test(path))
        return [...bases, paths.find((path) => path.startsWith('wal/'))]
      }
      const first = `wal/${walSegmentName(timeline(last.timeline), lsn(last.start), segment)}`
      const wanted = [`base/00000${last.number}`, first]
      await until(
        () => `${wanted} is what is left, and not ${left()}`,
        () => isDeepStrictEqual(left(), wanted),
      )
      await startedOn(t, driver.tree())
    }
    assert.equal(driver.marks.filter(({ type }) => type === 'suspect').length, 1)
  },
)

test(
  'in zero-loss mode a commit waits for the acknowledgement, and goes on without it when it is so set',
  onMain,
  async (t) => {
    const cluster = await Cluster.create(t, small)
    await using driver = new PostgresCaptureDriver(cluster.url, { zeroLoss: { degradeMs: 6000 } })
    await driver.open()
    await driver.live()
    await cluster.sql('CREATE TABLE t (n int)')
    const names = async (): Promise<unknown> => (await cluster.sql('SHOW synchronous_standby_names'))[0]?.[0]
    await until('commits wait', async () => (await names()) !== '')
    assert.equal(await names(), `tidemark_${driver.id.slice(0, 16)}`)
    await cluster.heeds()
    await cluster.sql('INSERT INTO t VALUES (1)')
    driver.isAcknowledging = false
    let isCommitted = false
    const committing = cluster.sql('INSERT INTO t VALUES (2)').then(() => (isCommitted = true))
    await sleep(700)
    assert.equal(isCommitted, false)
    // What has come is acknowledged, and what of it still comes.
    driver.isAcknowledging = true
    driver.acknowledge()
    await committing
    driver.isAcknowledging = false
    const waiting = cluster.sql('INSERT INTO t VALUES (3)')
    driver.capture.line(false)
    await waiting
    assert.equal(await names(), '')
    await driver.until(
      () =>
        driver.marks.filter((mark) => mark.type === 'user' && mark.label.startsWith('commits do not wait')).length ===
        2,
      'it is marked, as was the time before',
    )
  },
)
