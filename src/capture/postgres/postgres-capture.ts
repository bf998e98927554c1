import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Capture, CaptureOutput, CaptureRequest } from '../capture.ts'
import { beginning, decodeCursor } from './cursor.ts'
import { OutputQueue, waitingBytes } from '../output-queue.ts'
import type { EngineRequest, FromEngine, ToEngine } from './messages.ts'
import type { Account } from './server.ts'

/** Begins to capture a PostgreSQL cluster by its replication protocol, in a thread of its own. */
export async function openPostgresCapture(request: CaptureRequest, account: Account): Promise<Capture> {
  const { source, resumeAt, cursor, chunkKey } = request
  const resumedMoment = decodeCursor(cursor).moment
  const workerData: EngineRequest = { source, resumeAt, cursor, chunkKey, account }
  const worker = new Worker(new URL(`./postgres-worker${extname(import.meta.url)}`, import.meta.url), { workerData })
  return new PostgresCapture(worker, resumedMoment > beginning.moment ? resumedMoment : undefined)
}

class PostgresCapture implements Capture {
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
    // The slot has moved when it was acknowledged.
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
