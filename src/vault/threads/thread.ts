import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { type Answers, Calls } from './calls.ts'

/** A worker thread that answers calls, from its start to its end. */
export class Thread<Theirs extends Answers> implements AsyncDisposable {
  readonly calls: Calls<Theirs>
  readonly #worker: Worker
  readonly #ended: Promise<unknown>
  readonly #name: string
  #loss: TidemarkError | undefined

  /** `file` is the URL of the worker's file without its ending, which is that of the file that names it. */
  constructor(told: { file: string; beside: string; setup: unknown; answers?: Answers; name: string }) {
    this.#name = told.name
    const url = new URL(told.file + extname(new URL(told.beside).pathname), told.beside)
    this.#worker = new Worker(url, { workerData: told.setup, name: told.name })
    this.calls = new Calls<Theirs>(this.#worker, told.answers)
    // An error comes before the exit that it causes; one of memory or of loading has no other way to be told.
    this.#worker.on('error', (error) => this.#lose(error))
    this.#ended = new Promise((resolve) => this.#worker.once('exit', resolve)).then(() => this.#lose(undefined))
  }

  /** It has ended, and all calls with it. */
  get isLost(): boolean {
    return this.#loss !== undefined
  }

  #lose(cause: unknown): void {
    if (this.#loss !== undefined) return
    this.#loss = new TidemarkError('interrupted', {
      message: `the thread for ${this.#name} has ended${cause === undefined ? '' : `: ${messageOf(cause)}`}`,
      hint: 'it is started again by itself; if it ends again and again, look at the log of the vault',
      cause,
    })
    this.calls.lost(this.#loss)
  }

  /** Asks the thread to end by `end`, which closes what it has open, and waits until it has. */
  async end(end: () => Promise<unknown>): Promise<void> {
    try {
      if (!this.isLost) await end()
    } catch (error) {
      if (!this.isLost) throw error
    }
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
    await this.#ended
  }
}
