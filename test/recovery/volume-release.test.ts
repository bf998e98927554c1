import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { keptGroup, VolumeServerProcess } from '../support/volume-server-process.ts'
import { until } from '../support/until.ts'
import { VolumeLoad } from './volume-load.ts'
import { beginVolume, type VolumeScene } from './volume-scene.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_129)
const bytes = 2 * 1024 * 1024
/** From when the server knows to the kill, at most: it looks every two seconds whether somebody uses the volume. */
const delayMsMax = 2500

type Victim = 'server' | 'agent'

/** Where the letting go stands when it strikes. */
const places: Record<string, (scene: VolumeScene) => boolean> = {
  'the server knows': ({ server }) => /no longer protected/.test(server.said),
  'nobody is served any more': ({ server: { folder } }) => !existsSync(folder.nbd),
  'the server has left word, or its folder is going': ({ server: { folder } }) =>
    existsSync(folder.released) || !existsSync(folder.description),
  'its folder is gone': ({ server: { folder } }) => !existsSync(folder.directory),
}

const strikes: readonly { readonly at: string; readonly victims: readonly Victim[] }[] = [
  { at: 'the server knows', victims: ['server'] },
  { at: 'the server knows', victims: ['agent'] },
  { at: 'the server knows', victims: ['server', 'agent'] },
  { at: 'nobody is served any more', victims: ['server'] },
  { at: 'nobody is served any more', victims: ['server', 'agent'] },
  { at: 'the server has left word, or its folder is going', victims: ['server', 'agent'] },
  { at: 'the server has left word, or its folder is going', victims: ['agent'] },
  { at: 'its folder is gone', victims: ['agent'] },
]

test(
  'a volume that is let go has everything in its backing, whenever its server or the agent is killed meanwhile',
  { timeout: 1_800_000 },
  async (t) => {
    let scene = await beginVolume(t, { seed, bytes })
    const { world, agent, random, backing } = scene
    for (const [round, { at, victims }] of strikes.entries()) {
      const what = `${victims.join(' and ')} killed when ${at}`
      if (round > 0) scene = await protectAgain(scene, `disk${round}`)
      const { load, server } = scene
      await load.answers(40)
      await world.atAgent(agent, 'unprotect', round > 0 ? `disk${round}` : 'disk')
      await until('the server knows', () => /no longer protected/.test(server.said))
      // Its users go on until then: the last that they wrote is in the log alone.
      await load.answers(40)
      await load.pause()
      await load.stop()
      await until(at, () => places[at]?.(scene) === true)
      if (at === 'the server knows') await systemClock.sleep(random.integer(0, delayMsMax))
      await Promise.all(victims.map((victim) => (victim === 'agent' ? agent.process.kill() : server.kill())))
      if (victims.includes('agent')) await agent.process.start(keptGroup)
      await until(`${what}: it is let go`, () => readdirSync(join(agent.folder, 'volumes')).length === 0, 300_000)
      load.assertSame(readFileSync(backing), what)
    }
  },
)

async function protectAgain(scene: VolumeScene, name: string): Promise<VolumeScene> {
  const { world, agent, backing, random } = scene
  await world.atAgent(agent, 'protect', 'volume', backing, '--name', name)
  const server = await VolumeServerProcess.of(world, agent, name)
  const load = new VolumeLoad(readFileSync(backing), server.folder.nbd, random)
  world.atEnd(() => load.stop())
  return { ...scene, server, load }
}
