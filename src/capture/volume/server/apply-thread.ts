import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

/** So many bytes of the log to the backing, or zeros where there is no descriptor to copy from. */
export interface ThreadStep {
  readonly from: number
  readonly position: number
  readonly at: number
  readonly bytes: number
}

/** Four numbers a step, in the order of `ThreadStep`. */
export const stepNumbers = 4

/** The last message to the thread. */
export const noMoreSteps = 'no more steps'

export type ApplyAnswer = { readonly failed?: { readonly message: string; readonly code: string | undefined } }

/**
 * Writes to the backing in a thread of its own with synchronous calls, which cost least, while the one that answers requests goes on. The
 * descriptors are the process's.
 */
export class ApplyThread implements AsyncDisposable {
  readonly #worker: Worker
  #asked: { resolve(): void; reject(error: unknown): void } | undefined
  readonly #exited: Promise<void>
  #ended: unknown

  constructor(backing: number) {
    const url = new URL(`./apply-worker${extname(import.meta.url)}`, import.meta.url)
    this.#worker = new Worker(url, { workerData: { backing }, name: 'apply' })
    this.#worker.on('message', (answer: ApplyAnswer) => this.#answered(answer))
    this.#worker.on('error', (error) => this.#end(error))
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end(new Error('the thread that writes to the backing has ended'))
        resolve()
      })
    })
    this.#worker.unref()
  }

  apply(steps: readonly ThreadStep[]): Promise<void> {
    const numbers = new Float64Array(steps.length * stepNumbers)
    for (const [index, { from, position, at, bytes }] of steps.entries())
      numbers.set([from, position, at, bytes], index * stepNumbers)
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended)
      if (this.#asked) return reject(new Error('broken invariant: one batch is applied at a time'))
      this.#asked = { resolve, reject }
      this.#worker.ref()
      this.#worker.postMessage(numbers, [numbers.buffer])
    })
  }

  #answered({ failed }: ApplyAnswer): void {
    const asked = this.#asked
    this.#asked = undefined
    this.#worker.unref()
    if (failed === undefined) asked?.resolve()
    else asked?.reject(Object.assign(new Error(failed.message), { code: failed.code }))
  }

  #end(error: unknown): void {
    this.#ended ??= error
    this.#asked?.reject(error)
    this.#asked = undefined
  }

  /** Not by force: a thread that is ended while it loads native code takes the whole process with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#worker.ref()
    this.#worker.postMessage(noMoreSteps)
    await this.#exited
  }
}
