import { closeSync, constants, openSync } from 'node:fs'
import { extname } from 'node:path'
import { isMarkedAsUntransferable, Worker } from 'node:worker_threads'
import type { Attributes } from '../model/change.ts'
import type { TreePath } from '../model/path.ts'
import type { Entry } from './groups.ts'
import type { StateFolder } from './state-folder.ts'
import type { Written } from './write-group.ts'

/** What a writer is told to do; it answers each with what was written, in order. */
export type WriterJob =
  | { readonly kind: 'group'; readonly entries: readonly Entry[]; readonly content: readonly Uint8Array[] }
  | {
      readonly kind: 'large-file'
      readonly path: TreePath
      readonly file: number
      readonly attributes: Attributes
      readonly bytes: number
    }
  /** Makes durable all that any writer has written so far. */
  | { readonly kind: 'sync' }

/** The last message to a writer. */
export const noMoreJobs = 'no more jobs'

export type WriterAnswer =
  | { readonly written: Written }
  | { readonly failed: { readonly message: string; readonly code: string | undefined } }

/** Descriptors, which are the whole process's, and the key that chunks are checked with. */
export interface WriterSetup {
  readonly root: number
  readonly ownStaging: number
  readonly largeStaging: number
  readonly chunkKey: Uint8Array
}

/** A failure of the target itself, as against one entry of it. */
class TargetFailed extends Error {
  override readonly name = 'TargetFailed'
  readonly code: string | undefined
  constructor(message: string, code: string | undefined) {
    super(message)
    this.code = code
  }
}

/**
 * The threads that write to a target. File systems spend most of a restore inside the kernel, so two of them are
 * worth two cores, while the thread that fetches goes on (measured in bench/restore.ts).
 */
export class Writers implements AsyncDisposable {
  readonly #threads: WriterThread[] = []
  readonly #staging: number[] = []

  constructor(root: number, state: StateFolder, chunkKey: Uint8Array, count: number) {
    const largeStaging = this.#openStaging(state.staging('large'))
    for (let index = 0; index < count; index++) {
      const ownStaging = this.#openStaging(state.staging(`writer-${index}`))
      this.#threads.push(new WriterThread({ root, ownStaging, largeStaging, chunkKey }))
    }
  }

  #openStaging(folder: string): number {
    const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    this.#staging.push(descriptor)
    return descriptor
  }

  run(job: WriterJob): Promise<Written> {
    const idlest = this.#threads.reduce((a, b) => (b.waiting < a.waiting ? b : a))
    return idlest.run(job)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()))
    for (const descriptor of this.#staging) closeSync(descriptor)
  }
}

/** Memory that crosses as it is. The rest is copied: small pieces lie in memory that others have a part of. */
function movable(pieces: readonly Uint8Array[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { buffer } of pieces) {
    if (buffer instanceof ArrayBuffer && !isMarkedAsUntransferable(buffer)) buffers.add(buffer)
  }
  return [...buffers]
}

class WriterThread {
  readonly #worker: Worker
  readonly #asked: { resolve(written: Written): void; reject(error: Error): void }[] = []
  readonly #exited: Promise<void>
  #ended: Error | undefined

  constructor(setup: WriterSetup) {
    this.#worker = new Worker(new URL(`./writer-thread${extname(import.meta.url)}`, import.meta.url), {
      workerData: setup,
    })
    this.#worker.on('message', (answer: WriterAnswer) => {
      const asked = this.#asked.shift()
      if ('written' in answer) asked?.resolve(answer.written)
      else asked?.reject(new TargetFailed(answer.failed.message, answer.failed.code))
    })
    this.#worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))))
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end(new Error('a writer of the restore ended'))
        resolve()
      })
    })
  }

  get waiting(): number {
    return this.#asked.length
  }

  run(job: WriterJob): Promise<Written> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended)
      this.#asked.push({ resolve, reject })
      this.#worker.postMessage(job, job.kind === 'group' ? movable(job.content) : [])
    })
  }

  /** Not by force: a thread that is killed while it loads native code takes the whole process with it. */
  async stop(): Promise<void> {
    this.#worker.postMessage(noMoreJobs)
    await this.#exited
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const { reject } of this.#asked.splice(0)) reject(error)
  }
}
