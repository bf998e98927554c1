import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { volumeFolderOf } from '../../src/capture/volume/volume-folder.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import type { Id } from '../../src/model/source.ts'
import type { VolumeOrigin } from '../../src/recover/volume/origin.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Process, World } from '../e2e/harness.ts'
import type { Seeded } from '../sim/random.ts'
import { isListening } from './listening.ts'
import { until } from './until.ts'
import { VolumeDevice } from './volume-device.ts'
import { type CutDisk, type FileSystem, wrongWith } from './volume-points.ts'
import { type Found, TransactionRecord } from './volume-record.ts'
import { VolumeViews } from './volume-views.ts'

/** Each waits much: for the vault, and for devices to come and go. */
const judgesAtOnce = 3
const name = 'disk1'
export const MiB = 1024 * 1024

/** Who writes to a file system. */
export interface DatabaseUsers {
  readonly count: number
  /** Until it is disposed; what is written before it resolves is synced. */
  begin(mounted: string, record: TransactionRecord): Promise<AsyncDisposable>
}

/** Looks into the databases of a file system; as a whole, or into what is looked into quickly. */
export interface DatabaseJudge extends AsyncDisposable {
  found(mounted: string, isWhole: boolean): Promise<readonly Found[]>
}

/** A volume whose journal at the vault holds a load from its beginning to its end. */
export interface Loaded {
  readonly t: TestContext
  readonly world: World
  readonly fileSystem: FileSystem
  readonly record: TransactionRecord
  readonly views: VolumeViews
  /** For what is mounted. */
  readonly folder: string
  /** The first and the last change made under load. */
  readonly first: number
  readonly last: number
  point(at: string): Promise<VolumeOrigin>
}

export interface LoadAsked {
  readonly fileSystem: FileSystem
  readonly bytes: number
  readonly users: DatabaseUsers
  /** Of each user. */
  readonly transactions: number
}

/** Until each user has made so many transactions. */
export async function load(t: TestContext, { fileSystem, bytes, users, transactions }: LoadAsked): Promise<Loaded> {
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
  await until('the volume is served', () => isListening(served.nbd))
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const point = (at: string): Promise<VolumeOrigin> => apiVolume(client, name, at)
  const record = new TransactionRecord()
  let first = 0
  {
    await using device = await VolumeDevice.attach(join(world.folder, 'attached'), served.nbd, name)
    const [make, ...args] = fileSystem.make
    await device.run(make, ...args, device.device)
    await using mounted = await device.mount(...fileSystem.mountOptions)
    await using _working = await users.begin(mounted.folder, record)
    const areAll = (): boolean => record.counts.length === users.count
    await until('all users are at work', () => areAll() && record.counts.every((count) => count > 0))
    first = (await point(await world.quietMoment(name))).point.at
    await until('there were transactions', () => record.counts.every((count) => count >= transactions), 300_000)
  }
  const { at: last } = (await point(await world.quietMoment(name))).point
  t.diagnostic(`${record.counts.join(' + ')} transactions in the changes ${first} to ${last}`)
  const views = new VolumeViews({ apiSocket: join(world.vaultFolder, 'api.sock'), source: name, folder: world.folder })
  world.atEnd(() => views[Symbol.asyncDispose]())
  return { t, world, fileSystem, record, views, folder: world.directory('cuts'), first, last, point }
}

/** Looks at so many points, and at some of them by the command itself and as a whole. */
export async function cutAnywhere(
  loaded: Loaded,
  beginJudge: () => Promise<DatabaseJudge>,
  random: Seeded,
  { points, whole }: { readonly points: number; readonly whole: number },
): Promise<void> {
  const { t, first, last, point } = loaded
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
    await using databases = await beginJudge()
    for (const [index, at] of waiting) {
      const isWhole = index % Math.max(1, Math.floor(points / whole)) === 0
      const told = isWhole
        ? await wrongWithOpened(loaded, `seq:${at}`, await momentOf(at), databases)
        : await wrongAt(loaded, `seq:${at}`, databases)
      wrong.push(...told.map((one) => `at seq:${at}: ${one}`))
    }
  }
  await Promise.all(Array.from({ length: judgesAtOnce }, judge))
  t.diagnostic(`${points} points judged in ${Math.round((performance.now() - begun) / 1000)} s`)
  assert.deepEqual(wrong, [])
}

export async function wrongAt(loaded: Loaded, at: string, databases: DatabaseJudge): Promise<string[]> {
  await using view = await loaded.views.open(at)
  return await wrongOn(view, loaded, databases, false)
}

export const wrongOn = (
  disk: CutDisk,
  { folder, fileSystem, record }: Loaded,
  databases: DatabaseJudge,
  isWhole: boolean,
): Promise<string[]> =>
  wrongWith(disk, { folder, fileSystem, record, found: (mounted) => databases.found(mounted, isWhole) })

/** By the command itself. */
async function wrongWithOpened(loaded: Loaded, at: string, when: number, databases: DatabaseJudge): Promise<string[]> {
  const { world } = loaded
  const folder = mkdtempSync(join(loaded.folder, 'open-'))
  const socket = join(folder, 'nbd.sock')
  const args = ['--vault', world.vaultFolder, 'open', name, '--at', at, '--writable', '--socket', socket]
  const opened = new Process(args, /It is served until/, join(folder, 'log'))
  await opened.start()
  try {
    return await wrongOn({ socket, name, moment: when }, loaded, databases, true)
  } finally {
    await opened.stop()
    rmSync(folder, { recursive: true })
  }
}

/** It outlives its agent, and must not outlive the test. */
async function endServer(said: string): Promise<void> {
  const pid = Number([...readFileSync(said, 'utf8').matchAll(/process (\d+) serves/g)].at(-1)?.[1])
  const told = `/proc/${pid}/cmdline`
  if (existsSync(told) && readFileSync(told, 'utf8').includes('volume\0run')) process.kill(pid, 'SIGKILL')
}
