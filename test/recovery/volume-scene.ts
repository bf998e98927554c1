import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { apiPath } from '../../src/api/client.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type Agent, World } from '../e2e/harness.ts'
import { Seeded } from '../sim/random.ts'
import { keptGroup, VolumeServerProcess } from '../support/volume-server-process.ts'
import { sectorBytes, stamped, VolumeLoad } from './volume-load.ts'

/** A vault, an agent, a volume that it protects, and its users. */
export interface VolumeScene {
  readonly world: World
  readonly agent: Agent
  readonly backing: string
  readonly server: VolumeServerProcess
  readonly load: VolumeLoad
  readonly random: Seeded
}

export interface VolumeSceneSettings {
  readonly seed: number
  readonly bytes: number
  /** Of "tidemark protect volume". */
  readonly options?: readonly string[]
  readonly vaultFolder?: string
  /** Before the agent runs for the first time. */
  readonly prepare?: (world: World, agent: Agent) => void
}

/** Once the first copy is whole. */
export async function beginVolume(t: TestContext, settings: VolumeSceneSettings): Promise<VolumeScene> {
  const { seed, bytes, options = [], vaultFolder, prepare } = settings
  t.diagnostic(`seed ${seed}`)
  const random = new Seeded(seed, options.join(' '))
  const world = await World.begin(t, vaultFolder)
  const agent = await world.join('server')
  const initial = Buffer.alloc(bytes)
  for (let sector = 0; sector < bytes / sectorBytes; sector++) {
    if (sector % 1000 < 700) stamped(0, sector).copy(initial, sector * sectorBytes)
  }
  const backing = join(world.folder, 'disk.img')
  writeFileSync(backing, initial)
  prepare?.(world, agent)
  await agent.process.start(keptGroup)
  await world.atAgent(agent, 'protect', 'volume', backing, '--name', 'disk', ...options)
  const server = await VolumeServerProcess.of(world, agent, 'disk')
  await world.until('disk', 'protected', ({ state }) => state === 'protected')
  const load = new VolumeLoad(initial, server.folder.nbd, random)
  world.atEnd(() => load.stop())
  return { world, agent, backing, server, load, random }
}

export async function contentAt({ world }: VolumeScene, at: string): Promise<Buffer> {
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const pieces = await client.stream('GET', apiPath('/v1/sources/disk/content', { at, path: 'disk' }))
  return Buffer.concat(await Array.fromAsync(pieces))
}

/** The holes of its journal, each with its reason. */
export async function holesOf({ world }: VolumeScene): Promise<string[]> {
  const points = await world.atVault('points', 'disk', '--json', '--limit', '100000')
  return points.out.split('\n').filter((line) => line.includes('"kind":"hole"'))
}
