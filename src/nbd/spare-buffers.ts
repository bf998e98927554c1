/** Kept for all connections of one server. */
export const spareBytesMax = 16 * 1024 * 1024

/** Long buffers that are used again: memory that is new to the process costs more than what is done with it. */
export class SpareBuffers {
  /** The newest last. */
  readonly #buffers: Buffer[] = []
  #bytes = 0

  /** One of this length, of whatever content. */
  take(bytes: number): Buffer {
    const index = this.#buffers.findLastIndex(({ length }) => length >= bytes && length <= 2 * bytes)
    const [found] = index < 0 ? [] : this.#buffers.splice(index, 1)
    if (found === undefined) return Buffer.allocUnsafeSlow(bytes)
    this.#bytes -= found.length
    return found
  }

  /** Nobody looks at it any more. */
  keep(buffer: Buffer): void {
    this.#buffers.push(buffer)
    this.#bytes += buffer.length
    while (this.#bytes > spareBytesMax) this.#bytes -= this.#buffers.shift()?.length ?? 0
  }
}
