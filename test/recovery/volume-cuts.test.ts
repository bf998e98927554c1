import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { volumeFolderOf } from '../../src/capture/volume/volume-folder.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import type { Range } from '../../src/model/change.ts'
import type { Id } from '../../src/model/source.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import type { VolumeOrigin } from '../../src/recover/volume/origin.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Process, World } from '../e2e/harness.ts'
import { lacking } from '../run/programs.ts'
import { Seeded } from '../sim/random.ts'
import { lackingPostgres } from '../support/postgres-program.ts'
import { lackingVolumeDevice, VolumeDevice } from '../support/volume-device.ts'
import { ext4, type FileSystem, type Judging, wrongWith, xfs } from '../support/volume-points.ts'
import { dataFolder, newClusterOn, PostgresLoad } from '../support/volume-postgres.ts'
import { type Noted, TransactionRecord } from '../support/volume-record.ts'
import { SqliteJudge, SqliteLoad } from '../support/volume-sqlite.ts'
import { viewName, VolumeViews } from '../support/volume-views.ts'
import { until } from '../support/until.ts'

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
/** Each waits much: for the vault, and for devices to come and go. */
const judgesAtOnce = 3
const name = 'disk1'
const MiB = 1024 * 1024
const never = new AbortController().signal
const skip = lackingVolumeDevice() || lackingPostgres(major)

/** A volume whose journal at the vault holds a load from its beginning to its end. */
interface Loaded {
  readonly world: World
  readonly fileSystem: FileSystem
  readonly record: TransactionRecord
  readonly views: VolumeViews
  /** The first and the last change made under load. */
  readonly first: number
  readonly last: number
  point(at: string): Promise<VolumeOrigin>
}

test(
  'a file system and its databases, cut at any write, hold all that was told and nothing by halves',
  { skip, timeout: 900_000 },
  async (t) => {
    const loaded = await load(t, ext4, 192 * MiB, 80)
    await using _views = loaded.views
    await using sqlite = await SqliteJudge.begin()
    const judging = { t, folder: loaded.world.directory('cuts'), sqlite, ...loaded }
    await cutAnywhere(loaded, judging, new Seeded(seed, 'ext4'), { points: cuts, whole: 8 })
    await noticePlanted(loaded, judging)
  },
)

test(
  'a file system of another kind, cut at any write, holds all that was told and nothing by halves',
  { skip: skip || lacking('mkfs.xfs', 'xfs_repair'), timeout: 900_000 },
  async (t) => {
    const loaded = await load(t, xfs, 320 * MiB, 20)
    await using _views = loaded.views
    await using sqlite = await SqliteJudge.begin()
    const judging = { t, folder: loaded.world.directory('cuts'), sqlite, ...loaded }
    await cutAnywhere(loaded, judging, new Seeded(seed, 'xfs'), { points: Math.ceil(cuts / 16), whole: 2 })
  },
)

/** Until each user has made so many transactions. */
async function load(t: TestContext, fileSystem: FileSystem, bytes: number, transactions: number): Promise<Loaded> {
  const world = await World.begin(t)
  const agent = await world.join('server')
  // Server and writers share the control group of the test: safe as long as all they write is far less than it may have.
  await agent.process.start({ TIDEMARK_VOLUME_GROUP: 'keep' })
  await world.atAgent(
    agent,
    ...['protect', 'volume', join(world.folder, 'disk.img'), '--name', name, '--size', String(bytes)],
  )
  const { id } = (await world.source(name)) ?? assert.fail('it is protected')
  const served = volumeFolderOf(agent.folder, { id: id as Id })
  world.atEnd(() => endServer(served.said))
  await until('the volume is served', () => existsSync(served.nbd))
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const point = (at: string): Promise<VolumeOrigin> => apiVolume(client, name, at)
  const record = new TransactionRecord()
  let first = 0
  {
    await using device = await VolumeDevice.attach(join(world.folder, 'attached'), served.nbd, name)
    const [make, ...args] = fileSystem.make
    await device.run(make, ...args, device.device)
    await using mounted = await device.mount(...fileSystem.mountOptions)
    const cluster = await newClusterOn(t, major, dataFolder(mounted.folder))
    await using _ended = { [Symbol.asyncDispose]: () => cluster.stop() }
    await using _sqlite = await SqliteLoad.begin(mounted.folder, record)
    await using _postgres = new PostgresLoad(cluster, record)
    await until('all users are at work', () => record.counts.length === 5 && record.counts.every((count) => count > 0))
    first = (await point(await world.quietMoment(name))).point.at
    await until('there were transactions', () => record.counts.every((count) => count >= transactions), 300_000)
  }
  const { at: last } = (await point(await world.quietMoment(name))).point
  t.diagnostic(`${record.counts.join(' + ')} transactions in the changes ${first} to ${last}`)
  const views = new VolumeViews({ apiSocket: join(world.vaultFolder, 'api.sock'), source: name, folder: world.folder })
  world.atEnd(() => views[Symbol.asyncDispose]())
  return { world, fileSystem, record, views, first, last, point }
}

async function cutAnywhere(
  { world, views, first, last, point }: Loaded,
  judging: Judging,
  random: Seeded,
  { points, whole }: { readonly points: number; readonly whole: number },
): Promise<void> {
  const chosen = new Set<number>()
  const momentOf = async (at: number): Promise<number> => (await point(`seq:${at}`)).point.moment
  const [since, until] = [await momentOf(first), await momentOf(last)]
  while (chosen.size < points) {
    const when = isoMoment(moment(random.integer(since + 1, until)))
    const at = random.chance(0.5) ? random.integer(first, last) : (await point(`flush:${when}`)).point.at
    if (at >= first) chosen.add(at)
  }
  const begun = performance.now()
  const wrong: string[] = []
  const waiting = [...chosen].entries()
  const judge = async (): Promise<void> => {
    await using sqlite = await SqliteJudge.begin()
    for (const [index, at] of waiting) {
      const isWhole = index % Math.max(1, Math.floor(points / whole)) === 0
      const told = isWhole
        ? await wrongWithOpened(world, `seq:${at}`, await momentOf(at), { ...judging, sqlite, postgres: major })
        : await wrongAt(views, `seq:${at}`, { ...judging, sqlite })
      wrong.push(...told.map((one) => `at seq:${at}: ${one}`))
    }
  }
  await Promise.all(Array.from({ length: judgesAtOnce }, judge))
  judging.t.diagnostic(`${points} points judged in ${Math.round((performance.now() - begun) / 1000)} s`)
  assert.deepEqual(wrong, [])
}

async function wrongAt(views: VolumeViews, at: string, judging: Judging): Promise<string[]> {
  await using view = await views.open(at)
  return await wrongWith(view, judging)
}

/** By the command itself. */
async function wrongWithOpened(world: World, at: string, when: number, judging: Judging): Promise<string[]> {
  const folder = mkdtempSync(join(judging.folder, 'open-'))
  const socket = join(folder, 'nbd.sock')
  const args = ['--vault', world.vaultFolder, 'open', name, '--at', at, '--writable', '--socket', socket]
  const opened = new Process(args, /It is served until/, join(folder, 'log'))
  await opened.start()
  try {
    return await wrongWith({ socket, name, moment: when }, judging)
  } finally {
    await opened.stop()
    rmSync(folder, { recursive: true })
  }
}

/**
 * Plants what must never be: all that was written for a transaction comes after its flush, or one such write does not come at
 * all, and the power is cut behind it. The judgement has to notice both, else it says nothing where it is content.
 */
async function noticePlanted(loaded: Loaded, judging: Judging): Promise<void> {
  const { record, views } = loaded
  for (const user of record.users.filter((one) => one.startsWith('sqlite'))) {
    const told = record.of(user).filter(({ told: at }) => at < Infinity)
    const [shortest, ...others] = told.slice(10, -10).toSorted((a, b) => a.told - a.began - (b.told - b.began))
    assert.ok(shortest !== undefined && others.length > 0)
    for (const noted of [shortest, ...others.slice(0, 1)]) {
      const { after, writes } = await writesOf(loaded, noted)
      assert.deepEqual(await wrongAt(views, after, judging), [], 'nothing is planted yet')
      const wrong = await wrongWithout(loaded, noted, writes, judging)
      assert.notDeepEqual(wrong, [], `all ${writes.length} writes of transaction ${noted.number} of ${user}`)
    }
    const { writes } = await writesOf(loaded, shortest)
    let isNoticed = false
    for (const write of writes.toReversed()) {
      isNoticed ||= (await wrongWithout(loaded, shortest, [write], judging)).length > 0
    }
    assert.ok(isNoticed, `one of ${writes.length} writes of ${user}`)
  }
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
  judging: Judging,
): Promise<string[]> {
  const { before, after } = await writesOf(loaded, noted)
  await using planted = await loaded.views.open(after)
  await using past = await loaded.views.open(before)
  {
    await using disk = await NbdClient.connect({ at: { path: planted.socket }, exportName: viewName }, never)
    await using old = await NbdClient.connect({ at: { path: past.socket }, exportName: viewName }, never)
    for (const { at, bytes } of writes) await disk.write(at, await old.read(at, bytes))
  }
  return await wrongWith(planted, judging)
}

/** It outlives its agent, and must not outlive the test. */
async function endServer(said: string): Promise<void> {
  const pid = Number([...readFileSync(said, 'utf8').matchAll(/process (\d+) serves/g)].at(-1)?.[1])
  const told = `/proc/${pid}/cmdline`
  if (existsSync(told) && readFileSync(told, 'utf8').includes('volume\0run')) process.kill(pid, 'SIGKILL')
}
