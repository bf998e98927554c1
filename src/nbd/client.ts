import type { Socket } from 'node:net'
import { Malformed } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { type Chosen, choose, list } from './client-negotiation.ts'
import { converse, type NbdAddress, violation } from './converse.ts'
import type { ExportExtent } from './export.ts'
import type { Intake } from './intake.ts'
import type { Line } from './line.ts'
import { command, commandFlag, payloadBytesMax, transmissionFlag } from './numbers.ts'
import { NbdRefused } from './refused.ts'
import { ReplyReader } from './reply-reader.ts'
import { encodeRequest } from './requests.ts'

/** Requests of one connection on their way, and their data; further ones wait for their turn. */
export const inFlightMax = 128
export const inFlightBytesMax = payloadBytesMax

export interface NbdDialling extends NbdAddress {
  /** The empty one is the server's only or chosen one. */
  readonly exportName?: string
  /** Unless false, structured replies are used where the server knows them. */
  readonly isStructured?: boolean
  /** For `blockStatus`. */
  readonly hasAllocation?: boolean
}

/** One request on its way. */
interface Pending {
  readonly command: number
  readonly flags: number
  readonly at: number
  readonly bytes: number
  readonly data: Uint8Array | undefined
  readonly into: Buffer | undefined
  readonly resolve: (extents: readonly ExportExtent[]) => void
  readonly reject: (error: unknown) => void
}

/**
 * One connection to an NBD server. Requests may be made without waiting for those before; the server may answer in any order.
 * Each is refused (`NbdRefused`), or fails when the connection is lost: then nobody knows whether it was done.
 */
export class NbdClient implements AsyncDisposable {
  readonly bytes: number
  readonly isReadOnly: boolean
  readonly chosen: Chosen
  readonly #socket: Socket
  readonly #reader: ReplyReader
  readonly #inFlight = new Map<number, Pending>()
  #inFlightBytes = 0
  readonly #waiting: Pending[] = []
  #cookie = 0
  #outgoing: Uint8Array[] = []
  #failure: unknown
  readonly #whenIdle: (() => void)[] = []

  /** Connects and chooses the export. `signal` ends the connection at any time; what is on its way fails with its reason. */
  static async connect(dialling: NbdDialling, signal: AbortSignal): Promise<NbdClient> {
    const { exportName = '', isStructured = true, hasAllocation = false } = dialling
    const wish = {
      exportName,
      wantsTls: dialling.tls !== undefined,
      wantsStructured: isStructured,
      wantsAllocation: hasAllocation,
    }
    const { line, intake, outcome } = await converse(dialling, (send) => choose(wish, send), signal)
    return new NbdClient(line, intake, outcome, signal)
  }

  private constructor({ socket, receiveBy }: Line, intake: Intake, chosen: Chosen, signal: AbortSignal) {
    this.chosen = chosen
    this.bytes = chosen.bytes
    this.isReadOnly = (chosen.flags & transmissionFlag.readOnly) !== 0
    this.#socket = socket
    this.#reader = new ReplyReader(intake, chosen, {
      find: (cookie) => this.#inFlight.get(cookie),
      finished: (cookie, outcome) => this.#finish(cookie, outcome),
    })
    const aborted = (): void => this.#fail(signal.reason)
    signal.addEventListener('abort', aborted, { once: true })
    receiveBy({
      room: () => intake.room(),
      received: (count, buffer) => this.#understand(() => intake.received(count, buffer, () => this.#reader.go())),
    })
    socket.on('error', (error) => this.#fail(lost(error)))
    socket.on('close', () => {
      signal.removeEventListener('abort', aborted)
      this.#fail(lost(undefined))
    })
    if (signal.aborted) aborted()
    if (socket.destroyed) this.#fail(lost(undefined))
    this.#understand(() => this.#reader.go())
  }

  async read(at: number, bytes: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(bytes)
    await this.readInto(at, into)
    return into
  }

  /** Fills `into`. */
  async readInto(at: number, into: Buffer): Promise<void> {
    await this.#request({ command: command.read, flags: 0, at, bytes: into.length, data: undefined, into })
  }

  /** `data` must stay as it is until this resolves. */
  async write(at: number, data: Uint8Array, { isForced = false } = {}): Promise<void> {
    const flags = isForced ? commandFlag.forced : 0
    await this.#request({ command: command.write, flags, at, bytes: data.length, data, into: undefined })
  }

  async flush(): Promise<void> {
    await this.#plain(command.flush, 0, 0, 0)
  }

  async trim(at: number, bytes: number, { isForced = false } = {}): Promise<void> {
    await this.#plain(command.trim, isForced ? commandFlag.forced : 0, at, bytes)
  }

  /** `isFast`: refused with ENOTSUP rather than done slowly. */
  async zero(at: number, bytes: number, { isForced = false, mayMakeHole = true, isFast = false } = {}): Promise<void> {
    const flags =
      (isForced ? commandFlag.forced : 0) | (mayMakeHole ? 0 : commandFlag.noHole) | (isFast ? commandFlag.fastZero : 0)
    await this.#plain(command.zero, flags, at, bytes)
  }

  /** What is known of these bytes; maybe of fewer than were asked for. Needs `hasAllocation`; without it, all counts as data. */
  async blockStatus(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    if (this.chosen.allocationId === undefined) return [{ at, bytes, is: 'data' }]
    return this.#plain(command.blockStatus, 0, at, bytes)
  }

  /** Says goodbye once everything that was asked is answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    const socket = this.#socket
    if (socket.closed) return
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
    if (this.#failure === undefined)
      socket.end(encodeRequest({ command: command.disconnect, flags: 0, at: 0, bytes: 0 }, 0))
    await closed
  }

  /** At once; what is on its way fails with `reason`. */
  destroy(reason: unknown): void {
    this.#fail(reason)
  }

  #understand(read: () => void): void {
    if (this.#failure !== undefined) return
    try {
      read()
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      this.#fail(violation(error))
    }
  }

  #plain(which: number, flags: number, at: number, bytes: number): Promise<readonly ExportExtent[]> {
    return this.#request({ command: which, flags, at, bytes, data: undefined, into: undefined })
  }

  #request(asked: Omit<Pending, 'resolve' | 'reject'>): Promise<readonly ExportExtent[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#waiting.push({ ...asked, resolve, reject })
      this.#start()
    })
  }

  /** Lets those begin whose turn it is. */
  #start(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const held = heldBytes(next)
      const isFull = this.#inFlight.size >= inFlightMax || this.#inFlightBytes + held > inFlightBytesMax
      if (isFull && this.#inFlight.size > 0) return
      this.#waiting.shift()
      this.#inFlightBytes += held
      this.#cookie = (this.#cookie + 1) >>> 0
      this.#inFlight.set(this.#cookie, next)
      if (this.#outgoing.length === 0) queueMicrotask(() => this.#send())
      this.#outgoing.push(encodeRequest(next, this.#cookie))
      if (next.data !== undefined) this.#outgoing.push(next.data)
    }
  }

  /** What was asked in one turn goes out in one write. */
  #send(): void {
    const outgoing = this.#outgoing
    if (outgoing.length === 0 || this.#failure !== undefined) return
    this.#outgoing = []
    this.#socket.cork()
    for (const part of outgoing) this.#socket.write(part)
    this.#socket.uncork()
  }

  #finish(cookie: number, outcome: readonly ExportExtent[] | NbdRefused): void {
    const pending = this.#inFlight.get(cookie)
    if (pending === undefined) return
    this.#inFlight.delete(cookie)
    this.#inFlightBytes -= heldBytes(pending)
    if (outcome instanceof NbdRefused) pending.reject(outcome)
    else pending.resolve(outcome)
    this.#start()
    if (this.#inFlight.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#socket.destroy()
    const left = [...this.#inFlight.values(), ...this.#waiting.splice(0)]
    this.#inFlight.clear()
    for (const { reject } of left) reject(error)
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }
}

/** The exports that a server tells of. */
export async function listExports(
  address: NbdAddress,
  signal: AbortSignal,
): Promise<readonly { readonly name: string; readonly description: string }[]> {
  const { line, outcome } = await converse(address, (send) => list(address.tls !== undefined, send), signal)
  line.socket.on('error', () => undefined).destroySoon()
  return outcome
}

const heldBytes = (asked: { readonly command: number; readonly bytes: number }): number =>
  asked.command === command.read || asked.command === command.write ? asked.bytes : 0

const lost = (cause: unknown): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the connection to the NBD server is lost${cause === undefined ? '' : `: ${messageOf(cause)}`}`,
    cause,
  })
