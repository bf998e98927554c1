import { workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import { runEngine } from '../thread-worker.ts'
import { connectServer } from './connect.ts'
import { Engine } from './engine.ts'
import type { EngineRequest } from './messages.ts'
import type { OpenServer } from './server-link.ts'
import { MirrorLegs } from '../../nbd/mirror-leg.ts'
import { describeVolume, type ServerHome, withServer } from './start-server.ts'
import { deviceOwner } from './volume-folder.ts'

const { home, ...request } = workerData as EngineRequest & { home: ServerHome }
const { source } = request

const openServer: OpenServer = async (signal) => {
  const folder = await describeVolume(home, source)
  const address = { folder, id: source.id, name: source.name }
  return await withServer(home, folder, systemClock, signal, () => connectServer(address, signal))
}

const legs = new MirrorLegs(deviceOwner(source.id))
const parts = { clock: systemClock, random: systemRandom, openServer, lookAtLeg: () => legs.look() }
await runEngine((hand) => new Engine(request, { ...parts, hand }))
