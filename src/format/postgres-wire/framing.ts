import { Malformed } from '../../base/bytes.ts'

/**
 * Cuts the bytes that one side of a PostgreSQL connection sends into messages. Each is
 *    0  1  type    an ASCII letter
 *    1  4  length  of what follows the type, these four bytes included, big-endian
 *    5  …  body
 * (https://www.postgresql.org/docs/current/protocol-message-formats.html). CopyData (`d`) is handed on piece by piece as
 * it arrives, whatever its length; every other message is handed on whole, and is short.
 */
export interface MessageSink {
  /** `body` is a view that holds during the call only. */
  message(type: number, body: Buffer): void
  copyDataStart(bytes: number): void
  /** `source` holds these bytes during the call only. */
  copyData(source: Buffer, start: number, end: number): void
  copyDataEnd(): void
}

export const copyDataType = 0x64

/** What a server may make us hold at once; a result set's row is the longest message that is not CopyData. */
export const messageBytesMax = 16 * 1024 * 1024
/** Before the server has let us in; the errors of that time are short. */
export const messageBytesMaxAtStart = 64 * 1024

const headerBytes = 5

export class MessageDecoder {
  readonly #sink: MessageSink
  readonly #header = Buffer.alloc(headerBytes)
  #headerLength = 0
  /** Of the message whose header is complete: bytes that have not arrived yet. */
  #missing = 0
  #inCopyData = false
  /** Collects a message that did not arrive in one piece. */
  #body: Buffer | undefined
  #bytesMax = messageBytesMaxAtStart

  constructor(sink: MessageSink) {
    this.#sink = sink
  }

  /** From now on messages may be as long as `messageBytesMax`. */
  trust(): void {
    this.#bytesMax = messageBytesMax
  }

  /** Takes the first `length` bytes of `source`, which it keeps no reference to. Throws `Malformed`. */
  feed(source: Buffer, length: number): void {
    let at = 0
    while (at < length) {
      if (this.#headerLength < headerBytes) {
        at += this.#takeHeader(source, at, length)
        if (this.#headerLength < headerBytes) return
        this.#begin()
        // An empty message is complete already, also when nothing follows it.
        if (this.#missing > 0) continue
      }
      at += this.#takeBody(source, at, Math.min(length, at + this.#missing))
    }
  }

  #takeHeader(source: Buffer, at: number, length: number): number {
    const taken = Math.min(headerBytes - this.#headerLength, length - at)
    source.copy(this.#header, this.#headerLength, at, at + taken)
    this.#headerLength += taken
    return taken
  }

  #begin(): void {
    const type = this.#header[0] as number
    const length = this.#header.readInt32BE(1)
    if (length < 4) throw new Malformed(`message of type ${type} with length ${length}`)
    this.#missing = length - 4
    this.#inCopyData = type === copyDataType
    if (this.#inCopyData) return this.#sink.copyDataStart(this.#missing)
    if (this.#missing > this.#bytesMax) {
      throw new Malformed(`message of type ${type} with ${this.#missing} bytes, more than ${this.#bytesMax}`)
    }
  }

  #takeBody(source: Buffer, start: number, end: number): number {
    const taken = end - start
    const whole = taken === this.#missing
    this.#missing -= taken
    if (this.#inCopyData) {
      if (taken > 0) this.#sink.copyData(source, start, end)
      if (whole) {
        this.#headerLength = 0
        this.#sink.copyDataEnd()
      }
    } else if (whole && this.#body === undefined) {
      this.#headerLength = 0
      this.#sink.message(this.#header[0] as number, source.subarray(start, end))
    } else {
      this.#collect(source, start, end)
    }
    return taken
  }

  #collect(source: Buffer, start: number, end: number): void {
    // `#missing` is what comes after this piece.
    const length = this.#header.readInt32BE(1) - 4
    this.#body ??= Buffer.allocUnsafe(length)
    source.copy(this.#body, length - this.#missing - (end - start), start, end)
    if (this.#missing > 0) return
    const body = this.#body
    this.#body = undefined
    this.#headerLength = 0
    this.#sink.message(this.#header[0] as number, body)
  }
}
