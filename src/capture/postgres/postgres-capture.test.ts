import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresCaptureDriver, type FileTree } from '../../../test/support/postgres-capture-driver.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { lackingPostgres } from '../../../test/support/postgres-program.ts'
import { CommitListReader } from '../../format/commits.ts'
import { parseLsn } from '../../model/lsn.ts'

const major = 17
const segment = 1024 * 1024
const small = { major, initdbArgs: ['--wal-segsize=1'] } as const
const onMain = { skip: lackingPostgres(major) }

test('the log comes into the journal as it is in the server, and the lists hold every commit', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int, x xid8 DEFAULT pg_current_xact_id(), filling text)')
  for (let n = 0; n < 50; n++) await cluster.sql(`INSERT INTO t VALUES (${n}, DEFAULT, repeat(md5('${n}'), 2000))`)
  await driver.covered()
  const tree = driver.tree()
  await assertAsAtServer(cluster, tree)
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
  const [complete] = driver.marks.filter(({ type }) => type === 'complete')
  assert.deepEqual(complete, { type: 'complete', reason: 'baseline' })
  assert.equal(driver.report?.problems.length, 0)
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
    await driver.covered()
    await driver.close()
    const again = driver.tree()
    for (const path of content.paths.filter((name) => !name.startsWith('base/'))) {
      const before = content.content(path)
      assert.ok(again.content(path).subarray(0, before.length).equals(before), `${path} from batch ${driver.last}`)
    }
    await assertAsAtServer(cluster, again)
  }
})

test('the server forgets its log when it is acknowledged, and not before', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.isAcknowledging = false
  driver.acknowledge()
  const restart = async (): Promise<number> => {
    const [row] = await cluster.sql('SELECT restart_lsn FROM pg_replication_slots')
    return parseLsn(row?.[0] ?? '')
  }
  await sleep(100)
  const before = await restart()
  await cluster.sql('CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n')
  await driver.covered()
  assert.equal(await restart(), before)
  driver.acknowledge()
  await driver.until(() => driver.report !== undefined)
  for (let waited = 0; (await restart()) === before; waited += 20) {
    assert.ok(waited < 5000, 'the slot moves')
    await sleep(20)
  }
})

test('without a line nothing is taken, and the slot keeps the log until there is one', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  driver.capture.line(false)
  await sleep(300)
  const before = driver.batches.length
  await cluster.sql('CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 9000) n')
  await cluster.sql('SELECT pg_switch_wal()')
  await cluster.sql('CHECKPOINT')
  await sleep(500)
  assert.equal(driver.batches.length, before)
  assert.deepEqual(await cluster.sql('SELECT active FROM pg_replication_slots'), [['f']])
  driver.capture.line(true)
  await driver.covered()
  await assertAsAtServer(cluster, driver.tree())
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
  await driver.covered()
  assert.deepEqual(driver.report?.problems, [])
  await assertAsAtServer(cluster, driver.tree())
  assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
  const restored = await startedOn(t, driver.tree())
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['18000']])
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
    await driver.covered()
    assert.deepEqual(await cluster.sql('SELECT active FROM pg_replication_slots'), [['t']])
    assert.equal(driver.marks.filter(({ type }) => type === 'hole').length, 0)
    await assertAsAtServer(cluster, driver.tree())
  },
)

test('log that is gone is told as a hole, and a new baseline makes the tree whole again', onMain, async (t) => {
  const cluster = await Cluster.create(t, { ...small, settings: { max_wal_size: '2MB', min_wal_size: '2MB' } })
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int)')
  await driver.covered()
  const coveredBefore = driver.report?.covered ?? 0
  driver.capture.line(false)
  await dropSlot(cluster)
  await cluster.sql('INSERT INTO t SELECT n FROM generate_series(1, 1000) n')
  for (let round = 0; round < 6; round++) {
    await cluster.sql('SELECT pg_switch_wal()')
    await cluster.sql('CHECKPOINT')
  }
  driver.reports = []
  driver.capture.line(true)
  await driver.until(() => driver.marks.some(({ type }) => type === 'hole'), 'the hole is told')
  const hole = driver.marks.find(({ type }) => type === 'hole')
  assert.ok(hole?.type === 'hole' && hole.since <= coveredBefore + 1_500_000 && hole.since >= coveredBefore)
  await driver.until(() =>
    driver.reports.some(({ problems }) => problems.some(({ code }) => code === 'database-log-gap')),
  )
  await driver.live()
  await cluster.sql('INSERT INTO t VALUES (0)')
  await driver.covered()
  assert.deepEqual(driver.report?.problems, [])
  assert.deepEqual(driver.marks.at(-1), { type: 'complete', reason: 'baseline' })
  const restored = await startedOn(t, driver.tree())
  assert.deepEqual(await restored.sql('SELECT count(*) FROM t'), [['1001']])
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
  assert.equal(elsewhere.report?.problems[0]?.code, 'source-vanished')
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
    await driver.until(() => driver.marked.length > round, 'the mark is there', 3000)
    const { sequence } = driver.marked[round] as { sequence: number }
    const upTo = driver.batches.findIndex(({ last }) => last >= sequence)
    assert.ok(commitsIn(driver.tree(upTo + 1)).some(({ xid }) => xid === Number(row?.[0])))
  }
})

async function dropSlot(cluster: Cluster): Promise<void> {
  const end = 'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active'
  for (let tries = 0; tries < 50; tries++) {
    await cluster.sql(end)
    try {
      await cluster.sql('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
      return
    } catch (error) {
      assert.match(String(error), /55006/)
    }
  }
}

/** A server on the newest baseline of the tree, with all its WAL. */
async function startedOn(t: TestContext, tree: FileTree): Promise<Cluster> {
  const [newest] = tree.paths.filter((path) => /^base\/\d+\/data\/PG_VERSION$/.test(path)).slice(-1)
  assert.ok(newest, tree.paths.slice(0, 20).join(' '))
  const restored = await Cluster.from(t, major, (data) => {
    tree.writeTo(data, newest.replace(/\/PG_VERSION$/, ''))
    writeFileSync(join(data, 'recovery.signal'), '')
    mkdirSync(join(data, 'archive'))
    for (const path of tree.paths.filter((one) => one.startsWith('wal/'))) {
      const content = tree.content(path)
      const isSegment = !path.endsWith('.history')
      const whole = isSegment ? Buffer.concat([content, Buffer.alloc(segment - content.length)]) : content
      writeFileSync(join(data, 'archive', path.slice(4)), whole)
    }
  })
  restored.configure({ restore_command: 'cp archive/%f %p', hot_standby: true })
  await restored.start()
  for (let waited = 0; (await restored.sql('SELECT pg_is_in_recovery()'))[0]?.[0] !== 'f'; waited += 50) {
    assert.ok(waited < 20_000, `recovery ends; ${restored.log.slice(-2000)}`)
    await sleep(50)
  }
  return restored
}

export async function assertAsAtServer(cluster: Cluster, tree: FileTree): Promise<void> {
  const folder = join(cluster.data, 'pg_wal')
  const [[end] = []] = await cluster.sql('SELECT pg_current_wal_flush_lsn()')
  const names = tree.paths.filter((path) => /^wal\/[0-9A-F]{24}$/.test(path)).map((path) => path.slice(4))
  assert.ok(names.length > 0)
  const atServer = new Set(readdirSync(folder))
  for (const name of names.filter((one) => atServer.has(one))) {
    const content = tree.content(`wal/${name}`)
    assert.ok(content.equals(readFileSync(join(folder, name)).subarray(0, content.length)), name)
    assert.ok(name === names.at(-1) || content.length === segment, `${name} is whole`)
  }
  const last = tree.content(`wal/${names.at(-1)}`).length
  assert.equal(last % segment, parseLsn(end ?? '') % segment)
}

export function commitsIn(tree: FileTree): { xid: number; start: number; end: number }[] {
  return tree.paths
    .filter((path) => path.startsWith('commits/'))
    .flatMap((path) => [...new CommitListReader(tree.content(path))])
    .flatMap((entry) => (entry.kind === 'commit' ? [entry] : []))
}
