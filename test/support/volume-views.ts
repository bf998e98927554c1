import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/** The name of each export. */
export const viewName = 'view'

export interface ToViews {
  readonly kind: 'open' | 'close'
  readonly at: string
  readonly socket: string
}

export type FromViews =
  | { readonly kind: 'open'; readonly socket: string; readonly at: number; readonly moment: number }
  | { readonly kind: 'closed'; readonly socket: string }
  | { readonly kind: 'failed'; readonly socket: string; readonly why: string }

/** A point of a volume, open to be read and written. */
export interface VolumeView extends AsyncDisposable {
  readonly socket: string
  readonly name: string
  /** Its change in the journal, and the moment of that. */
  readonly at: number
  readonly moment: number
}

/** Points of one volume, opened in a process of their own: a file system on one of them may be used by this one. */
export class VolumeViews implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #closed: Promise<unknown>
  readonly #waiting = new Map<string, PromiseWithResolvers<FromViews>>()
  readonly #folder: string
  #count = 0

  constructor(parts: { readonly apiSocket: string; readonly source: string; readonly folder: string }) {
    const args = [join(import.meta.dirname, 'volume-views-program.ts'), parts.apiSocket, parts.source, parts.folder]
    this.#folder = parts.folder
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#closed = once(this.#child, 'close').then(() => this.#lost())
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const told = JSON.parse(line) as FromViews
      const waiting = this.#waiting.get(told.socket)
      this.#waiting.delete(told.socket)
      if (told.kind === 'failed') waiting?.reject(new Error(told.why))
      else waiting?.resolve(told)
    })
  }

  async open(at: string): Promise<VolumeView> {
    const socket = join(this.#folder, `view-${++this.#count}.sock`)
    const told = await this.#ask({ kind: 'open', at, socket })
    if (told.kind !== 'open') throw new Error(`${socket}: ${told.kind}`)
    const close = async (): Promise<void> => void (await this.#ask({ kind: 'close', at, socket }))
    return { socket, name: viewName, at: told.at, moment: told.moment, [Symbol.asyncDispose]: close }
  }

  #ask(message: ToViews): Promise<FromViews> {
    const waiting = Promise.withResolvers<FromViews>()
    this.#waiting.set(message.socket, waiting)
    this.#child.stdin.write(`${JSON.stringify(message)}\n`)
    return waiting.promise
  }

  #lost(): void {
    for (const { reject } of this.#waiting.values()) reject(new Error('the process of the views has ended'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
  }
}
