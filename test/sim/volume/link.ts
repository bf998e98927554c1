import { unreachable } from '../../../src/base/assert.ts'
import { TidemarkError } from '../../../src/base/errors.ts'
import { Wake } from '../../../src/base/wake.ts'
import type { FromVolumeServer, ToVolumeServer } from '../../../src/capture/volume/control.ts'
import type { ServerLink, VolumeFacts } from '../../../src/capture/volume/server-link.ts'
import type { VolumeDisk } from '../../../src/capture/volume/server/disk.ts'
import { VolumeLogReader } from '../../../src/format/volume-log-reader.ts'
import type { RecordNumber, VolumeRecord } from '../../../src/format/volume-log.ts'
import type { Id } from '../../../src/model/source.ts'
import { type Life, never, type SimulatedTime } from '../clock.ts'
import type { Seeded } from '../random.ts'
import type { SimulatedVolumeDisk } from '../../support/volume-disk-files.ts'

export interface VolumeLinkParts {
  readonly id: Id
  readonly volume: VolumeDisk
  readonly disk: SimulatedVolumeDisk
  readonly time: SimulatedTime
  readonly random: Seeded
  /** Of the agent that converses. */
  readonly agent: Life
  /** The server marks the volume; it is told of each mark before it is. */
  readonly mark: (tag: number, label: string) => Promise<RecordNumber>
  readonly acknowledged: (epoch: number, number: number) => void
  readonly failed: (error: unknown) => void
}

/** Takes this long at most to the other process. */
const wayMsMax = 2

/** In order, each some time after it was sent. */
class Way {
  readonly #time: SimulatedTime
  readonly #random: Seeded
  #lastMs = 0

  constructor(time: SimulatedTime, random: Seeded) {
    this.#time = time
    this.#random = random
  }

  carry(arrives: () => void): void {
    this.#lastMs = Math.max(this.#lastMs, this.#time.nowMs + this.#random.fraction() * wayMsMax)
    this.#time.after(this.#lastMs - this.#time.nowMs, arrives)
  }
}

/** A conversation between the two processes as control.sock, an NBD connection and the log's folder carry it. */
export class SimulatedVolumeLink implements ServerLink {
  readonly volume: VolumeFacts
  readonly messages: AsyncIterable<FromVolumeServer> = { [Symbol.asyncIterator]: () => this.#messages() }
  readonly #parts: VolumeLinkParts
  readonly #toServer: Way
  readonly #toAgent: Way
  readonly #heard: FromVolumeServer[] = []
  readonly #woken = new Wake()
  readonly #over = new AbortController()
  #reader: VolumeLogReader | undefined

  constructor(parts: VolumeLinkParts) {
    this.#parts = parts
    this.#toServer = new Way(parts.time, parts.random)
    this.#toAgent = new Way(parts.time, parts.random)
    this.volume = this.#facts()
    this.durable()
    void parts.agent.ended.then(() => this.end())
  }

  get isOver(): boolean {
    return this.#over.signal.aborted
  }

  /** Either end is gone, or has turned to another one. */
  end(): void {
    if (this.isOver) return
    this.#over.abort(new TidemarkError('interrupted', { message: 'the conversation with the volume server is over' }))
    this.#parts.volume.line(false)
  }

  // The server's side

  durable(): void {
    const { epoch, durable } = this.#parts.volume
    this.#say({ kind: 'durable', epoch, number: durable })
  }

  epoch(): void {
    this.#say(this.#facts())
    this.durable()
  }

  #say(message: FromVolumeServer): void {
    this.#toAgent.carry(() => {
      this.#heard.push(message)
      this.#woken.wake()
    })
  }

  #facts(): VolumeFacts {
    const { epoch, bytes, regionBytes, first, acknowledgedPlace: acknowledged } = this.#parts.volume
    return { kind: 'volume', epoch, bytes, regionBytes, first, acknowledged, software: 'simulation' }
  }

  #take(message: ToVolumeServer): void {
    const { volume, mark, acknowledged } = this.#parts
    switch (message.kind) {
      case 'acknowledged':
        return acknowledged(message.epoch, message.number)
      case 'line':
        return volume.line(message.up)
      case 'mark':
        void mark(message.tag, message.label).then((number) => this.#say({ kind: 'marked', tag: message.tag, number }))
        return
      case 'ask-place':
        return this.#say({ kind: 'place', tag: message.tag, epoch: volume.epoch, number: volume.last })
      case 'ask-touched':
        return this.#say({ kind: 'touched', tag: message.tag, ...volume.askTouched(message.from) })
      case 'healed':
        return volume.healed(message.regions, message.number)
      case 'settings':
        return volume.settings(message.settings)
      case 'release':
        return volume.release()
      default:
        return unreachable(message)
    }
  }

  // The agent's side

  async *#messages(): AsyncGenerator<FromVolumeServer> {
    const { signal } = this.#over
    for (;;) {
      const message = await this.#whileAlive(
        this.#woken.until(() => this.#heard.shift(), signal).catch(() => undefined),
      )
      if (message === undefined) return
      yield message
    }
  }

  tell(message: ToVolumeServer): void {
    if (this.isOver || !this.#parts.agent.alive) return
    this.#toServer.carry(() => {
      if (!this.isOver) this.#take(message)
    })
  }

  read(at: number, bytes: number): Promise<Uint8Array> {
    const { volume } = this.#parts
    const into = Buffer.alloc(bytes, 0xee)
    return this.#asked((answer) => {
      const failed = (error: string): void => answer(() => Promise.reject(new Error(`reading ended with ${error}`)))
      const done = (): void => answer(() => into)
      volume.take([{ kind: 'read', at, bytes, into, answer: { done, failed } }])
    })
  }

  isZeros(at: number, bytes: number): Promise<boolean> {
    return this.#asked((answer) => {
      this.#parts.volume.extents(at, bytes).then((extents) => {
        const last = extents.at(-1)
        const isAll = last !== undefined && last.at + last.bytes >= at + bytes
        answer(() => isAll && extents.every(({ is }) => is !== 'data'))
      }, this.#parts.failed)
    })
  }

  /** A question over the NBD connection, whose answer is made when it comes back. */
  #asked<T>(ask: (answer: (make: () => T | Promise<T>) => void) => void): Promise<T> {
    const { time, random } = this.#parts
    const { signal } = this.#over
    const asked = new Promise<T>((resolve, reject) => {
      signal.throwIfAborted()
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      time.after(random.fraction() * wayMsMax, () => {
        const answer = (make: () => T | Promise<T>): void => {
          time.after(random.fraction() * wayMsMax, () => this.isOver || resolve(make()))
        }
        if (!this.isOver) ask(answer)
      })
    })
    return this.#whileAlive(asked)
  }

  async *records(after: number, upTo: number): AsyncGenerator<readonly VolumeRecord[]> {
    const { id, disk, agent } = this.#parts
    const from = (after + 1) as RecordNumber
    if (this.#reader?.next !== from) {
      this.#reader = new VolumeLogReader(disk.logForReaders(), { volume: id, from })
    }
    for await (const records of this.#reader.read(upTo as RecordNumber)) {
      this.#over.signal.throwIfAborted()
      if (!agent.alive) await never()
      yield records
    }
  }

  #whileAlive<T>(promise: Promise<T>): Promise<T> {
    return this.#parts.agent.through(promise)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }
}
