import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { SourceStatus } from '../../src/api/schemas.ts'
import { pause, until } from '../command.ts'
import type { Mirror } from '../peers/mirror.ts'
import { lines, NotAnswered, Tidemark } from '../tidemark.ts'
import { Watched } from '../usage.ts'
import type { LiveTree, Made } from './live-tree.ts'

/** Milliseconds from the close of the file. */
export interface Arrival {
  readonly durableMs: number
  readonly visibleMs: number
}

export interface Observer {
  arrival(made: Made): Promise<Arrival>
  arrivals(made: readonly Made[]): Promise<Arrival[]>
  watch(): Watched
}

const waitMsMax = 120_000
const lookEveryMs = 1
const quietMs = 200

/** Looks at the mirror's directory until the bytes stand there under the name. */
export class MirrorObserver implements Observer {
  readonly #mirror: Mirror

  constructor(mirror: Mirror) {
    this.#mirror = mirror
  }

  watch(): Watched {
    return new Watched(this.#mirror.processes.map(({ pid }) => pid))
  }

  async untilSame(tree: LiveTree): Promise<void> {
    await until('the mirror to hold everything', () => {
      for (const process of this.#mirror.processes) process.assertRunning()
      return (
        countFiles(this.#mirror.target) === tree.smallFiles + 1 &&
        sizeOf(join(this.#mirror.target, 'large.bin')) === tree.largeBytes
      )
    })
    // What it does after its first copy must not weigh on the first trials.
    await pause(3000)
  }

  async arrival(made: Made): Promise<Arrival> {
    return (await this.arrivals([made]))[0] as Arrival
  }

  async arrivals(made: readonly Made[]): Promise<Arrival[]> {
    const seenAt = new Map<Made, number>()
    let waiting = [...made]
    await until(
      'the changes to reach the mirror',
      () => {
        for (const one of waiting)
          if (holds(join(this.#mirror.target, one.path), one)) seenAt.set(one, performance.now())
        waiting = waiting.filter((one) => !seenAt.has(one))
        return waiting.length === 0
      },
      { everyMs: lookEveryMs, msMax: waitMsMax },
    )
    return made.map((one) => {
      const ms = (seenAt.get(one) as number) - one.closedAt
      return { durableMs: ms, visibleMs: ms }
    })
  }
}

interface Heard {
  readonly at: number
  readonly durable: number
  readonly indexed: number
}

/**
 * Asks the vault, over its HTTP API, how far its journal is durable and how far its views go, every millisecond or
 * so, and notes when it heard each answer. Which sequence a change has is asked afterwards, from the path's history.
 */
export class TidemarkObserver implements Observer, AsyncDisposable {
  readonly #tidemark: Tidemark
  readonly #tree: LiveTree
  /** The journal's end when it was heard of last. */
  #durable = 0
  #heard: Heard[] = []

  private constructor(tidemark: Tidemark, tree: LiveTree) {
    this.#tidemark = tidemark
    this.#tree = tree
  }

  static async start(place: string, tree: LiveTree, profileDirectory: string | undefined): Promise<TidemarkObserver> {
    const tidemark = await Tidemark.start(join(place, 'tidemark'), { profileDirectory })
    await tidemark.protect('live', tree.directory)
    await pause(1000)
    const observer = new TidemarkObserver(tidemark, tree)
    await observer.#listenUntilQuiet(0)
    return observer
  }

  watch(): Watched {
    return this.#tidemark.watch()
  }

  async arrival(made: Made): Promise<Arrival> {
    return (await this.arrivals([made]))[0] as Arrival
  }

  async arrivals(made: readonly Made[]): Promise<Arrival[]> {
    this.#heard = []
    const unseen = new Set(made)
    const sequences = new Map<Made, number>()
    const end = performance.now() + waitMsMax
    while (unseen.size > 0) {
      // Nothing else is asked while changes of a burst are still on their way: that would be time not listened.
      await this.#listenUntilQuiet(made.length > 1 ? quietMs : 0)
      for (const one of unseen) {
        const sequence = await this.#sequenceOf(one)
        if (sequence === undefined) break
        sequences.set(one, sequence)
        unseen.delete(one)
      }
      if (performance.now() > end)
        throw new Error(`${[...unseen][0]?.path} has not arrived after ${waitMsMax / 1000} s`)
    }
    // What had grown the journal may have been something else, and the change itself has come while it was asked for.
    while ((this.#heard.at(-1)?.indexed ?? 0) < Math.max(...sequences.values())) await this.#listen()
    return made.map((one) => this.#arrivalOf(one, sequences.get(one) as number))
  }

  /** Until the journal has grown and views have caught up with it, and then it has not grown for a while. */
  async #listenUntilQuiet(quiet: number): Promise<void> {
    const before = this.#durable
    let grown = Number.POSITIVE_INFINITY
    for (;;) {
      const known = this.#durable
      const { at, indexed } = await this.#listen()
      if (this.#durable > known) grown = at
      if (this.#durable > before && indexed === this.#durable && at - grown >= quiet) return
      await pause(lookEveryMs)
    }
  }

  async #listen(): Promise<Heard> {
    const { sequence, indexed } = (await this.#tidemark.ask('GET', '/v1/sources/live')) as SourceStatus
    const heard = { at: performance.now(), durable: sequence, indexed }
    this.#heard.push(heard)
    this.#durable = sequence
    return heard
  }

  async #sequenceOf({ path, modifiedUs }: Made): Promise<number | undefined> {
    try {
      const history = await this.#tidemark.askText(
        'GET',
        `/v1/sources/live/history?path=${encodeURIComponent(join(this.#tree.directory, path))}`,
      )
      const versions = lines<{ sequence: number; modified?: string }>(history)
      return versions.find(({ modified }) => modified !== undefined && microseconds(modified) === modifiedUs)?.sequence
    } catch (error) {
      // A path that is new is not found until its first version is indexed.
      if (error instanceof NotAnswered && error.status === 404) return undefined
      throw error
    }
  }

  #arrivalOf({ path, closedAt }: Made, sequence: number): Arrival {
    const durable = this.#heard.find((one) => one.durable >= sequence)
    const visible = this.#heard.find((one) => one.indexed >= sequence)
    if (durable === undefined || visible === undefined)
      throw new Error(`${path} has sequence ${sequence}, which nobody heard of`)
    return { durableMs: durable.at - closedAt, visibleMs: visible.at - closedAt }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tidemark[Symbol.asyncDispose]()
  }
}

const microseconds = (iso: string): number => Date.parse(`${iso.slice(0, 19)}Z`) * 1000 + Number(iso.slice(20, 26))

function holds(path: string, { at, bytes }: Made): boolean {
  const found = Buffer.alloc(bytes.length)
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    // It is not there yet.
    return false
  }
  try {
    return readSync(file, found, 0, found.length, at) === bytes.length && found.equals(bytes)
  } finally {
    closeSync(file)
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Without the peer's own files and those under way, whose names begin with a dot. */
function countFiles(directory: string): number {
  return readdirSync(directory, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && !name.startsWith('~syncthing~'))
    .reduce(
      (sum, item) => sum + (item.isDirectory() ? countFiles(join(directory, item.name)) : Number(item.isFile())),
      0,
    )
}
