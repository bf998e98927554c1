import type { Export, NbdError } from './export.ts'
import { command, commandFlag, payloadBytesMax, requestMagic } from './numbers.ts'

/**
 * A request: 28 bytes, big-endian, and the data of a write behind them.
 *    0  4  magic   0x25609513
 *    4  2  flags   of `commandFlag`
 *    6  2  command
 *    8  8  cookie  opaque, repeated in the reply
 *   16  8  at      the first byte asked for
 *   24  4  bytes   of a write, the length of its data
 */
export const requestBytes = 28
export const cookieAt = 8
export const cookieBytes = 8

/** The fields of a request, read again and again into the same object. */
export class RequestHeader {
  flags = 0
  command = 0
  /** Above 2^53 it is only about right, which is past the end of everything. */
  at = 0
  bytes = 0

  /** False when there is no request. */
  read(buffer: Buffer, from: number): boolean {
    if (buffer.readUInt32BE(from) !== requestMagic) return false
    this.flags = buffer.readUInt16BE(from + 4)
    this.command = buffer.readUInt16BE(from + 6)
    this.at = buffer.readUInt32BE(from + 16) * 0x1_0000_0000 + buffer.readUInt32BE(from + 20)
    this.bytes = buffer.readUInt32BE(from + 24)
    return true
  }
}

/** `cookie` is the lower half of the cookie; the upper one is zero. */
export function encodeRequest(request: Readonly<Omit<RequestHeader, 'read'>>, cookie: number): Buffer {
  const { flags, at, bytes } = request
  const encoded = Buffer.allocUnsafe(requestBytes)
  encoded.writeUInt32BE(requestMagic, 0)
  encoded.writeUInt16BE(flags, 4)
  encoded.writeUInt16BE(request.command, 6)
  encoded.writeUInt32BE(0, cookieAt)
  encoded.writeUInt32BE(cookie, cookieAt + 4)
  encoded.writeUInt32BE(Math.floor(at / 0x1_0000_0000), 16)
  encoded.writeUInt32BE(at >>> 0, 20)
  encoded.writeUInt32BE(bytes, 24)
  return encoded
}

/** What follows the header of a request. */
export const payloadBytes = (request: RequestHeader): number => (request.command === command.write ? request.bytes : 0)

/** What was agreed on for one connection. */
export interface Agreed {
  readonly export: Export
  /** Reads are answered by structured replies. */
  readonly isStructured: boolean
  /** BLOCK_STATUS is answered, in the context `base:allocation`. */
  readonly hasAllocation: boolean
}

/** Why a request is not put to the export, or undefined when it is. */
export function refusalOf(request: RequestHeader, agreed: Agreed): NbdError | undefined {
  const { export: served, isStructured, hasAllocation } = agreed
  switch (request.command) {
    case command.read:
      return (
        unknownFlags(request, commandFlag.forced | (isStructured ? commandFlag.dontFragment : 0)) ??
        (request.bytes > payloadBytesMax ? 'EINVAL' : outside(request, served, 'EINVAL'))
      )
    case command.write:
      return (
        unknownFlags(request, commandFlag.forced) ??
        (served.isReadOnly ? 'EPERM' : undefined) ??
        (request.bytes > payloadBytesMax ? 'EINVAL' : outside(request, served, 'ENOSPC'))
      )
    case command.trim:
      return (
        unknownFlags(request, commandFlag.forced) ?? (served.isReadOnly ? 'EPERM' : outside(request, served, 'EINVAL'))
      )
    case command.zero:
      return (
        unknownFlags(request, commandFlag.forced | commandFlag.noHole | commandFlag.fastZero) ??
        (served.isReadOnly ? 'EPERM' : undefined) ??
        // What a client takes as "then write the zeros yourself".
        ((request.flags & commandFlag.fastZero) !== 0 && served.hasFastZero !== true
          ? 'ENOTSUP'
          : outside(request, served, 'ENOSPC'))
      )
    case command.flush:
      return unknownFlags(request, commandFlag.forced)
    case command.blockStatus:
      return (
        unknownFlags(request, commandFlag.forced | commandFlag.oneExtent) ??
        (hasAllocation && request.bytes > 0 ? outside(request, served, 'EINVAL') : 'EINVAL')
      )
    default:
      return 'EINVAL'
  }
}

const unknownFlags = (request: RequestHeader, known: number): NbdError | undefined =>
  (request.flags & ~known) === 0 ? undefined : 'EINVAL'

function outside({ at, bytes }: RequestHeader, served: Export, error: NbdError): NbdError | undefined {
  if (at + bytes > served.bytes) return error
  const block = served.blockBytes ?? 1
  return at % block === 0 && bytes % block === 0 ? undefined : 'EINVAL'
}
