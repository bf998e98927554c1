import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'

/**
 * A frame of the link, big-endian. Told at length in docs/protocols/link.md.
 *    0  4  length of the payload, at most `frameBytesMax` (before the hello is accepted: `frameBytesMaxAtFirst`)
 *    4  1  type (wire/messages.ts)
 *    5  …  payload
 */
export interface Frame {
  readonly type: number
  readonly payload: Buffer
}

export const frameHeadBytes = 5
export const frameBytesMaxAtFirst = 64 * 1024
export const frameBytesMax = 8 * 1024 * 1024

export function frameParts(type: number, payload: Uint8Array): Uint8Array[] {
  const head = Buffer.allocUnsafe(frameHeadBytes)
  head.writeUInt32BE(payload.length, 0)
  head[4] = type
  return payload.length === 0 ? [head] : [head, payload]
}

/** Frames from pieces of any size. Holds one piece and one frame at most; copies only a frame that spans pieces. */
export class FrameReader {
  bytesMax = frameBytesMaxAtFirst
  readonly #pieces: AsyncIterator<Uint8Array>
  readonly #heard: () => void
  #piece: Buffer = Buffer.alloc(0)

  /** `heard` is called for every piece that arrives. */
  constructor(received: AsyncIterable<Uint8Array>, heard: () => void) {
    this.#pieces = received[Symbol.asyncIterator]()
    this.#heard = heard
  }

  /** The next frame; undefined where the peer has closed in order between two frames. */
  async next(): Promise<Frame | undefined> {
    if (this.#piece.length === 0 && !(await this.#arrived())) return undefined
    const head = this.#held(frameHeadBytes) ?? (await this.#gather(frameHeadBytes))
    const length = head.readUInt32BE(0)
    if (length > this.bytesMax) throw new Malformed(`frame of ${length} bytes where ${this.bytesMax} are allowed`)
    const type = head.readUInt8(4)
    return { type, payload: this.#held(length) ?? (await this.#gather(length)) }
  }

  #held(count: number): Buffer | undefined {
    if (this.#piece.length < count) return undefined
    const taken = this.#piece.subarray(0, count)
    this.#piece = this.#piece.subarray(count)
    return taken
  }

  async #gather(count: number): Promise<Buffer> {
    const whole = Buffer.allocUnsafeSlow(count)
    let at = 0
    while (at < count) {
      if (this.#piece.length === 0 && !(await this.#arrived())) {
        throw new TidemarkError('unreachable', { message: 'the connection ended in the middle of a frame' })
      }
      const copied = this.#piece.copy(whole, at)
      this.#piece = this.#piece.subarray(copied)
      at += copied
    }
    return whole
  }

  async #arrived(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#pieces.next()
      if (done === true) return false
      this.#heard()
      if (value.length === 0) continue
      this.#piece = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      return true
    }
  }
}
