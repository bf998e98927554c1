import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { CaptureOutput } from '../capture.ts'
import { leaving } from '../output-queue.ts'
import type { FromEngine, ToEngine } from '../thread-messages.ts'
import { connectServer } from './connect.ts'
import { Engine } from './engine.ts'
import type { EngineRequest } from './messages.ts'
import type { OpenServer } from './server-link.ts'
import { describeVolume, type ServerHome, withServer } from './start-server.ts'

/** The thread of one capture: sockets and messages come by its event loop. */
const port = parentPort as MessagePort
const tell = (message: FromEngine, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)

function hand(made: CaptureOutput): void {
  const { output, transfer } = leaving(made)
  tell({ kind: 'output', output }, transfer)
}

try {
  const { home, ...request } = workerData as EngineRequest & { home: ServerHome }
  const { source } = request
  const openServer: OpenServer = async (signal) => {
    const folder = await describeVolume(home, source)
    const address = { folder, id: source.id, name: source.name }
    return await withServer(home, folder, systemClock, signal, () => connectServer(address, signal))
  }
  const engine = new Engine(request, { clock: systemClock, random: systemRandom, hand, openServer })
  port.on('message', (message: ToEngine) => engine.receive(message))
  await engine.run()
} catch (error) {
  tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
}
port.close()
