import { TidemarkError } from '../../src/base/errors.ts'
import { type Link, lingerMs } from '../../src/wire/link.ts'
import { type Life, never, type SimulatedTime } from './clock.ts'
import type { Seeded } from './random.ts'
import type { Trace } from './trace.ts'

/**
 * A network between named machines. Bytes of one connection arrive in order, whole and late, in pieces cut anywhere,
 * as TCP gives them; different connections overtake each other freely. What may happen at any moment:
 *
 * - `cut`: a direction goes silent; nobody is told, what is sent waits, as with TCP's retransmissions
 * - `heal`: what waited arrives after all, even on connections that one end gave up long ago
 * - `reset`: every connection breaks; both ends are told
 * - a dial whose answer is lost: the listener has a connection that nobody holds at the other end
 */
export class SimulatedNetwork {
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #listeners = new Map<string, { readonly life: Life; readonly accept: Accept }>()
  readonly #connections = new Set<Connection>()
  readonly #cuts = new Set<string>()
  #count = 0
  quality: Quality = { latencyMs: 5, jitterMs: 2, bytesPerMs: 2000, windowBytes: 64 * 1024, lostAnswerChance: 0 }

  constructor(time: SimulatedTime, random: Seeded, trace: Trace) {
    this.#time = time
    this.#random = random
    this.#trace = trace
  }

  /** Accepts for as long as `life` lasts or until another listens there. */
  listen(machine: string, life: Life, accept: Accept): void {
    this.#listeners.set(machine, { life, accept })
  }

  async dial(from: string, life: Life, to: string, signal?: AbortSignal): Promise<Link> {
    await this.#time.sleep(this.#delayMs())
    if (!life.alive) return never()
    signal?.throwIfAborted()
    const listener = this.#listeners.get(to)
    if (this.isCut(from, to) || this.isCut(to, from)) {
      await this.#time.sleep(this.#random.integer(500, 3000))
      if (!life.alive) return never()
      throw gone(to, 'no answer')
    }
    if (listener === undefined || !listener.life.alive) throw gone(to, 'connection refused')
    const name = `${from}#${++this.#count}`
    const connection = new Connection({ name, from, to, network: this, time: this.#time, random: this.#random })
    this.#connections.add(connection)
    connection.onClosed = () => this.#connections.delete(connection)
    const near = connection.end(0, life)
    listener.accept(connection.end(1, listener.life), from)
    await this.#time.sleep(this.#delayMs())
    if (!life.alive) {
      near.destroy('process gone')
      return never()
    }
    if (this.#random.chance(this.quality.lostAnswerChance)) {
      this.#trace.add('network', `${name}: answer lost, ${to} holds a connection without a peer`)
      throw gone(to, 'no answer')
    }
    this.#trace.add('network', `${name}: connected to ${to}`)
    return near
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`)
  }

  cut(from: string, to: string): void {
    if (this.isCut(from, to)) return
    this.#trace.add('network', `cut ${from} > ${to}`)
    this.#cuts.add(`${from}>${to}`)
  }

  heal(from: string, to: string): void {
    if (!this.#cuts.delete(`${from}>${to}`)) return
    this.#trace.add('network', `healed ${from} > ${to}`)
    for (const connection of this.#connections) connection.resume()
  }

  reset(machine: string, reason: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.touches(machine)) connection.break(reason)
    }
  }

  /** After a process died: its kernel resets the connections, or (power gone) the peers hear nothing at all. */
  died(machine: string, silently: boolean): void {
    for (const connection of [...this.#connections]) {
      if (!connection.touches(machine)) continue
      if (silently) connection.fallSilent()
      else connection.break('peer process gone')
    }
  }

  delayOf(bytes: number): { readonly busyMs: number; readonly flightMs: number } {
    return { busyMs: bytes / this.quality.bytesPerMs, flightMs: this.#delayMs() }
  }

  #delayMs(): number {
    return this.quality.latencyMs + this.#random.fraction() * this.quality.jitterMs
  }
}

export interface Quality {
  readonly latencyMs: number
  readonly jitterMs: number
  readonly bytesPerMs: number
  /** Bytes that may be on their way in one direction before the sender has to wait. */
  readonly windowBytes: number
  readonly lostAnswerChance: number
}

/** Told which machine dials, as mutual certificates would tell. */
export type Accept = (link: Link, from: string) => void

type Side = 0 | 1

class Connection {
  readonly name: string
  readonly #machines: readonly [string, string]
  readonly #pipes: readonly [Pipe, Pipe]
  readonly #time: SimulatedTime
  #closedSides = 0
  onClosed: () => void = () => {}

  constructor(parts: ConnectionParts) {
    this.name = parts.name
    this.#machines = [parts.from, parts.to]
    this.#time = parts.time
    const open = (from: string, to: string): Pipe => new Pipe({ ...parts, isCut: () => parts.network.isCut(from, to) })
    this.#pipes = [open(parts.from, parts.to), open(parts.to, parts.from)]
  }

  touches(machine: string): boolean {
    return this.#machines.includes(machine)
  }

  resume(): void {
    for (const pipe of this.#pipes) pipe.resume()
  }

  break(reason: string): void {
    for (const pipe of this.#pipes) pipe.fail(reason)
    this.onClosed()
  }

  fallSilent(): void {
    for (const pipe of this.#pipes) pipe.silent = true
  }

  /** What one program holds of this connection. */
  end(side: Side, life: Life): Link {
    const outward = this.#pipes[side]
    const inward = this.#pipes[1 - side]!
    const peer = this.#machines[1 - side]!
    const closed = (): void => {
      if (++this.#closedSides === 2) this.onClosed()
    }
    const whileAlive = <T>(work: () => Promise<T>): Promise<T> => (life.alive ? life.through(work()) : never<T>())
    return {
      send: (parts) => whileAlive(() => outward.send(parts, peer)),
      received: { [Symbol.asyncIterator]: () => ({ next: () => whileAlive(() => inward.next(peer)) }) },
      destroy: (reason) => {
        if (!life.alive) return
        outward.abandon(reason)
        inward.closeReader(reason)
        closed()
      },
      [Symbol.asyncDispose]: () =>
        whileAlive(async () => {
          outward.close()
          inward.closeReader('closed')
          closed()
          this.#time.after(lingerMs, () => outward.closeLate())
        }),
    }
  }
}

interface ConnectionParts {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly network: SimulatedNetwork
  readonly time: SimulatedTime
  readonly random: Seeded
}

type Item = { readonly bytes: Uint8Array } | { readonly end: string | undefined }

/** One direction of one connection. */
class Pipe {
  readonly #network: SimulatedNetwork
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #isCut: () => boolean
  /** Sent, and not arrived; `readyMs` grows from one to the next. */
  readonly #flying: { readonly item: Item; readonly readyMs: number }[] = []
  readonly #arrived: Item[] = []
  readonly #waitingSenders: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []
  #waitingReader: { resolve: (result: IteratorResult<Uint8Array>) => void; reject: (error: Error) => void } | undefined
  #outstandingBytes = 0
  #freeAtMs = 0
  #lastReadyMs = 0
  #timer: (() => void) | undefined
  #senderClosed: string | undefined
  #readerClosed = false
  #failed: string | undefined
  #ended = false
  /** The machine at an end lost its power: nothing arrives any more, nobody is told. */
  silent = false

  constructor(parts: {
    readonly network: SimulatedNetwork
    readonly time: SimulatedTime
    readonly random: Seeded
    readonly isCut: () => boolean
  }) {
    this.#network = parts.network
    this.#time = parts.time
    this.#random = parts.random
    this.#isCut = parts.isCut
  }

  async send(parts: readonly Uint8Array[], peer: string): Promise<void> {
    if (this.#failed !== undefined) throw gone(peer, this.#failed)
    if (this.#senderClosed !== undefined) throw gone(peer, this.#senderClosed)
    const bytes = Buffer.concat(parts)
    this.#outstandingBytes += bytes.length
    for (const piece of this.#pieces(bytes)) this.#fly({ bytes: piece }, piece.length)
    if (this.#outstandingBytes <= this.#network.quality.windowBytes) return
    await new Promise<void>((resolve, reject) => this.#waitingSenders.push({ resolve, reject }))
  }

  /** In order: what was sent arrives first, then the end. */
  close(): void {
    if (this.#senderClosed !== undefined || this.#failed !== undefined) return
    this.#senderClosed = 'closed here'
    this.#fly({ end: undefined }, 0)
  }

  /** The peer has taken too long to take what was sent before the end. */
  closeLate(): void {
    if (this.#waitingSenders.length > 0) this.abandon('closed here')
  }

  /** At once: what has not arrived yet never will. */
  abandon(reason: string): void {
    if (this.#failed !== undefined || this.#senderClosed === 'abandoned') return
    this.#senderClosed = 'abandoned'
    for (const { reject } of this.#waitingSenders.splice(0)) reject(gone('the peer', reason))
    this.#flying.length = 0
    this.#fly({ end: reason }, 0)
  }

  /** Nobody reads here any more; the sender is told as by a reset, when its bytes meet the closed end. */
  closeReader(reason: string): void {
    if (this.#readerClosed) return
    this.#readerClosed = true
    this.#waitingReader?.reject(gone('the peer', reason))
    this.#waitingReader = undefined
    this.#arrived.length = 0
    this.#refuse()
  }

  fail(reason: string): void {
    if (this.#failed !== undefined || this.silent) return
    this.#failed = reason
    this.#flying.length = 0
    this.#timer?.()
    for (const { reject } of this.#waitingSenders.splice(0)) reject(gone('the peer', reason))
    this.#waitingReader?.reject(gone('the peer', reason))
    this.#waitingReader = undefined
  }

  resume(): void {
    this.#schedule()
  }

  async next(peer: string): Promise<IteratorResult<Uint8Array>> {
    if (this.#ended) return { done: true, value: undefined }
    const item = this.#arrived.shift()
    if (item !== undefined) return this.#take(item, peer)
    if (this.#failed !== undefined) throw gone(peer, this.#failed)
    if (this.#readerClosed) throw gone(peer, 'closed here')
    return await new Promise((resolve, reject) => {
      this.#waitingReader = { resolve, reject }
    })
  }

  #take(item: Item, peer: string): IteratorResult<Uint8Array> {
    if ('end' in item) {
      this.#ended = true
      if (item.end !== undefined) throw gone(peer, item.end)
      return { done: true, value: undefined }
    }
    this.#outstandingBytes -= item.bytes.length
    while (this.#outstandingBytes <= this.#network.quality.windowBytes && this.#waitingSenders.length > 0) {
      this.#waitingSenders.shift()!.resolve()
    }
    return { done: false, value: item.bytes }
  }

  *#pieces(bytes: Buffer): Generator<Buffer> {
    let at = 0
    while (at < bytes.length) {
      const end = this.#random.chance(0.4) ? this.#random.integer(at + 1, bytes.length) : bytes.length
      yield bytes.subarray(at, end)
      at = end
    }
  }

  #fly(item: Item, bytes: number): void {
    if (this.silent) return
    const { busyMs, flightMs } = this.#network.delayOf(bytes)
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#time.nowMs) + busyMs
    this.#lastReadyMs = Math.max(this.#lastReadyMs, this.#freeAtMs + flightMs)
    this.#flying.push({ item, readyMs: this.#lastReadyMs })
    this.#schedule()
  }

  #schedule(): void {
    this.#timer?.()
    const [head] = this.#flying
    if (head === undefined || this.silent || this.#isCut()) return
    this.#timer = this.#time.after(head.readyMs - this.#time.nowMs, () => this.#arrive())
  }

  #arrive(): void {
    if (this.silent || this.#isCut()) return
    const head = this.#flying.shift()
    if (head === undefined) return
    if (this.#readerClosed) return this.#refuse()
    this.#arrived.push(head.item)
    const reader = this.#waitingReader
    if (reader !== undefined) {
      this.#waitingReader = undefined
      this.next('the peer').then(reader.resolve, reader.reject)
    }
    this.#schedule()
  }

  #refuse(): void {
    if (this.#senderClosed !== undefined) return
    this.#time.after(this.#network.delayOf(0).flightMs, () => {
      if (!this.#isCut()) this.fail('reset by the peer')
    })
  }
}

const gone = (peer: string, reason: string): TidemarkError =>
  new TidemarkError('unreachable', { message: `connection to ${peer}: ${reason}` })
