import type { Worker } from 'node:worker_threads'
import type { Moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Capture, CaptureOutput } from './capture.ts'
import { OutputQueue, waitingBytes } from './output-queue.ts'
import type { FromEngine, ToEngine } from './thread-messages.ts'

/** A capture whose engine runs in a thread of its own, and whose source keeps its own log until the vault has it. */
export class ThreadCapture implements Capture {
  readonly outputs: AsyncIterable<CaptureOutput>
  readonly resumedMoment: Moment | undefined
  readonly #worker: Worker
  readonly #ended: Promise<void>

  constructor(worker: Worker, resumedMoment: Moment | undefined) {
    this.#worker = worker
    this.resumedMoment = resumedMoment
    const queue = new OutputQueue((output) => {
      const bytes = waitingBytes(output)
      if (bytes > 0) this.#tell({ kind: 'taken', bytes })
    })
    this.outputs = queue
    this.#ended = new Promise((resolve) => {
      worker.on('exit', () => {
        queue.end()
        resolve()
      })
    })
    worker.on('error', (error) => queue.fail(error as Error))
    worker.on('message', (message: FromEngine) => {
      if (message.kind === 'failed') queue.fail(message.error)
      else queue.put(message.output)
    })
  }

  durable(): void {
    // The source has forgotten it when it was acknowledged.
  }

  acknowledged(sequence: Sequence): void {
    this.#tell({ kind: 'acknowledged', sequence })
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#tell({ kind: 'answer', tag, missing })
  }

  manifest(): void {
    // Never asked for: the cursor says all.
  }

  line(up: boolean): void {
    this.#tell({ kind: 'line', up })
  }

  mark(tag: number, label: string): void {
    this.#tell({ kind: 'mark', tag, label })
  }

  reconcile(): void {
    this.#tell({ kind: 'reconcile' })
  }

  hole(since: Moment, reason: string): void {
    this.#tell({ kind: 'hole', since, reason })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tell({ kind: 'stop' })
    await this.#ended
  }

  #tell(message: ToEngine): void {
    this.#worker.postMessage(message)
  }
}
