import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { isoMoment, moment, type Moment } from '../../src/model/moment.ts'
import { parsePostgresPoint } from '../../src/model/postgres-point.ts'
import {
  bringBack,
  type BringBackProgress,
  type BringBackRequest,
  type BroughtBack,
} from '../../src/recover/postgres/bring-back.ts'
import { choosePlace } from '../../src/recover/postgres/place.ts'
import { planRecovery, type RecoveryPlan } from '../../src/recover/postgres/plan.ts'
import { findServer, serverUser } from '../../src/recover/postgres/server-programs.ts'
import { Cluster, type Settings } from '../support/postgres.ts'
import { lackingPostgres, postgresFolder, type PostgresMajor, serverOwner } from '../support/postgres-program.ts'
import { askRestored as ask } from '../support/postgres-restored.ts'
import { RecordedCluster } from '../support/postgres-tree.ts'
import { until } from '../support/until.ts'

const now = (): Moment => systemClock.now() as Moment

/** WAL enough for a test is kept, in small segments. */
async function source(t: TestContext, major: PostgresMajor, settings: Settings = {}): Promise<Cluster> {
  return await Cluster.create(t, {
    major,
    initdbArgs: ['--wal-segsize=1'],
    settings: {
      max_prepared_transactions: 5,
      ...(major < 13 ? { wal_keep_segments: 500 } : { wal_keep_size: '500MB' }),
      ...settings,
    },
  })
}

interface Restored extends BroughtBack {
  readonly data: string
  readonly plan: RecoveryPlan
  readonly sql: (text: string) => Promise<string[]>
}

async function restored(
  t: TestContext,
  recorded: RecordedCluster,
  major: PostgresMajor,
  point: string,
  options: Partial<BringBackRequest> & { tablespaces?: ReadonlyMap<number, string> } = {},
): Promise<Restored> {
  const plan = await planRecovery(recorded, parsePostgresPoint(point, now()))
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-back-'))
  chmodSync(folder, 0o755)
  const owner = serverUser(serverOwner() === undefined ? undefined : 'postgres')
  const data = join(folder, 'data')
  let server: BroughtBack['running']
  t.after(async () => {
    await server?.server.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const brought = await bringBack(
    {
      source: 'db',
      plan,
      place: choosePlace(data, plan.baseline, options.tablespaces ?? new Map(), owner),
      resume: false,
      pause: false,
      start: findServer(major, join(postgresFolder(major), 'bin'), ''),
      port: 5432,
      wal: 'on-demand',
      fetchCommand: 'false',
      path: process.env['PATH'] ?? '',
      ...options,
    },
    { tree: recorded, origin: recorded.origin, ask, clock: systemClock, tell: () => {} },
    new AbortController().signal,
  )
  server = brought.running
  const sql = async (text: string): Promise<string[]> =>
    (await ask({ socketFolder: brought.socketFolder, port: brought.port }, text)).map((row) => row.join('|'))
  return { ...brought, data, plan, sql }
}

for (const major of [12, 15, 17, 18] as const) {
  test(
    `PostgreSQL ${major} comes back just before and just after any transaction, as its client saw it`,
    { skip: lackingPostgres(major), timeout: 900_000 },
    async (t) => {
      const cluster = await source(t, major)
      await cluster.sql('create table seen (n int primary key, filler text)')
      const recorded = new RecordedCluster(t)
      await recorded.baseline(cluster)
      const xids: string[] = []
      for (let n = 1; n <= 40; n++) {
        const [row] = await cluster.sql(
          `begin; insert into seen values (${n}, repeat('x', ${n * 2000})); select txid_current()`,
        )
        // The connection is closed with the transaction open: it is rolled back, and its number comes again with the commit.
        const [again] = await cluster.sql(
          `insert into seen values (${n}, repeat('x', ${n * 2000})) returning txid_current()`,
        )
        assert.notEqual(row?.[0], again?.[0])
        xids.push(String(again?.[0]))
        if (n === 15) await recorded.baseline(cluster)
        if (n % 7 === 0) await cluster.sql('select pg_switch_wal()')
      }
      await recorded.takeWal(cluster)
      recorded.point()
      const expected = (last: number): string[] => Array.from({ length: last }, (_, n) => String(n + 1))
      const cases = major === 17 ? [3, 14, 15, 16, 29, 40] : [9, 31]
      for (const n of cases) {
        const after = await restored(t, recorded, major, `xid:${xids[n - 1]}`)
        assert.equal(after.running?.reached, 'open')
        assert.deepEqual(await after.sql('select n from seen order by n'), expected(n))
        assert.equal(after.plan.droppedCommits, 40 - n)
        assert.equal(after.plan.baseline.number, n > 15 ? 2 : 1)
        await after.sql(`insert into seen values (${1000 + n}, '')`)
        await after.running?.server.stop()
        const before = await restored(t, recorded, major, `before:xid:${xids[n - 1]}`)
        assert.deepEqual(await before.sql('select n from seen order by n'), expected(n - 1))
        await before.running?.server.stop()
      }
      const latest = await restored(t, recorded, major, 'latest', { wal: 'all', pause: true })
      assert.equal(latest.running?.reached, 'paused')
      assert.deepEqual(await latest.sql('select n from seen order by n'), expected(40))
      await assert.rejects(restored(t, recorded, major, 'xid:4000000'), /not within reach on timeline 1/)
    },
  )
}

test(
  'a moment comes back as the clock of the server had it',
  { skip: lackingPostgres(16), timeout: 900_000 },
  async (t) => {
    const cluster = await source(t, 16)
    await cluster.sql('create table seen (n int, at timestamptz)')
    const recorded = new RecordedCluster(t)
    await recorded.baseline(cluster)
    const between: number[] = []
    for (let n = 1; n <= 6; n++) {
      await cluster.sql(`insert into seen values (${n}, clock_timestamp())`)
      const [now] = await cluster.sql('select (extract(epoch from clock_timestamp()) * 1000000)::bigint')
      between.push(Number(now?.[0]))
      if (n === 3) await recorded.baseline(cluster)
    }
    await recorded.takeWal(cluster)
    recorded.point()
    for (const n of [2, 3, 5]) {
      const back = await restored(t, recorded, 16, isoMoment(moment(between[n - 1] as number)))
      assert.deepEqual(await back.sql('select max(n) from seen'), [String(n)])
      assert.equal(back.plan.droppedCommits, 6 - n)
    }
    await assert.rejects(
      planRecovery(recorded, parsePostgresPoint('2020-01-01', now())),
      /earliest that can be reached/,
    )
  },
)

test(
  'what is paused can be read, and opens with all its histories when it is let go on',
  { skip: lackingPostgres(14), timeout: 900_000 },
  async (t) => {
    const cluster = await source(t, 14)
    const recorded = new RecordedCluster(t)
    await recorded.baseline(cluster)
    await cluster.sql('create table seen (n int); insert into seen values (1)')
    await cluster.sql("select pg_create_restore_point('good')")
    await cluster.sql('delete from seen')
    await recorded.takeWal(cluster)
    recorded.point()
    const back = await restored(t, recorded, 14, 'restore-point:good', { pause: true })
    assert.equal(back.running?.reached, 'paused')
    assert.deepEqual(await back.sql('select n from seen'), ['1'])
    await assert.rejects(back.sql('insert into seen values (2)'), /read-only/)
    await back.sql('select pg_wal_replay_resume()')
    await until('it is promoted', async () => (await back.sql('select pg_is_in_recovery()'))[0] === 'f')
    await back.sql('insert into seen values (2)')
    assert.deepEqual(await back.sql('select timeline_id from pg_control_checkpoint()'), ['2'])
  },
)

test(
  'tablespaces come to folders of their own, and prepared transactions back as prepared',
  { skip: lackingPostgres(16), timeout: 900_000 },
  async (t) => {
    const cluster = await source(t, 16)
    const folder = join(cluster.folder, 'space')
    mkdirSync(folder, { mode: 0o700 })
    const owner = serverOwner()
    if (owner) chownSync(folder, owner.uid, owner.gid)
    await cluster.sql(`create tablespace away location '${folder}'`)
    await cluster.sql('create table far (n int) tablespace away')
    await cluster.sql('create table near (n int)')
    const recorded = new RecordedCluster(t)
    const { tablespaces } = await recorded.baseline(cluster)
    await cluster.sql('insert into far select generate_series(1, 1000)')
    await cluster.sql("begin; insert into near values (7); prepare transaction 'held'")
    await recorded.takeWal(cluster)
    recorded.point()
    await cluster.stop()
    const back = await restored(t, recorded, 16, 'latest')
    assert.deepEqual(await back.sql('select count(*) from far'), ['1000'])
    const oid = String(tablespaces[0]?.oid)
    assert.equal(readlinkSync(join(back.data, 'pg_tblspc', oid)), `${back.data}.tablespaces/${oid}`)
    assert.deepEqual(await back.sql('select gid from pg_prepared_xacts'), ['held'])
    await back.sql("commit prepared 'held'")
    assert.deepEqual(await back.sql('select n from near'), ['7'])

    const elsewhere = join(cluster.folder, 'elsewhere')
    const chosen = new Map([[Number(oid), elsewhere]])
    const again = await restored(t, recorded, 16, 'latest', { tablespaces: chosen })
    assert.deepEqual(await again.sql('select count(*) from far'), ['1000'])
    assert.ok(readdirSync(elsewhere).some((name) => name.startsWith('PG_16')))
    assert.throws(() => choosePlace('/a', back.plan.baseline, new Map([[Number(oid), '/a/b']]), undefined), /is within/)
    assert.throws(() => choosePlace('/a', back.plan.baseline, new Map([[1, '/b']]), undefined), /no tablespace 1/)
  },
)

test(
  'settings of the source that would hang or harm are overruled, and told',
  { skip: lackingPostgres(17), timeout: 900_000 },
  async (t) => {
    const cluster = await source(t, 17, {
      synchronous_standby_names: 'nobody',
      synchronous_commit: 'local',
      archive_mode: true,
      archive_command: 'false',
      max_connections: 77,
      shared_preload_libraries: 'auto_explain',
    })
    const recorded = new RecordedCluster(t)
    await cluster.sql("select pg_create_physical_replication_slot('left')")
    // Known to the files alone: it would not let this server start again.
    cluster.configure({ shared_preload_libraries: 'auto_explain,not_here', hba_file: '/nowhere/pg_hba.conf' })
    appendFileSync(
      join(cluster.data, 'postgresql.conf'),
      "include '/etc/passwd.conf'\nssl = on\nrecovery_target_time = '2020-01-01'\n",
    )
    await recorded.baseline(cluster)
    await cluster.sql('set synchronous_commit = local; create table seen (n int)')
    await recorded.takeWal(cluster)
    recorded.point()
    const back = await restored(t, recorded, 17, 'latest')
    const value = async (name: string): Promise<string | undefined> => (await back.sql(`show ${name}`))[0]
    // A commit that waits for nobody.
    await back.sql('set synchronous_commit = on; insert into seen values (1)')
    assert.equal(await value('archive_mode'), 'off')
    assert.equal(await value('shared_preload_libraries'), 'auto_explain')
    assert.equal(await value('max_connections'), '77')
    assert.equal(await value('listen_addresses'), '')
    assert.equal(await value('ssl'), 'off')
    assert.deepEqual(await back.sql('select count(*) from pg_replication_slots'), ['0'])
    const told = new Map(back.changes.map(({ name, is }) => [name, is]))
    for (const name of [
      'synchronous_standby_names',
      'archive_mode',
      'archive_command',
      'port',
      'listen_addresses',
      'include',
    ])
      assert.ok(told.has(name), `${name} is told: ${[...told.keys()].join(', ')}`)
    assert.equal(told.get('hba_file'), 'left out')
    assert.equal(told.get('shared_preload_libraries'), 'auto_explain')
    assert.ok(existsSync(join(back.data, 'tidemark/pg_hba.conf.before')))
  },
)

test(
  'the branch that a promotion left is not on the way to the latest, and can be asked for',
  { skip: lackingPostgres(17), timeout: 900_000 },
  async (t) => {
    const first = await source(t, 17)
    await first.sql('create table seen (who text)')
    const recorded = new RecordedCluster(t)
    await recorded.baseline(first)
    const second = await first.standby(t)
    await second.start()
    await first.sql("insert into seen values ('before')")
    await until('it follows', async () => (await second.sql('select count(*) from seen'))[0]?.[0] === '1')
    await second.promote()
    const [lost] = await first.sql("insert into seen values ('left') returning txid_current()")
    await recorded.takeWal(first)
    const seq = recorded.point()
    await second.sql("insert into seen values ('promoted')")
    await recorded.takeWal(second)
    recorded.point()
    const all = 'select who from seen order by who'
    const latest = await restored(t, recorded, 17, 'latest')
    assert.equal(latest.plan.timeline, 2)
    assert.deepEqual(await latest.sql(all), ['before', 'promoted'])
    assert.deepEqual(await latest.sql('select timeline_id from pg_control_checkpoint()'), ['3'])
    await assert.rejects(planRecovery(recorded, parsePostgresPoint(`xid:${lost?.[0]}9999`, now())), /not within reach/)
    const left = await restored(t, recorded, 17, `xid:${lost?.[0]}@1`)
    assert.deepEqual(await left.sql(all), ['before', 'left'])
    const then = await restored(t, recorded, 17, `seq:${seq}`)
    assert.deepEqual(await then.sql(all), ['before', 'left'])
    // Timeline 2 is taken: another one is begun.
    assert.deepEqual(await then.sql('select timeline_id from pg_control_checkpoint()'), ['3'])
  },
)

for (const major of [13, 17] as const) {
  test(
    `limits that the source has raised after the baseline do not keep PostgreSQL ${major} from being looked at`,
    { skip: lackingPostgres(major), timeout: 900_000 },
    async (t) => {
      const cluster = await source(t, major, { max_prepared_transactions: 1 })
      const recorded = new RecordedCluster(t)
      await recorded.baseline(cluster)
      cluster.configure({ max_connections: 90, max_worker_processes: 20, max_prepared_transactions: 3 })
      await cluster.restart()
      await cluster.sql('create table seen (n int)')
      for (const n of [1, 2, 3]) await cluster.sql(`begin; insert into seen values (${n}); prepare transaction 'p${n}'`)
      await recorded.takeWal(cluster)
      recorded.point()
      const paused = await restored(t, recorded, major, 'latest', { pause: true })
      assert.equal(paused.running?.reached, 'paused')
      assert.deepEqual(await paused.sql('show max_connections'), ['90'])
      const open = await restored(t, recorded, major, 'latest')
      assert.deepEqual(await open.sql('select count(*) from pg_prepared_xacts'), ['3'])
    },
  )
}

test(
  'a restore that was stopped goes on where it was, and a server cannot be started before its end',
  { skip: lackingPostgres(17), timeout: 900_000 },
  async (t) => {
    const cluster = await source(t, 17)
    await cluster.sql("create table seen as select g as n, repeat('x', 500) from generate_series(1, 20000) g")
    const recorded = new RecordedCluster(t)
    await recorded.baseline(cluster)
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-back-'))
    chmodSync(folder, 0o755)
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const plan = await planRecovery(recorded, parsePostgresPoint('latest', now()))
    const data = join(folder, 'data')
    const owner = serverUser(undefined)
    const stop = new AbortController()
    const request: BringBackRequest = {
      source: 'db',
      plan,
      place: choosePlace(data, plan.baseline, new Map(), owner),
      resume: false,
      pause: false,
      start: findServer(17, join(postgresFolder(17), 'bin'), ''),
      port: 5432,
      wal: 'on-demand',
      fetchCommand: 'false',
      path: process.env['PATH'] ?? '',
    }
    const parts = { tree: recorded, origin: recorded.origin, ask, clock: systemClock }
    const tell = (progress: BringBackProgress): void => {
      if (progress.kind === 'base' && progress.bytes > 0) stop.abort()
    }
    await assert.rejects(bringBack(request, { ...parts, tell }, stop.signal), /was stopped/)
    assert.ok(!existsSync(join(data, 'global/pg_control')))
    const quiet = { ...parts, tell: () => {} }
    const go = new AbortController().signal
    await assert.rejects(bringBack(request, quiet, go), /unfinished/)
    const back = await bringBack({ ...request, resume: true }, quiet, go)
    t.after(() => back.running?.server.stop())
    assert.deepEqual(await ask(back, 'select count(*) from seen'), [['20000']])
    await assert.rejects(bringBack({ ...request, resume: true }, quiet, go), /not empty/)
  },
)
