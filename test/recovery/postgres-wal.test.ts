import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { WalEvent } from '../../src/format/wal/events.ts'
import { WalScanner } from '../../src/format/wal/scanner.ts'
import { formatLsn, parseLsn, parseWalSegmentName } from '../../src/model/lsn.ts'
import { lackingPostgres, postgresMajors } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'

const segmentBytes = 1 << 20

const load = [
  'create table t (id int primary key, s text)',
  'create table big (x text)',
  ...Array.from({ length: 60 }, (_, id) => `insert into t values (${id}, repeat(md5('${id}'), ${id % 40}))`),
  ...Array.from({ length: 10 }, (_, id) => `begin; insert into t values (${1000 + id}); rollback`),
  `begin; ${Array.from({ length: 100 }, (_, id) => `savepoint s${id}; insert into t values (${2000 + id})`).join('; ')}; commit`,
  ...Array.from({ length: 6 }, (_, id) => [
    `begin; insert into t values (${3000 + id}); prepare transaction 'prepared ${id}'`,
    `${id % 3 === 0 ? 'rollback' : 'commit'} prepared 'prepared ${id}'`,
  ]).flat(),
  "select pg_create_restore_point('before the accident')",
  'select pg_switch_wal()',
  ...Array.from(
    { length: 30 },
    (_, id) => `create table d${id} (a int primary key, b text); insert into d${id} values (1)`,
  ),
  `begin; ${Array.from({ length: 30 }, (_, id) => `drop table d${id}`).join('; ')}; commit`,
  // Records over many pages, and a commit of thousands of subtransactions.
  "insert into big select string_agg(md5(g::text), '') from generate_series(1, 60000) g",
  `do $$ begin for i in 1..3000 loop begin insert into t values (10000 + i); exception when others then null; end; end loop; end $$`,
  'checkpoint',
  "select pg_create_restore_point('zwei ümlaut')",
  'create database other',
]

for (const major of postgresMajors) {
  test(
    `what the scan tells of the WAL of PostgreSQL ${major} is what the server says`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const cluster = await Cluster.create(t, {
        major,
        initdbArgs: [`--wal-segsize=${segmentBytes / 2 ** 20}`],
        settings: {
          track_commit_timestamp: true,
          max_prepared_transactions: 10,
          wal_level: major % 2 === 0 ? 'replica' : 'logical',
          max_wal_size: '2GB',
          ...(major < 13 ? { wal_keep_segments: 500 } : { wal_keep_size: '1GB' }),
        },
      })
      const ask = async (statements: readonly string[]): Promise<readonly (readonly (string | null)[])[]> => {
        await using connection = await cluster.connect('database')
        let rows: readonly (readonly (string | null)[])[] = []
        for (const statement of statements) rows = (await connection.query(statement)).at(-1)?.rows ?? []
        return rows
      }
      await ask(load)
      cluster.configure({ max_connections: 33 })
      await cluster.restart()
      await ask(
        Array.from({ length: 30 }, (_, id) => `insert into t values (${20_000 + id}, repeat('x', ${id * 100}))`),
      )
      const upTo = parseLsn(String((await ask(['select pg_current_wal_flush_lsn()']))[0]?.[0]))
      const commitTimes = await ask([
        `select xid, (extract(epoch from date_trunc('second', ended)) * 1000000)::bigint + extract(microseconds from ended)::bigint % 1000000
       from (select g as xid, pg_xact_commit_timestamp(g::text::xid) as ended
             from generate_series(3, (select txid_current()::int - 1)) g) times where ended is not null`,
      ])
      const inspected = major >= 15 ? await inspect(ask, cluster) : undefined
      await cluster.stop()

      const { events, end, startsAt } = scanFolder(cluster)
      assert.equal(end.reason, 'blank', end.found)
      assert.ok(end.end >= upTo, `${formatLsn(end.end)} for ${formatLsn(upTo)}`)

      const times = new Map(commitTimes.map(([xid, time]) => [Number(xid), Number(time)]))
      const commits = events.filter((event) => event.kind === 'commit' || event.kind === 'commit-prepared')
      const firstTracked = Math.min(...times.keys())
      const tracked = commits.filter(({ xid, end: at }) => xid >= firstTracked && at <= upTo)
      assert.ok(tracked.length > 120)
      for (const { xid, time } of tracked) assert.equal(times.get(xid), time, `xid ${xid}`)
      // All that has a time is there: transactions by their own commit, subtransactions counted in it.
      const subtransactions = tracked.reduce((sum, commit) => sum + commit.subtransactions, 0)
      assert.equal(tracked.length + subtransactions, times.size)

      const told = <Kind extends WalEvent['kind']>(kind: Kind) =>
        events.filter((event): event is Extract<WalEvent, { kind: Kind }> => event.kind === kind)
      const gids = Array.from({ length: 6 }, (_, id) => `prepared ${id}`)
      assert.deepEqual(
        told('prepare').map(({ gid }) => gid),
        gids,
      )
      assert.equal(told('commit-prepared').length, 4)
      assert.equal(told('abort-prepared').length, 2)
      if (major % 2 === 1) assert.equal(told('commit-prepared')[0]?.gid, 'prepared 1')
      assert.deepEqual(
        told('restore-point').map(({ name }) => name),
        ['before the accident', 'zwei ümlaut'],
      )
      assert.equal(told('abort').length, 10)
      assert.ok(told('segment-switch').some(({ end: at }) => at % segmentBytes === 0))
      const parameters = told('parameter-change').at(-1)
      assert.equal(parameters?.maxConnections, 33)
      assert.equal(parameters?.walLevel, major % 2 === 0 ? 'replica' : 'logical')
      assert.equal(parameters?.trackCommitTimestamp, true)
      assert.ok(
        told('checkpoint').some(({ shutdown }) => shutdown) && told('checkpoint').some(({ shutdown }) => !shutdown),
      )
      for (const { redo, start, timeline } of told('checkpoint')) assert.ok(redo <= start && timeline === 1)

      if (inspected === undefined) return
      const known = new Set(
        inspected.filter(([start]) => parseLsn(String(start)) >= startsAt).map((row) => row.join(' ')),
      )
      const last = parseLsn(String(inspected.at(-1)?.[0]))
      const found = events.filter(({ start }) => start <= last && start >= parseLsn(String(inspected[0]?.[0])))
      assert.ok(found.length > 150)
      assert.deepEqual(
        new Set(found.map((event) => `${formatLsn(event.start)} ${formatLsn(event.end)} ${inspectedName(event)}`)),
        known,
      )
    },
  )
}

/** What pg_walinspect says of the records that are told of. */
async function inspect(
  ask: (statements: readonly string[]) => Promise<readonly (readonly (string | null)[])[]>,
  cluster: Cluster,
) {
  const first = walFiles(cluster)[0] as string
  // The first record of the first segment is found by the server itself, behind the header.
  const from = formatLsn((parseWalSegmentName(first, segmentBytes).start + 40) as ReturnType<typeof parseLsn>)
  return await ask([
    'create extension pg_walinspect',
    `select start_lsn, end_lsn, record_type from pg_get_wal_records_info('${from}', pg_current_wal_flush_lsn())
     where resource_manager in ('XLOG', 'Transaction') and record_type in ('COMMIT', 'ABORT', 'PREPARE', 'COMMIT_PREPARED',
       'ABORT_PREPARED', 'RESTORE_POINT', 'SWITCH', 'PARAMETER_CHANGE', 'CHECKPOINT_ONLINE', 'CHECKPOINT_SHUTDOWN')
     order by start_lsn`,
  ])
}

const inspectedNames: Partial<Record<WalEvent['kind'], string>> = { 'segment-switch': 'SWITCH' }

const inspectedName = (event: WalEvent): string =>
  event.kind === 'checkpoint'
    ? event.shutdown
      ? 'CHECKPOINT_SHUTDOWN'
      : 'CHECKPOINT_ONLINE'
    : (inspectedNames[event.kind] ?? event.kind.toUpperCase().replace('-', '_'))

const walFiles = (cluster: Cluster): string[] =>
  readdirSync(join(cluster.data, 'pg_wal'))
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort()

/** With checksums, in pieces that fit nothing. */
function scanFolder(cluster: Cluster) {
  const files = walFiles(cluster)
  const startsAt = parseWalSegmentName(files[0] as string, segmentBytes).start
  const scanner = new WalScanner({ start: startsAt, segmentBytes, checksums: true })
  const events: WalEvent[] = []
  for (const file of files) {
    const bytes = readFileSync(join(cluster.data, 'pg_wal', file))
    for (let at = 0; at < bytes.length && scanner.ended === undefined; at += 100_003) {
      events.push(...scanner.push(bytes.subarray(at, at + 100_003), scanner.position))
    }
  }
  return { events, end: scanner.ending(), startsAt }
}
