import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { connect } from '../../src/capture/postgres/protocol/connection.ts'
import { parsePostgresUrl } from '../../src/capture/postgres/protocol/url.ts'
import { parseLsn } from '../../src/model/lsn.ts'
import type { Moment } from '../../src/model/moment.ts'
import { parsePostgresPoint } from '../../src/model/postgres-point.ts'
import { bringBack, type BringBackRequest, type BroughtBack } from '../../src/recover/postgres/bring-back.ts'
import { choosePlace } from '../../src/recover/postgres/place.ts'
import { planRecovery, type RecoveryPlan } from '../../src/recover/postgres/plan.ts'
import { findServer, serverUser } from '../../src/recover/postgres/server-programs.ts'
import type { Ask } from '../../src/recover/postgres/server.ts'
import { Cluster, type Settings } from '../support/postgres.ts'
import { lackingPostgres, postgresFolder, type PostgresMajor, serverOwner } from '../support/postgres-program.ts'
import { RecordedCluster } from '../support/postgres-tree.ts'

const now = (): Moment => systemClock.now() as Moment

const ask: Ask = async ({ socketFolder, port, database = 'postgres' }, text) => {
  const url = `postgres:///${database}?host=${encodeURIComponent(socketFolder)}&port=${port}&user=postgres`
  const target = parsePostgresUrl(url, 'postgres')
  await using connection = await connect({ target, purpose: 'database', clock: systemClock, random: systemRandom })
  return (await connection.query(text)).at(-1)?.rows ?? []
}

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
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-back-'))
  chmodSync(folder, 0o755)
  const plan = await planRecovery(recorded, parsePostgresPoint(point, now()))
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
    { skip: lackingPostgres(major), timeout: 240_000 },
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
