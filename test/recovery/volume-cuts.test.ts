import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { isoMoment, moment } from '../../src/model/moment.ts'
import type { Range } from '../../src/model/change.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { lacking } from '../run/programs.ts'
import { Seeded } from '../sim/random.ts'
import { lackingPostgres } from '../support/postgres-program.ts'
import {
  cutAnywhere,
  type DatabaseJudge,
  type DatabaseUsers,
  load,
  type Loaded,
  MiB,
  wrongAt,
  wrongOn,
} from '../support/volume-cuts.ts'
import { lackingVolumeDevice } from '../support/volume-device.ts'
import { foundInMariadb, lackingMariadb, MariadbLoad, mariadbUsers } from '../support/volume-mariadb.ts'
import { ext4, xfs } from '../support/volume-points.ts'
import { dataFolder, foundInPostgres, newClusterOn, PostgresLoad } from '../support/volume-postgres.ts'
import type { Noted } from '../support/volume-record.ts'
import { SqliteJudge, SqliteLoad } from '../support/volume-sqlite.ts'
import { viewName } from '../support/volume-views.ts'

/**
 * A real file system with real databases on a protected volume, cut at random points of its journal. What they were told is
 * noted by those who asked; a disk of the past is used as one is after a power cut.
 *
 *   TIDEMARK_CUTS    points on ext4, 200 unless given
 *   TIDEMARK_SEED    chooses the points, 1 unless given
 */
const cuts = Number(process.env['TIDEMARK_CUTS'] ?? 200)
const seed = Number(process.env['TIDEMARK_SEED'] ?? 1)
const major = 17
const never = new AbortController().signal
const skip = lackingVolumeDevice() || lackingPostgres(major)

/** PostgreSQL, which is looked into where all is, and SQLite. */
const postgresAndSqlite = (t: TestContext): DatabaseUsers => ({
  count: 5,
  begin: async (mounted, record) => {
    await using begun = new AsyncDisposableStack()
    const cluster = await newClusterOn(t, major, dataFolder(mounted))
    begun.defer(() => cluster.stop())
    begun.use(await SqliteLoad.begin(mounted, record))
    begun.use(new PostgresLoad(cluster, record))
    return begun.move()
  },
})

async function judgeOfBoth(t: TestContext): Promise<DatabaseJudge> {
  const sqlite = await SqliteJudge.begin()
  return {
    found: async (mounted, isWhole) => [
      ...(await sqlite.found(mounted)),
      ...(isWhole ? await foundInPostgres(t, major, dataFolder(mounted)) : []),
    ],
    [Symbol.asyncDispose]: () => sqlite[Symbol.asyncDispose](),
  }
}

const mariadb: DatabaseUsers = { count: mariadbUsers.length, begin: MariadbLoad.begin }
const judgeOfMariadb = async (): Promise<DatabaseJudge> => ({
  found: foundInMariadb,
  [Symbol.asyncDispose]: async () => {},
})

test(
  'a file system and its databases, cut at any write, hold all that was told and nothing by halves',
  { skip, timeout: 900_000 },
  async (t) => {
    const loaded = await load(t, { fileSystem: ext4, bytes: 192 * MiB, users: postgresAndSqlite(t), transactions: 80 })
    await using _views = loaded.views
    await cutAnywhere(loaded, () => judgeOfBoth(t), new Seeded(seed, 'ext4'), { points: cuts, whole: 8 })
    await noticePlanted(loaded)
  },
)

test(
  'a file system of another kind, cut at any write, holds all that was told and nothing by halves',
  { skip: skip || lacking('mkfs.xfs', 'xfs_repair'), timeout: 900_000 },
  async (t) => {
    const loaded = await load(t, { fileSystem: xfs, bytes: 320 * MiB, users: postgresAndSqlite(t), transactions: 20 })
    await using _views = loaded.views
    const points = { points: Math.ceil(cuts / 16), whole: 2 }
    await cutAnywhere(loaded, () => judgeOfBoth(t), new Seeded(seed, 'xfs'), points)
  },
)

test(
  'MariaDB, cut at any write, starts and holds all that was told and nothing by halves',
  { skip: lackingVolumeDevice() || lackingMariadb(), timeout: 900_000 },
  async (t) => {
    const loaded = await load(t, { fileSystem: ext4, bytes: 128 * MiB, users: mariadb, transactions: 40 })
    await using _views = loaded.views
    const points = { points: Math.ceil(cuts / 20), whole: 1 }
    await cutAnywhere(loaded, judgeOfMariadb, new Seeded(seed, 'mariadb'), points)
    await noticeMissing(loaded)
  },
)

/**
 * Plants what must never be: all that was written for a transaction comes after its flush, or one such write does not come at
 * all, and the power is cut behind it. The judgement has to notice both, else it says nothing where it is content.
 */
async function noticePlanted(loaded: Loaded): Promise<void> {
  const { t, record } = loaded
  await using databases = await judgeOfBoth(t)
  for (const user of record.users.filter((one) => one.startsWith('sqlite'))) {
    const told = record.of(user).filter(({ told: at }) => at < Infinity)
    const [shortest, ...others] = told.slice(10, -10).toSorted((a, b) => a.told - a.began - (b.told - b.began))
    assert.ok(shortest !== undefined && others.length > 0)
    for (const noted of [shortest, ...others.slice(0, 1)]) {
      const { after, writes } = await writesOf(loaded, noted)
      assert.deepEqual(await wrongAt(loaded, after, databases), [], 'nothing is planted yet')
      const wrong = await wrongWithout(loaded, noted, writes, databases)
      assert.notDeepEqual(wrong, [], `all ${writes.length} writes of transaction ${noted.number} of ${user}`)
    }
    const { writes } = await writesOf(loaded, shortest)
    let isNoticed = false
    for (const write of writes.toReversed()) {
      isNoticed ||= (await wrongWithout(loaded, shortest, [write], databases)).length > 0
    }
    assert.ok(isNoticed, `one of ${writes.length} writes of ${user}`)
  }
}

/** The same of MariaDB, for one transaction. */
async function noticeMissing(loaded: Loaded): Promise<void> {
  await using databases = await judgeOfMariadb()
  const [user = ''] = mariadbUsers
  const noted = loaded.record.of(user).findLast(({ told }) => told < Infinity)
  assert.ok(noted !== undefined)
  const { after, writes } = await writesOf(loaded, noted)
  assert.deepEqual(await wrongAt(loaded, after, databases), [], 'nothing is planted yet')
  const wrong = await wrongWithout(loaded, noted, writes, databases)
  assert.ok(
    wrong.some((one) => one.startsWith(user)),
    `all ${writes.length} writes of a transaction: ${wrong.join('; ')}`,
  )
}

/** What was written while a transaction was made, and the first point at which it was told. */
async function writesOf(
  { point }: Loaded,
  { began, told }: Noted,
): Promise<{ readonly before: string; readonly after: string; readonly writes: readonly Range[] }> {
  const before = await point(isoMoment(moment(began - 1)))
  const last = await point(isoMoment(moment(told)))
  const writes: Range[] = []
  for await (const stretch of last.readJournal(before.point.at, never)) {
    if (stretch.kind === 'data') writes.push({ at: stretch.at, bytes: stretch.bytes })
  }
  return { before: `seq:${before.point.at}`, after: `seq:${last.point.at + 1}`, writes }
}

/** What is wrong right after a transaction was told, when these writes have not come. */
async function wrongWithout(
  loaded: Loaded,
  noted: Noted,
  writes: readonly Range[],
  databases: DatabaseJudge,
): Promise<string[]> {
  const { before, after } = await writesOf(loaded, noted)
  await using planted = await loaded.views.open(after)
  await using past = await loaded.views.open(before)
  {
    await using disk = await NbdClient.connect({ at: { path: planted.socket }, exportName: viewName }, never)
    await using old = await NbdClient.connect({ at: { path: past.socket }, exportName: viewName }, never)
    for (const { at, bytes } of writes) await disk.write(at, await old.read(at, bytes))
  }
  return await wrongOn(planted, loaded, databases, false)
}
