import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { fileKey } from './keys.ts'

/**
 * A sealed file: append-only, framed, encrypted. Segments, packs, checkpoints and spools are of this form.
 * Numbers are big-endian. Told at length in docs/formats/vault.md.
 *
 * Header, 128 bytes:
 *     0   8  magic "TIDEMARK"
 *     8   2  format version, 1
 *    10   1  kind: 1 segment  2 pack  3 checkpoint  4 spool
 *    11   5  zero
 *    16  16  file id, random
 *    32  16  owner: id of the source or of the vault
 *    48   8  number
 *    56   8  first sequence
 *    64  32  SHA-256 of the whole file before it in its chain, zeros where there is none
 *    96  16  zero
 *   112  16  tag: AES-256-GCM of nothing under the file key, AAD bytes 0 to 111, nonce u32 2, u64 0
 * A later version keeps this header, so that an unknown version is told from a damaged one.
 *
 * Then frames, without gaps:
 *     0   4  magic "FRM1"
 *     4   4  length of the ciphertext
 *     8   1  type: 1 batch  2 block  3 pack index  4 seal  5 manifest group  6 claim  7 checkpoint head
 *     9   3  zero
 *    12   4  ordinal: 0, 1, 2, …
 *    16   8  durable: length of this file known to be synced when the frame was written
 *    24   n  ciphertext: AES-256-GCM under the file key, AAD bytes 0 to 23, nonce u32 (0; 1 in a closing frame), u64 ordinal
 *  24+n  16  tag
 *
 * Pack index and seal are closing frames: what they hold follows from the frames before them, so closing a file a
 * second time after a crash writes the same bytes under the same nonce. Their `durable` is where the first of them
 * starts. Nothing else is ever appended to a file found after a crash.
 *
 * Seal, the last frame, 64 bytes:
 *     0   8  count of the frames before it
 *     8   8  bytes of the file before it
 *    16   8  last sequence
 *    24   8  where the last frame before it starts
 *    32  32  SHA-256 of all bytes of the file before it
 */
export const headerBytes = 128
export const frameHeadBytes = 24
export const tagBytes = 16
export const frameOverheadBytes = frameHeadBytes + tagBytes
/** Of the content of one frame: an encoded batch of the largest size, with room for what goes before it. */
export const framePayloadBytesMax = 5 * 1024 * 1024
const sealPayloadBytes = 64
export const sealFrameBytes = frameOverheadBytes + sealPayloadBytes
export const hashBytes = 32
export const noHash: Buffer = Buffer.alloc(hashBytes)

const magic = Buffer.from('TIDEMARK', 'latin1')
export const frameMagic: Buffer = Buffer.from('FRM1', 'latin1')
const version = 1
const authenticatedBytes = headerBytes - tagBytes
const cipherName = 'aes-256-gcm'

const kinds = { segment: 1, pack: 2, checkpoint: 3, spool: 4 } as const
export type SealedKind = keyof typeof kinds

const types = {
  'batch': 1,
  'block': 2,
  'pack-index': 3,
  'seal': 4,
  'manifest-group': 5,
  'claim': 6,
  'checkpoint-head': 7,
} as const
export type FrameType = keyof typeof types

const typeNames = new Map(Object.entries(types).map(([name, code]) => [code as number, name as FrameType]))
const kindNames = new Map(Object.entries(kinds).map(([name, code]) => [code as number, name as SealedKind]))

/** Frames that end a file; what they say follows from the frames before them. */
export const isClosing = (type: FrameType): boolean => type === 'seal' || type === 'pack-index'

/** A file of a version that this program does not know. Not damage: a newer program can read it. */
export class UnknownVersion extends Error {
  override readonly name = 'UnknownVersion'
}

export interface SealedHeader {
  readonly kind: SealedKind
  readonly file: Id
  readonly owner: Id
  readonly number: number
  readonly first: Sequence
  /** SHA-256 of the file before it in its chain. */
  readonly before: Buffer
}

export function encodeHeader(header: SealedHeader, key: KeyObject): Buffer {
  const writer = new ByteWriter(headerBytes)
  writer.raw(magic).u16(version).u8(kinds[header.kind]).raw(Buffer.alloc(5))
  writer.raw(Buffer.from(header.file, 'hex')).raw(Buffer.from(header.owner, 'hex'))
  writer.u64(header.number).u64(header.first).raw(header.before).raw(Buffer.alloc(16))
  const bytes = writer.finish()
  return Buffer.concat([bytes, headerTag(bytes, key)])
}

/** The header, authenticated under the owner's key, and the key of the file. */
export function decodeHeader(bytes: Uint8Array, owner: KeyObject): { header: SealedHeader; key: KeyObject } {
  const reader = new ByteReader(bytes)
  if (!reader.raw(8).equals(magic)) throw new Malformed('not a sealed file')
  const found = reader.u16()
  const kind = kindNames.get(reader.u8())
  reader.raw(5)
  const file = reader.raw(16).toString('hex') as Id
  const ownerId = reader.raw(16).toString('hex') as Id
  const number = reader.u64()
  const first = sequence(reader.u64())
  const before = Buffer.from(reader.raw(hashBytes))
  reader.raw(16)
  const tag = reader.raw(tagBytes)
  const key = fileKey(owner, file)
  const decipher = createDecipheriv(cipherName, key, nonce(2, 0), { authTagLength: tagBytes })
  decipher.setAAD(bytes.subarray(0, authenticatedBytes)).setAuthTag(tag)
  authentic(() => decipher.final(), 'header')
  if (found !== version) throw new UnknownVersion(`format version ${found}`)
  if (kind === undefined) throw new Malformed('kind of sealed file')
  return { header: { kind, file, owner: ownerId, number, first, before }, key }
}

function headerTag(authenticated: Uint8Array, key: KeyObject): Buffer {
  const cipher = createCipheriv(cipherName, key, nonce(2, 0), { authTagLength: tagBytes })
  cipher.setAAD(authenticated)
  cipher.final()
  return cipher.getAuthTag()
}

export interface FrameHead {
  readonly type: FrameType
  readonly ordinal: number
  /** Length of the file that was known to be synced when the frame was written. */
  readonly durable: number
}

/** The parts of a frame, in order, ready to be appended. */
export function encodeFrame(head: FrameHead, payload: readonly Uint8Array[], key: KeyObject): Uint8Array[] {
  const bytes = payload.reduce((sum, part) => sum + part.length, 0)
  const headed = Buffer.allocUnsafe(frameHeadBytes)
  frameMagic.copy(headed, 0)
  headed.writeUInt32BE(bytes, 4)
  headed.writeUInt32BE(types[head.type] * 0x100_0000, 8)
  headed.writeUInt32BE(head.ordinal, 12)
  headed.writeBigUInt64BE(BigInt(head.durable), 16)
  const cipher = createCipheriv(cipherName, key, frameNonce(head), { authTagLength: tagBytes })
  cipher.setAAD(headed)
  const parts: Uint8Array[] = [headed]
  for (const part of payload) parts.push(cipher.update(part))
  cipher.final()
  parts.push(cipher.getAuthTag())
  return parts
}

/** What the first 24 bytes of a frame say; nothing of it is authenticated yet. */
export function decodeFrameHead(bytes: Buffer, at = 0): FrameHead & { readonly payloadBytes: number } {
  if (bytes.length - at < frameHeadBytes) throw new Malformed('frame is cut short')
  if (bytes.compare(frameMagic, 0, 4, at, at + 4) !== 0) throw new Malformed('no frame starts here')
  const payloadBytes = bytes.readUInt32BE(at + 4)
  if (payloadBytes > framePayloadBytesMax) throw new Malformed(`frame of ${payloadBytes} bytes`)
  const type = typeNames.get(bytes[at + 8] as number)
  if (type === undefined || bytes.readUIntBE(at + 9, 3) !== 0) throw new Malformed('type of frame')
  const durable = Number(bytes.readBigUInt64BE(at + 16))
  return { type, ordinal: bytes.readUInt32BE(at + 12), durable, payloadBytes }
}

/** The content of the frame that is `bytes`, from its head to its tag. */
export function decodeFrame(bytes: Buffer, key: KeyObject): FrameHead & { readonly payload: Buffer } {
  const head = decodeFrameHead(bytes)
  if (bytes.length !== frameOverheadBytes + head.payloadBytes) throw new Malformed('frame is cut short')
  const decipher = createDecipheriv(cipherName, key, frameNonce(head), { authTagLength: tagBytes })
  decipher.setAAD(bytes.subarray(0, frameHeadBytes)).setAuthTag(bytes.subarray(bytes.length - tagBytes))
  const payload = decipher.update(bytes.subarray(frameHeadBytes, bytes.length - tagBytes))
  authentic(() => decipher.final(), 'frame')
  return { type: head.type, ordinal: head.ordinal, durable: head.durable, payload }
}

export interface Seal {
  readonly frames: number
  readonly bytes: number
  readonly last: Sequence
  readonly lastFrameAt: number
  readonly hash: Buffer
}

export const encodeSeal = (seal: Seal): Buffer =>
  new ByteWriter(sealPayloadBytes)
    .u64(seal.frames)
    .u64(seal.bytes)
    .u64(seal.last)
    .u64(seal.lastFrameAt)
    .raw(seal.hash)
    .finish()

export function decodeSeal(payload: Uint8Array): Seal {
  const reader = new ByteReader(payload)
  const seal = {
    frames: reader.u64(),
    bytes: reader.u64(),
    last: sequence(reader.u64()),
    lastFrameAt: reader.u64(),
    hash: Buffer.from(reader.raw(hashBytes)),
  }
  reader.end()
  return seal
}

const frameNonce = (head: FrameHead): Buffer => nonce(isClosing(head.type) ? 1 : 0, head.ordinal)

function nonce(prefix: number, ordinal: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(prefix, 0)
  bytes.writeUInt32BE(ordinal, 8)
  return bytes
}

function authentic(check: () => unknown, what: string): void {
  try {
    check()
  } catch {
    throw new Malformed(`${what} is not authentic`)
  }
}
