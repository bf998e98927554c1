import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ring } from '../../base/syscalls/wake.ts'
import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Capture, CaptureOutput, CaptureRequest } from '../capture.ts'
import { beginning, decodeCursor } from './cursor.ts'
import { OutputQueue, waitingBytes } from '../output-queue.ts'
import type { EngineRequest, FromEngine, ToEngine } from './messages.ts'
import { type WatchingOptions, watchNames } from './watching.ts'

export interface FilesCaptureOptions {
  /** Directories of the agent (its spool, its logs) that are never captured. The state directory is left out anyway. */
  readonly never?: readonly string[]
  readonly watching?: WatchingOptions
}

const allWays: WatchingOptions = { allowed: watchNames, unlimitedQueue: true }

/** Begins to capture directory trees of this machine, in a thread of its own. */
export async function openFilesCapture(request: CaptureRequest, options: FilesCaptureOptions = {}): Promise<Capture> {
  const { source, stateDirectory, resumeAt, cursor, chunkKey } = request
  const { never = [], watching = allWays } = options
  const workerData: EngineRequest = { source, stateDirectory, resumeAt, cursor, chunkKey, never, watching }
  const worker = new Worker(new URL(`./files-worker${extname(import.meta.url)}`, import.meta.url), { workerData })
  const resumedMoment = decodeCursor(cursor).moment
  const capture = new FilesCapture(worker, resumedMoment > beginning.moment ? resumedMoment : undefined)
  await capture.ready
  return capture
}

class FilesCapture implements Capture {
  readonly outputs: AsyncIterable<CaptureOutput>
  readonly resumedMoment: Moment | undefined
  readonly ready: Promise<void>
  readonly #worker: Worker
  readonly #ended: Promise<void>
  #wakeFd: number | undefined

  constructor(worker: Worker, resumedMoment: Moment | undefined) {
    this.#worker = worker
    this.resumedMoment = resumedMoment
    const queue = new OutputQueue((output) => {
      if (output.kind === 'batch') this.#tell({ kind: 'taken', bulk: output.bulk, bytes: waitingBytes(output) })
    })
    this.outputs = queue
    let isReady: () => void
    let isUnready: (error: Error) => void
    this.ready = new Promise((resolve, reject) => {
      isReady = resolve
      isUnready = reject
    })
    this.#ended = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#wakeFd = undefined
        isUnready(queue.failure ?? new Error('the thread of the capture ended'))
        queue.end()
        resolve()
      })
    })
    worker.on('error', (error) => queue.fail(error as Error))
    worker.on('message', (message: FromEngine) => {
      if (message.kind === 'ready') {
        this.#wakeFd = message.wakeFd
        isReady()
      } else if (message.kind === 'output') {
        queue.put(message.output)
      } else {
        this.#wakeFd = undefined
        if (message.kind === 'failed') queue.fail(message.error)
      }
    })
  }

  durable(sequence: Sequence): void {
    this.#tell({ kind: 'durable', sequence })
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#tell({ kind: 'answer', tag, missing })
  }

  manifest(path: string, at: Sequence): void {
    this.#tell({ kind: 'manifest', path, at })
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
    if (this.#wakeFd === undefined) return
    this.#worker.postMessage(message)
    ring(this.#wakeFd)
  }
}
