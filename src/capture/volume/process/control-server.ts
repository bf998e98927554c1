import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import net, { type Server, type Socket } from 'node:net'
import { unreachable } from '../../../base/assert.ts'
import type { Clock } from '../../../base/clock.ts'
import { messageOf } from '../../../base/errors.ts'
import { peerOf } from '../../../base/syscalls/sockets.ts'
import { type Problem, problemsMax } from '../../../model/report.ts'
import type { VolumeSettings } from '../../../model/source.ts'
import { descriptorOf } from '../../../nbd/live-sockets.ts'
import type { FromVolumeServer, ToVolumeServer } from '../control.ts'
import { formatLine, linesOf, parseToServer } from '../control-lines.ts'

/** Of a `VolumeDisk` what the capture hears of and steers. */
export interface ControlledVolume {
  readonly bytes: number
  readonly regionBytes: number
  readonly epoch: number
  readonly first: number
  readonly last: number
  readonly durable: number
  readonly logBytes: number
  readonly unsentBytes: number
  readonly acknowledgedPlace: { readonly epoch: number; readonly number: number }
  readonly problems: readonly Problem[]
  acknowledged(epoch: number, number: number): void
  line(up: boolean): void
  mark(tag: number, label: string): Promise<number>
  askTouched(from: number): { readonly regions: readonly number[]; readonly next?: number }
  healed(regions: readonly number[], number: number): void
  settings(settings: VolumeSettings): void
  release(): void
}

export interface ControlServerParts {
  readonly path: string
  readonly disk: ControlledVolume
  readonly software: string
  /** Users of the volume: connections without those of the process `capture`. */
  readonly clients: (capture: number | undefined) => number
  readonly problems: () => readonly Problem[]
  /** It is no longer protected. */
  readonly released: () => void
  readonly noted: (line: string) => void
  readonly clock: Clock
}

const stateMs = 1000
/** With more on its way, the newest durable number waits; with far more the capture hangs, and is left. */
const unsentBytes = { durable: 64 * 1024, most: 4 * 1024 * 1024 }

/** The volume's end of control.sock. One capture at a time: the newest. */
export class ControlServer implements AsyncDisposable {
  readonly #parts: ControlServerParts
  readonly #server: Server
  #socket: Socket | undefined
  #capture: number | undefined
  #toldDurable = 0

  private constructor(parts: ControlServerParts) {
    this.#parts = parts
    this.#server = net.createServer((socket) => {
      // What breaks it ends the reading of its lines.
      void this.#converse(socket)
    })
  }

  /** The folder is locked by this process, so a socket that is there is a dead one's. */
  static async listen(parts: ControlServerParts): Promise<ControlServer> {
    const control = new ControlServer(parts)
    await rm(parts.path, { force: true })
    control.#server.listen(parts.path)
    await once(control.#server, 'listening')
    await chmod(parts.path, 0o600)
    return control
  }

  /** The process of the capture that is connected. */
  get capture(): number | undefined {
    return this.#capture
  }

  durable(): void {
    const { disk } = this.#parts
    const isClogged = (this.#socket?.writableLength ?? 0) > unsentBytes.durable
    if (isClogged || disk.durable === this.#toldDurable) return
    this.#toldDurable = disk.durable
    this.#say({ kind: 'durable', epoch: disk.epoch, number: disk.durable })
  }

  epoch(): void {
    this.#say(this.#facts())
    this.#toldDurable = 0
    this.durable()
  }

  /** Tells the state now and then, until `signal` aborts. */
  async tellState(signal: AbortSignal): Promise<void> {
    for (;;) {
      this.state()
      this.durable()
      await this.#parts.clock.sleep(stateMs, signal)
    }
  }

  state(): void {
    const { disk, clients, problems } = this.#parts
    this.#say({
      kind: 'state',
      clients: clients(this.#capture),
      logBytes: disk.logBytes,
      unsentBytes: disk.unsentBytes,
      problems: [...disk.problems, ...problems()].slice(-problemsMax),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#socket?.destroy()
    await closed
  }

  async #converse(socket: Socket): Promise<void> {
    this.#socket?.destroy()
    this.#socket = socket
    this.#toldDurable = 0
    const descriptor = descriptorOf(socket)
    this.#capture = descriptor === undefined ? undefined : peerOf(descriptor).pid
    this.#say(this.#facts())
    this.durable()
    this.state()
    try {
      for await (const line of linesOf(socket)) {
        if (this.#socket !== socket) return
        this.#take(parseToServer(line))
      }
    } catch (error) {
      if (this.#socket === socket) this.#parts.noted(`the agent's connection has ended: ${messageOf(error)}`)
    } finally {
      socket.destroy()
      if (this.#socket === socket) this.#gone()
    }
  }

  #gone(): void {
    this.#socket = undefined
    this.#capture = undefined
    this.#parts.disk.line(false)
  }

  #take(message: ToVolumeServer): void {
    const { disk, released } = this.#parts
    switch (message.kind) {
      case 'acknowledged':
        return disk.acknowledged(message.epoch, message.number)
      case 'line':
        return disk.line(message.up)
      case 'mark':
        return this.#mark(message)
      case 'ask-place':
        return this.#say({ kind: 'place', tag: message.tag, epoch: disk.epoch, number: disk.last })
      case 'ask-touched':
        return this.#say({ kind: 'touched', tag: message.tag, ...disk.askTouched(message.from) })
      case 'healed':
        return disk.healed(message.regions, message.number)
      case 'settings':
        return disk.settings(message.settings)
      case 'release':
        disk.release()
        return released()
      default:
        return unreachable(message)
    }
  }

  #mark({ tag, label }: Extract<ToVolumeServer, { kind: 'mark' }>): void {
    this.#parts.disk.mark(tag, label).then(
      (number) => this.#say({ kind: 'marked', tag, number }),
      (error: unknown) => this.#parts.noted(`a mark could not be written: ${messageOf(error)}`),
    )
  }

  #facts(): FromVolumeServer {
    const { disk, software } = this.#parts
    const { epoch, bytes, regionBytes, first, acknowledgedPlace: acknowledged } = disk
    return { kind: 'volume', epoch, bytes, regionBytes, first, acknowledged, software }
  }

  #say(message: FromVolumeServer): void {
    const socket = this.#socket
    if (!socket?.writable) return
    socket.write(formatLine(message))
    if (socket.writableLength > unsentBytes.most) socket.destroy()
  }
}
