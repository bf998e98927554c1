import { assert } from '../base/assert.ts'

const slabBytes = 256 * 1024
const roomBytesMin = 64 * 1024
/** The longest thing that is received in one piece among others; what is longer has a place of its own. */
export const pieceBytesMax = 128 * 1024

/**
 * The bytes of a socket, received where they can stay: what is handed out is a view of the slab, which is not written again
 * before all such views have been given back; what is long is received straight into the buffer it is for.
 */
export class Intake {
  /** Bytes from `from` up to `to` have come and are not taken yet. */
  buffer: Buffer = Buffer.allocUnsafeSlow(slabBytes)
  from = 0
  to = 0
  /** Handed out and not given back. Some may be of an older slab. */
  #views = 0
  #target: Buffer | undefined
  #filledBytes = 0
  #toSkip = 0

  get available(): number {
    return this.to - this.from
  }

  /** Where the next bytes go. */
  room(): Buffer {
    if (this.#target !== undefined && this.#filledBytes < this.#target.length)
      return this.#target.subarray(this.#filledBytes)
    if (this.from === this.to && this.#views === 0) this.from = this.to = 0
    if (this.buffer.length - this.to < roomBytesMin) this.#renew()
    assert(this.to < this.buffer.length, 'what waits to be taken leaves room for more')
    return this.buffer.subarray(this.to)
  }

  /** So many bytes have come into `room()`. */
  arrived(count: number): void {
    if (this.#target !== undefined && this.#filledBytes < this.#target.length) {
      this.#filledBytes += count
      return
    }
    const skipped = Math.min(this.#toSkip, count)
    this.#toSkip -= skipped
    if (skipped === count) return
    this.from += skipped
    this.to += count
  }

  /** Bytes that came elsewhere. `each` is called whenever some are in their place, and takes what it can. */
  push(piece: Buffer, each: () => void): void {
    for (let at = 0; at < piece.length;) {
      const count = piece.copy(this.room(), 0, at)
      this.arrived(count)
      at += count
      each()
    }
  }

  /** So many bytes have come into `buffer`. They are moved where it is not, or no longer, what `room` says. */
  received(count: number, buffer: Buffer, each: () => void): void {
    const room = this.room()
    if (room.buffer !== buffer.buffer || room.byteOffset !== buffer.byteOffset)
      return this.push(buffer.subarray(0, count), each)
    this.arrived(count)
    each()
  }

  /** A view of the next bytes, which stays as it is until it is given back. They must have come. */
  take(count: number): Buffer {
    assert(count <= this.available, 'bytes are taken that have come')
    this.#views++
    const at = this.from
    this.from = at + count
    return this.buffer.subarray(at, at + count)
  }

  /** Nobody looks at one of the views any more. */
  giveBack(): void {
    this.#views--
  }

  /** Nobody looks at any of them. */
  giveAllBack(): void {
    this.#views = 0
  }

  /** Drops the next bytes, also those that have not come. */
  skip(count: number): void {
    const here = Math.min(count, this.available)
    this.from += here
    this.#toSkip += count - here
  }

  get isSkipping(): boolean {
    return this.#toSkip > 0
  }

  /** The next bytes go into `target`, until it is full. */
  receiveInto(target: Buffer): void {
    assert(this.#target === undefined, 'one buffer is filled at a time')
    this.#target = target
    this.#filledBytes = this.buffer.copy(target, 0, this.from, Math.min(this.to, this.from + target.length))
    this.from += this.#filledBytes
  }

  /** The buffer that was given to `receiveInto`, once it is full. */
  filled(): Buffer | undefined {
    const target = this.#target
    if (target === undefined || this.#filledBytes < target.length) return undefined
    this.#target = undefined
    return target
  }

  #renew(): void {
    const slab = this.#views === 0 ? this.buffer : Buffer.allocUnsafeSlow(slabBytes)
    this.to = this.buffer.copy(slab, 0, this.from, this.to)
    this.from = 0
    this.buffer = slab
  }
}
