import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { CaptureOutput } from '../capture.ts'
import { Engine } from './engine.ts'
import type { EngineRequest, FromEngine, ToEngine } from './messages.ts'

/** The thread of one capture: sockets and messages come by its event loop. */
const port = parentPort as MessagePort
const tell = (message: FromEngine, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)

/** Buffers of their own travel without a copy. */
function hand(output: CaptureOutput): void {
  if (output.kind !== 'batch') return tell({ kind: 'output', output })
  const bytes = alone(output.bytes)
  const blocks = output.blocks.map(alone)
  tell({ kind: 'output', output: { ...output, bytes, blocks } }, [bytes.buffer, ...blocks.map(({ buffer }) => buffer)])
}

function alone(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const isAlone = bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.length
  // Small buffers come from Node's pool, which must not be transferred.
  return isAlone ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes)
}

try {
  const engine = new Engine(workerData as EngineRequest, { clock: systemClock, random: systemRandom, hand })
  port.on('message', (message: ToEngine) => engine.receive(message))
  await engine.run()
} catch (error) {
  tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
}
port.close()
