import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { CaptureOutput } from '../capture.ts'
import { leaving } from '../output-queue.ts'
import { Engine } from './engine.ts'
import type { FromEngine, ToEngine } from '../thread-messages.ts'
import type { EngineRequest } from './messages.ts'

/** The thread of one capture: sockets and messages come by its event loop. */
const port = parentPort as MessagePort
const tell = (message: FromEngine, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)

function hand(made: CaptureOutput): void {
  const { output, transfer } = leaving(made)
  tell({ kind: 'output', output }, transfer)
}

try {
  const engine = new Engine(workerData as EngineRequest, { clock: systemClock, random: systemRandom, hand })
  port.on('message', (message: ToEngine) => engine.receive(message))
  await engine.run()
} catch (error) {
  tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
}
port.close()
