import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { PostgresCaptureDriver, type FileTree } from '../../../test/support/postgres-capture-driver.ts'
import { Cluster, type Settings } from '../../../test/support/postgres.ts'
import { lackingPostgres } from '../../../test/support/postgres-program.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { CommitListReader } from '../../format/commits.ts'
import { decodeBaselines } from '../../format/postgres-tree.ts'
import {
  advanceLsn,
  lsn,
  type Lsn,
  noLsn,
  parseLsn,
  parseWalSegmentName,
  timeline,
  walSegmentName,
} from '../../model/lsn.ts'
import { createPhysicalSlot, identifySystem } from './protocol/replication.ts'
import { startPhysical } from './protocol/wal-stream.ts'
import { slotOf } from './slot.ts'

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
      () => driver.marks.some((mark) => mark.type === 'user' && mark.label.startsWith('commits do not wait')),
      'it is marked',
    )
  },
)

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

/** But for what is told of every server of these tests. */
const problemsOf = (driver: PostgresCaptureDriver): string[] =>
  (driver.report?.problems ?? []).map(({ code }) => code).filter((code) => code !== 'fsync' && code !== 'wal-kept')

/** Also while its sender comes back, which takes that longer than this does. */
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

/** A server on the newest baseline of the tree, with all its WAL. */
async function startedOn(t: TestContext, tree: FileTree, settings: Settings = {}): Promise<Cluster> {
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
  restored.configure({ restore_command: 'cp archive/%f %p', hot_standby: true, ...settings })
  await restored.start()
  await until(
    () => `recovery ends; ${restored.log.slice(-2000)}`,
    async () => (await restored.sql('SELECT pg_is_in_recovery()'))[0]?.[0] === 'f',
  )
  return restored
}

/** The tree, once all that the server has flushed now is told as covered. The server may write more at any time. */
async function coveredAsAtServer(cluster: Cluster, driver: PostgresCaptureDriver, on = ''): Promise<FileTree> {
  const folder = join(cluster.data, 'pg_wal')
  const [[end] = []] = await cluster.sql('SELECT pg_current_wal_flush_lsn()')
  await driver.covered()
  const tree = driver.tree()
  const names = segmentsIn(tree)
  const atServer = new Set(readdirSync(folder))
  for (const name of names.filter((one) => atServer.has(one) && one.startsWith(on))) {
    const content = tree.content(`wal/${name}`)
    assert.ok(content.equals(readFileSync(join(folder, name)).subarray(0, content.length)), name)
    const isNewest = names.findLast((one) => one.startsWith(name.slice(0, 8))) === name
    assert.ok(isNewest || content.length === segment, `${name} is whole`)
  }
  assert.ok(names.at(-1)?.startsWith(on) && positionOf(tree) >= parseLsn(end ?? ''), `${names.at(-1)} ${end}`)
  return tree
}

const segmentsIn = (tree: FileTree): string[] =>
  tree.paths.filter((path) => /^wal\/[0-9A-F]{24}$/.test(path)).map((path) => path.slice(4))

/** Where the next byte of WAL goes. */
function positionOf(tree: FileTree): Lsn {
  const newest = segmentsIn(tree).at(-1)
  if (newest === undefined) return noLsn
  return advanceLsn(parseWalSegmentName(newest, segment).start, tree.content(`wal/${newest}`).length)
}

function commitsIn(tree: FileTree, on = ''): { xid: number; start: number; end: number }[] {
  return tree.paths
    .filter((path) => path.startsWith(`commits/${on}`))
    .flatMap((path) => [...new CommitListReader(tree.content(path))])
    .flatMap((entry) => (entry.kind === 'commit' ? [entry] : []))
}
