import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import { waitReadable } from '../../base/syscalls/poll.ts'
import { Wake } from '../../base/syscalls/wake.ts'
import type { CaptureOutput } from '../capture.ts'
import { Engine } from './engine.ts'
import type { EngineRequest, FromEngine, ToEngine } from './messages.ts'

/** The thread of one capture. It blocks in poll(2) between turns, so messages come with a ring of the bell. */
const port = parentPort as MessagePort
const tell = (message: FromEngine, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)

async function work(): Promise<void> {
  using wake = new Wake()
  using engine = new Engine(workerData as EngineRequest, { clock: systemClock, random: systemRandom, hand })
  tell({ kind: 'ready', wakeFd: wake.fd })
  for (;;) {
    for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
      const message = received.message as ToEngine
      if (message.kind === 'stop') return
      engine.receive(message)
    }
    const restMs = await engine.turn()
    waitReadable([wake.fd, ...engine.fds], restMs)
    wake.clear()
  }
}

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
  await work()
  tell({ kind: 'stopped' })
} catch (error) {
  tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
}
port.close()
