import { type MessagePort, parentPort } from 'node:worker_threads'
import type { CaptureOutput } from './capture.ts'
import { leaving } from './output-queue.ts'
import type { FromEngine, ToEngine } from './thread-messages.ts'

/** What captures in a thread with an event loop; `run` resolves once it was told to stop. */
export interface ThreadEngine {
  receive(message: ToEngine): void
  run(): Promise<void>
}

/** The whole life of the thread of one capture: sockets and messages come by its event loop. */
export async function runEngine(make: (hand: (output: CaptureOutput) => void) => ThreadEngine): Promise<void> {
  const port = parentPort as MessagePort
  const tell = (message: FromEngine, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)
  try {
    const engine = make((made) => {
      const { output, transfer } = leaving(made)
      tell({ kind: 'output', output }, transfer)
    })
    port.on('message', (message: ToEngine) => engine.receive(message))
    await engine.run()
  } catch (error) {
    tell({ kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) })
  }
  port.close()
}
