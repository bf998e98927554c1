import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { TidemarkError } from '../../base/errors.ts'
import { type Answers, Calls } from './calls.ts'

/** A worker thread that answers calls, from its start to its end. */
export class Thread<Theirs extends Answers> implements AsyncDisposable {
  readonly calls: Calls<Theirs>
  readonly #worker: Worker
  readonly #ended: Promise<unknown>
  #isLost = false

  /** `file` is the URL of the worker's file without its ending, which is that of the file that names it. */
  constructor(told: { file: string; beside: string; setup: unknown; answers?: Answers; name: string }) {
    const url = new URL(told.file + extname(new URL(told.beside).pathname), told.beside)
    this.#worker = new Worker(url, { workerData: told.setup, name: told.name })
    this.calls = new Calls<Theirs>(this.#worker, told.answers)
    this.#worker.on('error', (error) => this.#lose(told.name, error))
    this.#ended = once(this.#worker, 'exit').then(() => this.#lose(told.name, undefined))
  }

  /** It has ended, and all calls with it. */
  get isLost(): boolean {
    return this.#isLost
  }

  #lose(name: string, cause: unknown): void {
    this.#isLost = true
    this.calls.lost(
      new TidemarkError('interrupted', {
        message: `the thread for ${name} has ended`,
        hint: 'ask again; if it happens again, restart the vault and look at its log',
        cause,
      }),
    )
  }

  /** Asks the thread to end by `end`, which closes what it has open, and waits until it has. */
  async end(end: () => Promise<unknown>): Promise<void> {
    try {
      if (!this.#isLost) await end()
    } catch (error) {
      if (!this.#isLost) throw error
    }
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
    await this.#ended
  }
}
