/** Reading and writing of binary forms. Numbers of fixed width are big-endian; varints are unsigned LEB128. */

/** Bytes that are not of the expected form. The outer layer knows what they were for and says so. */
export class Malformed extends Error {
  override readonly name = 'Malformed'
}

const growthBytesMin = 256

export class ByteWriter {
  #buffer: Buffer
  #length = 0

  /** `memory` is written into as far as it goes. */
  constructor(capacity = growthBytesMin, memory?: Buffer) {
    this.#buffer = memory ?? Buffer.allocUnsafe(Math.max(capacity, 16))
  }

  get length(): number {
    return this.#length
  }

  #room(count: number): number {
    const at = this.#length
    const wanted = at + count
    if (wanted > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(wanted, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, at)
      this.#buffer = grown
    }
    this.#length = wanted
    return at
  }

  u8(value: number): this {
    const at = this.#room(1)
    this.#buffer[at] = value
    return this
  }

  u16(value: number): this {
    const at = this.#room(2)
    this.#buffer.writeUInt16BE(value, at)
    return this
  }

  u32(value: number): this {
    const at = this.#room(4)
    this.#buffer.writeUInt32BE(value, at)
    return this
  }

  /** Eight bytes from a safe integer. */
  u64(value: number): this {
    const at = this.#room(8)
    this.#buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at)
    this.#buffer.writeUInt32BE(value >>> 0, at + 4)
    return this
  }

  i64(value: bigint): this {
    const at = this.#room(8)
    this.#buffer.writeBigInt64BE(value, at)
    return this
  }

  /** A safe, non-negative integer in 1 to 8 bytes. */
  varint(value: number): this {
    let rest = value
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    return this.u8(rest)
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#buffer.set(bytes, at)
    return this
  }

  /** Length as a varint, then the bytes. */
  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes)
  }

  /** Length as a varint, then one byte per character of a binary string. */
  binary(text: string): this {
    this.varint(text.length)
    const at = this.#room(text.length)
    this.#buffer.write(text, at, 'latin1')
    return this
  }

  /** The bytes written so far; the writer must not be used afterwards. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
}

/** Reads what ByteWriter wrote; anything past the end or out of range is `Malformed`. */
export class ByteReader {
  readonly #buffer: Buffer
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = start
    this.#end = end
  }

  get position(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#end - this.#at
  }

  #take(count: number): number {
    const at = this.#at
    if (count > this.#end - at) throw new Malformed(`${count} bytes wanted at ${at}, ${this.#end - at} left`)
    this.#at = at + count
    return at
  }

  u8(): number {
    const at = this.#take(1)
    return this.#buffer[at] as number
  }

  u16(): number {
    return this.#buffer.readUInt16BE(this.#take(2))
  }

  u32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  u64(): number {
    const at = this.#take(8)
    const value = this.#buffer.readUInt32BE(at) * 0x1_0000_0000 + this.#buffer.readUInt32BE(at + 4)
    if (!Number.isSafeInteger(value)) throw new Malformed(`number above 2^53 at ${at}`)
    return value
  }

  i64(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8))
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 8; count++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break
        if (byte === 0 && count > 0) throw new Malformed(`padded varint at ${this.#at}`)
        return value
      }
      scale *= 0x80
    }
    throw new Malformed(`varint above 2^53 at ${this.#at}`)
  }

  /** A view, not a copy. */
  raw(count: number): Buffer {
    const at = this.#take(count)
    return this.#buffer.subarray(at, at + count)
  }

  /** A view, not a copy, of at most `max` bytes. */
  bytes(max: number): Buffer {
    const count = this.varint()
    if (count > max) throw new Malformed(`${count} bytes where at most ${max} are allowed`)
    return this.raw(count)
  }

  binary(max: number): string {
    return this.bytes(max).toString('latin1')
  }

  end(): void {
    if (this.remaining !== 0) throw new Malformed(`${this.remaining} bytes too many`)
  }
}
