import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import type { ExportExtent, NbdError } from './export.ts'
import {
  allocationFlag,
  chunkFlag,
  chunkMagic,
  chunkType,
  errorNumbers,
  errorOfNumber,
  extentsMax,
  simpleReplyMagic,
  textBytesMax,
} from './numbers.ts'
import { cookieAt, cookieBytes } from './requests.ts'

/**
 * A simple reply: 16 bytes, big-endian, and the data of a read behind them, unless it failed.
 *    0  4  magic   0x67446698
 *    4  4  error   0 or of `errorNumbers`
 *    8  8  cookie
 *
 * A chunk of a structured reply: 20 bytes and a payload.
 *    0  4  magic   0x668e33ef
 *    4  2  flags   1: the last chunk of this reply
 *    6  2  type    of `chunkType`
 *    8  8  cookie
 *   16  4  length  of the payload
 * Payloads: data: u64 at, the bytes; hole: u64 at, u32 bytes; error: u32 error, u16 length, text; at an offset: u64 at behind it;
 * block status: u32 context, then for each extent u32 bytes, u32 flags.
 */
export const simpleReplyBytes = 16
export const chunkHeaderBytes = 20
/** From the start of the chunk to the bytes of a read. */
export const dataChunkBytes = chunkHeaderBytes + 8
const errorChunkBytes = chunkHeaderBytes + 6
const extentBytes = 8

/** Puts a simple reply to the request whose header stands at `requestAt` of `request`. Told to have gone well. */
export function putSimpleReply(into: Buffer, at: number, request: Buffer, requestAt: number): void {
  into.writeUInt32BE(simpleReplyMagic, at)
  into.writeUInt32BE(0, at + 4)
  request.copy(into, at + cookieAt, requestAt + cookieAt, requestAt + cookieAt + cookieBytes)
}

/** Makes a simple reply tell of a failure. */
export function putSimpleError(into: Buffer, at: number, error: NbdError): void {
  into.writeUInt32BE(errorNumbers[error], at + 4)
}

/** Puts everything of a read's only chunk but its data, which follow at `dataChunkBytes`. */
export function putDataChunk(
  into: Buffer,
  at: number,
  request: Buffer,
  requestAt: number,
  told: { readonly at: number; readonly bytes: number },
): void {
  putChunkHeader(into, at, chunkType.data, told.bytes + 8)
  request.copy(into, at + cookieAt, requestAt + cookieAt, requestAt + cookieAt + cookieBytes)
  into.writeUInt32BE(Math.floor(told.at / 0x1_0000_0000), at + 20)
  into.writeUInt32BE(told.at >>> 0, at + 24)
}

/** Makes a chunk tell of a failure instead; returns how long it is now. The cookie stands. */
export function putErrorChunk(into: Buffer, at: number, error: NbdError): number {
  putChunkHeader(into, at, chunkType.error, errorChunkBytes - chunkHeaderBytes)
  into.writeUInt32BE(errorNumbers[error], at + 20)
  into.writeUInt16BE(0, at + 24)
  return errorChunkBytes
}

/** Makes it a chunk without a payload. The cookie stands. */
export function putEmptyChunk(into: Buffer, at: number): void {
  putChunkHeader(into, at, chunkType.none, 0)
}

function putChunkHeader(into: Buffer, at: number, type: number, payloadBytes: number): void {
  into.writeUInt32BE(chunkMagic, at)
  into.writeUInt16BE(chunkFlag.done, at + 4)
  into.writeUInt16BE(type, at + 6)
  into.writeUInt32BE(payloadBytes, at + 16)
}

/** A whole chunk that tells of blocks; `cookie` are eight bytes. */
export function encodeBlockStatus(cookie: Uint8Array, context: number, extents: readonly ExportExtent[]): Buffer {
  const payload = 4 + extentBytes * extents.length
  const writer = new ByteWriter(chunkHeaderBytes + payload)
  writer.u32(chunkMagic).u16(chunkFlag.done).u16(chunkType.blockStatus).raw(cookie).u32(payload).u32(context)
  for (const { bytes, is } of extents) writer.u32(bytes).u32(extentFlags[is])
  return writer.finish()
}

const extentFlags = {
  data: 0,
  zero: allocationFlag.zero,
  hole: allocationFlag.hole | allocationFlag.zero,
} as const

/** What the payload of a chunk of type block status says of the bytes from `at` on. */
export function decodeBlockStatus(
  payload: Uint8Array,
  at: number,
): { readonly context: number; readonly extents: readonly ExportExtent[] } {
  const reader = new ByteReader(payload)
  const context = reader.u32()
  if (reader.remaining === 0 || reader.remaining > extentsMax * extentBytes)
    throw new Malformed(`${reader.remaining} bytes tell of blocks`)
  const extents: ExportExtent[] = []
  let from = at
  while (reader.remaining > 0) {
    const bytes = reader.u32()
    const flags = reader.u32()
    if (bytes === 0) throw new Malformed('an extent of no bytes')
    // Only what is sure to read as zeros may be left out by a copy.
    const is = (flags & allocationFlag.zero) === 0 ? 'data' : (flags & allocationFlag.hole) === 0 ? 'zero' : 'hole'
    extents.push({ at: from, bytes, is })
    from += bytes
  }
  return { context, extents }
}

/** What the payload of a chunk that tells of an error says. */
export function decodeErrorChunk(
  payload: Uint8Array,
  type: number,
): { readonly error: NbdError; readonly message: string } {
  const reader = new ByteReader(payload)
  const number = reader.u32()
  const bytes = reader.u16()
  if (number === 0) throw new Malformed('an error without a number')
  if (bytes > textBytesMax) throw new Malformed(`${bytes} bytes of text where at most ${textBytesMax} are allowed`)
  const message = reader.raw(bytes).toString('utf8')
  if (type === chunkType.errorAt) reader.u64()
  // Of a type that is not known, more may follow.
  if (type === chunkType.error || type === chunkType.errorAt) reader.end()
  return { error: errorOfNumber(number), message }
}
