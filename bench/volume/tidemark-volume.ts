import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../command.ts'
import { ours } from '../record.ts'
import { Tidemark, type TidemarkOptions } from '../tidemark.ts'
import { usageSinceStart } from '../usage.ts'
import { type Contestant, type Served, socketUri } from './served.ts'

const name = 'disk'
/** No process leaves the control group of the measurement: it would have the processors more for itself than the others. */
const environment = { TIDEMARK_VOLUME_GROUP: 'keep' }

/** The volume server with its log kept, which an agent ships to a vault that runs. */
export const tidemarkVolume = (options: TidemarkOptions): Contestant => ({
  who: ours,
  async serve(file, place) {
    const tidemark = await Tidemark.start(join(place, 'tidemark'), { ...options, environment })
    try {
      return await protect(tidemark, file)
    } catch (error) {
      await tidemark[Symbol.asyncDispose]()
      throw error
    }
  },
})

async function protect(tidemark: Tidemark, file: string): Promise<Served> {
  const folder = await tidemark.protectVolume(name, file)
  const server = Number(/process (\d+) serves/.exec(readFileSync(folder.said, 'utf8'))?.[1])
  // The server was started by the agent and is counted with it.
  const everything = tidemark.watch()
  return {
    uri: socketUri(folder.nbd, name),
    cpuSeconds: () => usageSinceStart(server).cpuSeconds,
    cpuSecondsOfAll: () => everything.usage().cpuSeconds,
    untilQuiet: () => tidemark.untilCovered(name),
    async [Symbol.asyncDispose]() {
      everything[Symbol.dispose]()
      await tidemark.command(['unprotect', name])
      await until('the volume to be let go', () => !existsSync(folder.directory), { msMax: 60_000 })
      await tidemark[Symbol.asyncDispose]()
    },
  }
}
