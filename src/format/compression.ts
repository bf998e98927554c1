import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Malformed } from '../base/bytes.ts'
import { giveBack } from '../base/give-back.ts'

/**
 * A compressed body: one byte that names the way (0 none, 1 zstd: RFC 8878 frame), four bytes big-endian with the
 * length before compression, then the bytes. zstd is kept only where it saves at least one part in sixteen.
 */
const ways = { none: 0, zstd: 1 } as const
const headBytes = 5
/** Below this a compression context costs more than it saves. */
const worthBytesMin = 2048
/** The least that zlib takes. */
const chunkBytesMin = 64
/**
 * Level 1, but matches of six bytes at least in a table of 2^15: no slower, and text gets two parts in a hundred smaller
 * in blocks of half a mebibyte.
 */
const params = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_minMatch]: 6,
  [constants.ZSTD_c_hashLog]: 15,
}
const frameBytesMax = 64
/**
 * Long bodies are judged by a sample first, of one byte in 32 and in pieces of a page: to try all of one that is packed or encrypted
 * already costs as much as everything else that is done with it. What only repeats itself further away is missed.
 */
const sampled = { bytesMin: 256 * 1024, pieceBytes: 4096, oneIn: 32 } as const
const sample = Buffer.allocUnsafeSlow(128 * 1024)

/** The bytes are alone in their memory, `before` in front of them. */
export function compressBody(body: Uint8Array, before?: Uint8Array): Buffer<ArrayBuffer> {
  const packed = isWorthTrying(body) ? zstd(body) : undefined
  const kept = packed !== undefined && packed.length < body.length - (body.length >> 4) ? packed : undefined
  const at = before?.length ?? 0
  const bytes = Buffer.allocUnsafeSlow(at + headBytes + (kept ?? body).length)
  if (before !== undefined) bytes.set(before)
  bytes[at] = kept ? ways.zstd : ways.none
  bytes.writeUInt32BE(body.length, at + 1)
  bytes.set(kept ?? body, at + headBytes)
  if (packed !== undefined) giveBack(packed)
  return bytes
}

function isWorthTrying(body: Uint8Array): boolean {
  if (body.length < sampled.bytesMin) return body.length >= worthBytesMin
  const pieces = Math.min(
    Math.floor(body.length / sampled.oneIn / sampled.pieceBytes),
    sample.length / sampled.pieceBytes,
  )
  const stride = Math.floor(body.length / pieces)
  for (let piece = 0; piece < pieces; piece++) {
    const from = piece * stride
    sample.set(body.subarray(from, from + sampled.pieceBytes), piece * sampled.pieceBytes)
  }
  const tried = sample.subarray(0, pieces * sampled.pieceBytes)
  const packed = zstd(tried)
  const isSmaller = packed.length < tried.length - (tried.length >> 5)
  giveBack(packed)
  return isSmaller
}

function zstd(body: Uint8Array): Buffer {
  // All of it has room in one piece of output: zstd then works without buffers of its own in between.
  return zstdCompressSync(body, { chunkSize: body.length + (body.length >> 8) + frameBytesMax, params })
}

/** Gives back the memory of a body that was decompressed from `bytes`; one that was not compressed is a view of them. */
export function giveBackBody(body: Uint8Array, bytes: Uint8Array): void {
  if (body.buffer !== bytes.buffer) giveBack(body)
}

/** The body again; more than `bytesMax`, or bytes that are not one, are `Malformed`. */
export function decompressBody(bytes: Uint8Array, bytesMax: number): Buffer {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.length < headBytes) throw new Malformed('compressed body is cut short')
  const length = view.readUInt32BE(1)
  if (length > bytesMax) throw new Malformed(`compressed body of ${length} bytes where ${bytesMax} are allowed`)
  const rest = view.subarray(headBytes)
  const body = view[0] === ways.none ? rest : view[0] === ways.zstd ? unzstd(rest, length) : undefined
  if (body === undefined) throw new Malformed(`compression ${view[0]}`)
  if (body.length !== length) throw new Malformed(`compressed body has ${body.length} bytes, not ${length}`)
  return body
}

function unzstd(bytes: Uint8Array, length: number): Buffer {
  try {
    // One byte more than is due: the output then comes in one piece, and too much of it shows.
    return zstdDecompressSync(bytes, { maxOutputLength: length + 1, chunkSize: Math.max(length + 1, chunkBytesMin) })
  } catch (error) {
    throw new Malformed(`not a zstd frame of ${length} bytes: ${error instanceof Error ? error.message : error}`)
  }
}
