import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { Malformed } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { type Chosen, choose, list } from './client-negotiation.ts'
import type { ExportExtent } from './export.ts'
import { Intake } from './intake.ts'
import type { Want } from './negotiation.ts'
import { command, commandFlag, payloadBytesMax, transmissionFlag } from './numbers.ts'
import { NbdRefused } from './refused.ts'
import { ReplyReader } from './reply-reader.ts'
import { encodeRequest } from './requests.ts'
import { joinTls, type NbdClientTls } from './tls.ts'

/** Requests of one connection on their way, and their data; further ones wait for their turn. */
export const inFlightMax = 128
export const inFlightBytesMax = payloadBytesMax

export interface NbdAddress {
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly tls?: NbdClientTls | undefined
}

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
    const { socket, intake, outcome } = await converse(dialling, (send) => choose(wish, send), signal)
    return new NbdClient(socket, intake, outcome, signal)
  }

  private constructor(socket: Socket, intake: Intake, chosen: Chosen, signal: AbortSignal) {
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
    socket.on('data', (piece: Buffer) => {
      try {
        if (this.#failure === undefined) intake.push(piece, () => this.#reader.go())
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
        this.#fail(violation(error))
      }
    })
    socket.on('error', (error) => this.#fail(lost(error)))
    socket.on('close', () => {
      signal.removeEventListener('abort', aborted)
      this.#fail(lost(undefined))
    })
    if (signal.aborted) aborted()
    this.#reader.go()
    socket.resume()
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
  const { socket, outcome } = await converse(address, (send) => list(address.tls !== undefined, send), signal)
  socket.on('error', () => undefined).end()
  socket.resume()
  await once(socket, 'close')
  return outcome
}

const heldBytes = (asked: { readonly command: number; readonly bytes: number }): number =>
  asked.command === command.read || asked.command === command.write ? asked.bytes : 0

/** Connects, and speaks until the conversation is over. Bytes that came after it are in the intake. */
async function converse<T>(
  address: NbdAddress,
  speak: (send: (bytes: Buffer) => void) => Generator<Want, T, Buffer>,
  signal: AbortSignal,
): Promise<{ socket: Socket; intake: Intake; outcome: T }> {
  signal.throwIfAborted()
  const { at, tls } = address
  let socket: Socket = net.connect(at)
  const aborted = (): void => void socket.destroy(signal.reason)
  signal.addEventListener('abort', aborted, { once: true })
  try {
    await once(socket, 'connect')
    socket.setNoDelay(true).setKeepAlive(true)
    let intake = new Intake()
    const conversation = speak((bytes) => socket.write(bytes))
    let next = conversation.next()
    while (next.done !== true) {
      if (next.value === 'tls') {
        if (tls === undefined || intake.available > 0) throw new Malformed('the server sent more before TLS began')
        socket = await joinTls(socket, tls, 'host' in at ? at.host : 'localhost')
        intake = new Intake()
        next = conversation.next()
      } else {
        await receive(socket, intake, next.value)
        next = conversation.next(intake.take(next.value))
      }
    }
    return { socket, intake, outcome: next.value }
  } catch (error) {
    socket.on('error', () => undefined).destroy()
    signal.throwIfAborted()
    if (error instanceof TidemarkError) throw error
    throw error instanceof Malformed ? violation(error) : unreachableAt(at, error)
  } finally {
    signal.removeEventListener('abort', aborted)
  }
}

/** Until so many bytes are there. Leaves the socket paused. */
function receive(socket: Socket, intake: Intake, bytes: number): Promise<void> {
  if (intake.available >= bytes) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const settled = (settle: () => void): void => {
      socket.pause().off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError)
      settle()
    }
    const onData = (piece: Buffer): void => {
      intake.push(piece, () => undefined)
      if (intake.available >= bytes) settled(resolve)
    }
    const onEnd = (): void => settled(() => reject(new Malformed('it ended the connection during the handshake')))
    const onError = (error: Error): void => settled(() => reject(error))
    socket.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError).resume()
  })
}

const violation = (error: Malformed): TidemarkError =>
  new TidemarkError('protocol-violation', { message: `the NBD server: ${error.message}`, cause: error })

const lost = (cause: unknown): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the connection to the NBD server is lost${cause === undefined ? '' : `: ${messageOf(cause)}`}`,
    cause,
  })

const unreachableAt = (at: NbdAddress['at'], error: unknown): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the NBD server at ${'path' in at ? at.path : `${at.host}:${at.port}`} cannot be reached: ${messageOf(error)}`,
    hint: 'check that it runs, and that this user may connect to it',
    cause: error,
  })
