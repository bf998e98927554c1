import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import { waitReadable } from '../../base/syscalls/poll.ts'
import { Wake } from '../../base/syscalls/wake.ts'
import type { CaptureOutput } from '../capture.ts'
import { leaving } from '../output-queue.ts'
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

function hand(made: CaptureOutput): void {
  const { output, transfer } = leaving(made)
  tell({ kind: 'output', output }, transfer)
}

try {
  await work()
  tell({ kind: 'stopped' })
} catch (error) {
  tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
}
port.close()
