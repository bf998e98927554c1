import type { Socket } from 'node:net'
import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { hasHungUp } from '../base/syscalls/poll.ts'
import type { Export } from './export.ts'
import { HeldMemory } from './held-memory.ts'
import { Intake } from './intake.ts'
import { type Line, lineOf } from './line.ts'
import { descriptorOf } from './live-sockets.ts'
import { negotiate, type Want } from './negotiation.ts'
import { Outlet } from './outlet.ts'
import type { Agreed } from './requests.ts'
import { beginTls, type NbdTls } from './tls.ts'
import { Transmission } from './transmission.ts'

/** From the first byte until an export is chosen. */
export const handshakeMsMax = 30_000
/** For answers to go out and the client to leave, at the end. */
export const lingerMsMax = 5_000

export interface NbdServing {
  readonly clock: Clock
  /** What all connections of a server share, where it listens at several places; else those of one place do. */
  readonly memory?: HeldMemory
  /** Then nothing is told or served without TLS. */
  readonly tls?: NbdTls | undefined
  /** Told, for the log, why a connection came to nothing, and of what a client cannot be told. */
  readonly noted?: ((message: string) => void) | undefined
  /** Instead of `handshakeMsMax`. */
  readonly handshakeMs?: number
  /** Instead of `lingerMsMax`. */
  readonly lingerMs?: number
}

/** One connection to a server. */
export interface NbdConnection {
  /** What it uses, once it has chosen. */
  readonly export: Export | undefined
  /** Resolves when the socket is closed, for whatever reason. What the export has not answered by then, it still answers. */
  readonly closed: Promise<void>
  /**
   * Requests that still come fail with ESHUTDOWN; what was taken is answered and sent, then the connection is closed: at the
   * latest after `lingerMs`.
   */
  shutdown(): Promise<void>
  /** At once. */
  destroy(): void
}

/** Serves the exports to whoever is at the other end of a line, which has not been read from. */
export const serveLine = (line: Line, exports: readonly Export[], serving: NbdServing): NbdConnection =>
  new ServedConnection(line, exports, serving)

class ServedConnection implements NbdConnection {
  readonly closed: Promise<void>
  readonly #serving: NbdServing
  readonly #ended = new AbortController()
  /** The one under TLS, once there is TLS. */
  #socket: Socket
  readonly #descriptor: number | undefined
  #intake = new Intake()
  #negotiation: Generator<Want, Agreed | undefined, Buffer> | undefined
  #wanted = 0
  #transmission: Transmission | undefined
  #isClosing = false

  constructor(line: Line, exports: readonly Export[], serving: NbdServing) {
    const { socket } = line
    this.#serving = serving
    this.#socket = socket
    this.#descriptor = descriptorOf(socket)
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.#isClosing = true
        this.#transmission?.abandon()
        this.#ended.abort()
        resolve()
      }),
    )
    this.#listen(line)
    this.#negotiation = negotiate({ exports, needsTls: serving.tls !== undefined }, (bytes) =>
      this.#socket.write(bytes),
    )
    this.#want(this.#negotiation.next())
    void this.#limit(serving.handshakeMs ?? handshakeMsMax, () => {
      if (this.#transmission === undefined) this.#refuse('the handshake took too long')
    })
  }

  get export(): Export | undefined {
    return this.#transmission?.agreed.export
  }

  destroy(): void {
    this.#isClosing = true
    this.#transmission?.abandon()
    this.#socket.destroy()
  }

  async shutdown(): Promise<void> {
    void this.#limit(this.#serving.lingerMs ?? lingerMsMax, () => this.destroy())
    if (this.#transmission !== undefined) this.#transmission.end('shutdown')
    else this.destroy()
    await this.closed
  }

  #listen({ socket, receiveBy }: Line): void {
    receiveBy({
      room: () => this.#intake.room(),
      received: (count, buffer) => {
        if (!this.#isClosing) this.#intake.received(count, buffer, () => this.#go())
      },
    })
    socket.on('drain', () => this.#transmission?.drained())
    socket.on('end', () => {
      if (this.#transmission !== undefined) this.#transmission.end('disconnect')
      else this.#close()
    })
    socket.on('error', (error) => {
      if (!this.#isClosing) this.#note(error.message)
    })
  }

  #go(): void {
    if (this.#isClosing) return
    if (this.#transmission !== undefined) return this.#transmission.go()
    while (this.#negotiation !== undefined && this.#intake.available >= this.#wanted) {
      try {
        this.#want(this.#negotiation.next(this.#intake.take(this.#wanted)))
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
        return this.#refuse(error.message)
      }
    }
  }

  #want(next: IteratorResult<Want, Agreed | undefined>): void {
    if (next.done === true) {
      this.#negotiation = undefined
      if (next.value === undefined) this.#close()
      else this.#transmit(next.value)
    } else if (next.value === 'tls') void this.#secure()
    else this.#wanted = next.value
  }

  #transmit(agreed: Agreed): void {
    const socket = this.#socket
    const { memory = new HeldMemory() } = this.#serving
    this.#transmission = new Transmission(agreed, this.#intake, new Outlet(socket, memory.spare), memory, {
      reads: (isWanted) => {
        if (isWanted !== socket.isPaused()) return
        if (isWanted) socket.resume()
        else socket.pause()
      },
      finished: () => this.#close(),
      isClientGone: () => this.#descriptor !== undefined && hasHungUp(this.#descriptor),
      refused: (reason) => this.#refuse(reason),
      noted: (message) => this.#note(message),
    })
    this.#transmission.go()
  }

  async #secure(): Promise<void> {
    const plain = this.#socket
    const negotiation = this.#negotiation
    const { tls } = this.#serving
    if (negotiation === undefined || tls === undefined) return
    // Bytes that came before TLS did would be taken for bytes that came through it.
    if (this.#intake.available > 0) return this.#refuse('the client sent more before TLS began')
    this.#negotiation = undefined
    plain.removeAllListeners('data').removeAllListeners('drain').removeAllListeners('end')
    try {
      this.#socket = await beginTls(plain, tls)
    } catch (error) {
      return this.#refuse(`TLS failed: ${messageOf(error)}`)
    }
    this.#intake = new Intake()
    this.#negotiation = negotiation
    this.#listen(lineOf(this.#socket))
    this.#want(negotiation.next())
  }

  #refuse(reason: string): void {
    if (!this.#isClosing) this.#note(reason)
    this.destroy()
  }

  #note(message: string): void {
    this.#serving.noted?.(message)
  }

  /** What the client still sends is read and dropped: left unread, the system would answer it by a reset that overtakes what we sent last. */
  #close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    const socket = this.#socket
    socket.once('end', () => socket.destroy())
    socket.end()
    if (socket.readableEnded) socket.destroySoon()
    socket.resume()
    void this.#limit(this.#serving.lingerMs ?? lingerMsMax, () => socket.destroy())
  }

  /** Does it after a while, unless the connection is closed by then. */
  async #limit(ms: number, act: () => void): Promise<void> {
    const { signal } = this.#ended
    await this.#serving.clock.sleep(ms, signal).catch(() => undefined)
    if (!signal.aborted) act()
  }
}
