import { writeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { isSystemError } from '../base/errors.ts'
import { descriptorOf } from './live-sockets.ts'
import type { SpareBuffers } from './spare-buffers.ts'

const slabBytes = 256 * 1024
/** What is longer has a buffer of its own. */
const slabPartBytesMax = 64 * 1024

/** Replies on their way into a socket: each has its place from the beginning, and what becomes ready together goes out in one write. */
export class Outlet {
  readonly #socket: Writable
  #slab = Buffer.allocUnsafeSlow(slabBytes)
  #used = 0
  readonly #ready: { readonly buffer: Buffer; from: number; to: number }[] = []
  readonly #spare: SpareBuffers
  /** Where the last `reserve` found place. */
  place: Buffer = this.#slab
  placeAt = 0

  constructor(socket: Writable, spare: SpareBuffers) {
    this.#socket = socket
    this.#spare = spare
  }

  /** Bytes that the system has not taken yet; 0 while they are few, because the socket then does not tell when they have gone. */
  get unsentBytes(): number {
    return this.#socket.writableNeedDrain ? this.#socket.writableLength : 0
  }

  /** Makes `place` and `placeAt` such that there is room for so many bytes. */
  reserve(bytes: number): void {
    if (bytes > slabPartBytesMax) {
      this.place = this.#spare.take(bytes)
      this.placeAt = 0
      return
    }
    if (bytes > slabBytes - this.#used) {
      this.#slab = Buffer.allocUnsafeSlow(slabBytes)
      this.#used = 0
    }
    this.place = this.#slab
    this.placeAt = this.#used
    this.#used += bytes
  }

  /** Everything that was reserved has been sent, or is wanted no more: its place may be used again. */
  rewind(): void {
    if (this.#ready.length === 0 && this.#socket.writableLength === 0) this.#used = 0
  }

  /** To be sent with the next `send`. */
  add(buffer: Buffer, from: number, to: number): void {
    const last = this.#ready.at(-1)
    if (last !== undefined && last.buffer === buffer && last.to === from) last.to = to
    else this.#ready.push({ buffer, from, to })
  }

  send(): void {
    const ready = this.#ready
    if (ready.length === 0) return
    const socket = this.#socket
    const [first] = ready
    if (ready.length === 1 && first !== undefined && !isOwn(first.buffer)) {
      first.from += this.#sendAtOnce(first.buffer, first.from, first.to)
      if (first.from === first.to) ready.length = 0
    }
    if (socket.writable && ready.length > 0) {
      if (ready.length > 1) socket.cork()
      for (const { buffer, from, to } of ready) {
        const part = buffer.subarray(from, to)
        if (isOwn(buffer)) socket.write(part, () => this.#spare.keep(buffer))
        else socket.write(part)
      }
      if (ready.length > 1) socket.uncork()
    }
    ready.length = 0
  }

  /** How many bytes the system took. By its own call, since a stream takes longer than the system for what is short. */
  #sendAtOnce(buffer: Buffer, from: number, to: number): number {
    const socket = this.#socket
    const descriptor = socket instanceof Socket && !(socket instanceof TLSSocket) ? descriptorOf(socket) : undefined
    if (descriptor === undefined || !socket.writable || socket.writableLength > 0) return 0
    try {
      return writeSync(descriptor, buffer, from, to - from)
    } catch (error) {
      // What is wrong with it the stream will find and tell.
      if (isSystemError(error, 'EAGAIN', 'EPIPE', 'ECONNRESET')) return 0
      throw error
    }
  }
}

/** Whether it holds one long reply alone. */
const isOwn = ({ length }: Buffer): boolean => length > slabPartBytesMax && length !== slabBytes
