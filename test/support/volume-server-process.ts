import { existsSync, readFileSync } from 'node:fs'
import { type VolumeFolder, volumeFolderOf } from '../../src/capture/volume/volume-folder.ts'
import type { Id } from '../../src/model/source.ts'
import { type Agent, type World } from '../e2e/harness.ts'
import { until } from './until.ts'

/** A test moves no process out of the control group that it runs in. */
export const keptGroup = { TIDEMARK_VOLUME_GROUP: 'keep' }

/** The server of a volume that an agent has started. It outlives the agent, and does not outlive the world. */
export class VolumeServerProcess {
  readonly folder: VolumeFolder

  private constructor(folder: VolumeFolder) {
    this.folder = folder
  }

  static async of(world: World, agent: Agent, name: string): Promise<VolumeServerProcess> {
    const source = await world.source(name)
    if (source === undefined) throw new Error(`${name} is not protected`)
    const server = new VolumeServerProcess(volumeFolderOf(agent.folder, { id: source.id as Id }))
    world.atEnd(async () => {
      // Nobody is to start another one.
      await agent.process.kill()
      await server.kill()
    })
    return server
  }

  get said(): string {
    return existsSync(this.folder.said) ? readFileSync(this.folder.said, 'utf8') : ''
  }

  /** The newest one's; it may have ended. */
  get pid(): number | undefined {
    const told = [...this.said.matchAll(/process (\d+) serves/g)].at(-1)?.[1]
    return told === undefined ? undefined : Number(told)
  }

  /** Nothing of it runs once this resolves; the system may still be closing its files. */
  async kill(): Promise<void> {
    const { pid } = this
    if (pid === undefined || !isServer(pid)) return
    process.kill(pid, 'SIGKILL')
    await until(`process ${pid} is gone`, () => !isServer(pid))
  }
}

/** A number may have been given to another program; of a dead process the command line is empty. */
function isServer(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('volume\0run')
  } catch {
    return false
  }
}
