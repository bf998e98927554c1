import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { Malformed } from '../base/bytes.ts'
import type { Moment } from '../model/moment.ts'
import { type Id, isId } from '../model/source.ts'

/**
 * The volume log: segment files in one folder, named by the number of their first record, as 16 hexadecimal digits and `.log`.
 * Decided in docs/decisions/0009-volumes.md; told at length in docs/formats/volume-log.md. Numbers are big-endian.
 *
 * Segment header, 64 bytes, twice; one of them has to verify:
 *    0   8  magic    "TIDEVLG1"; the last character is the version
 *    8  16  volume   id of the source
 *   24   8  epoch    the one at the time the segment was begun
 *   32   8  first    number of the first record
 *   40  16  salt     random: what an earlier use of the same file has left behind does not verify
 *   56   4  zero
 *   60   4  checksum CRC-32 of bytes 0 to 59
 *
 * Records follow each other without gaps. Record header, 56 bytes, then the payload:
 *    0   4  magic    "VREC"
 *    4   4  checksum CRC-32 of bytes 8 to 55 and the payload, going on from the checksum of the segment's header
 *    8   8  number   one more than the record before
 *   16   8  moment   microseconds since the Unix epoch
 *   24   8  synced   number of a record up to which the log was synced when this one was written
 *   32   8  at       first byte of the range; a mark's tag
 *   40   8  bytes    length of the range; the size after `resize`; 0 of flush and mark
 *   48   4  payload  bytes that follow: those of a write, a mark's label in UTF-8
 *   52   1  kind     1 write, 2 zero, 3 trim, 4 flush, 5 mark, 6 resize
 *   53   1  flags    1: the answer waited for the record to be durable
 *   54   2  zero
 *
 * A segment ends where the next one's first record is; what stands behind its last record is anything, and does not verify.
 * Behind the last record of the log, bytes that do not verify are a torn tail, unless a later record says that the place was synced:
 * then they are damage. CRC-32, not CRC-32C: zlib's is three times as fast as ours, and each byte passes it on its way to the disk.
 */

/** A record's place in the log of one volume: starts at 1, grows by 1, is never used again; also over epochs. */
export type RecordNumber = number & { readonly is: 'RecordNumber' }

/** One thing that happened to a volume, in the order that counts. */
export type VolumeRecord = { readonly number: RecordNumber; readonly moment: Moment } & (
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array; readonly isForced: boolean }
  | { readonly kind: 'zero' | 'trim'; readonly at: number; readonly bytes: number; readonly isForced: boolean }
  | { readonly kind: 'flush' }
  /** A user's mark; `tag` is the agent's. */
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  /** The volume has this size from here on. */
  | { readonly kind: 'resize'; readonly bytes: number }
)

/** What becomes a record once it has its number and its moment. */
export type RecordDraft =
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array; readonly isForced: boolean }
  | { readonly kind: 'zero' | 'trim'; readonly at: number; readonly bytes: number; readonly isForced: boolean }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  | { readonly kind: 'resize'; readonly bytes: number }

export interface SegmentHeader {
  readonly volume: Id
  readonly epoch: number
  readonly first: RecordNumber
  /** 16 bytes. */
  readonly salt: Uint8Array
}

const headerCopyBytes = 64
export const segmentHeaderBytes = 2 * headerCopyBytes
export const recordHeaderBytes = 56
/** Most bytes of a payload. */
export const payloadBytesMax = 32 * 1024 ** 2
export const labelBytesMax = 1024

const saltBytes = 16
const segmentMagic = Buffer.from('TIDEVLG1', 'latin1')
const recordMagicText = 'VREC'
export const recordMagic = Buffer.from(recordMagicText, 'latin1')
const magicNumber = recordMagic.readUInt32BE(0)
const kinds = ['write', 'zero', 'trim', 'flush', 'mark', 'resize'] as const
const forcedFlag = 1

const segmentSuffix = '.log'
export const formatSegmentName = (first: RecordNumber): string => first.toString(16).padStart(16, '0') + segmentSuffix

/** Undefined for names of other files. */
export function parseSegmentName(name: string): RecordNumber | undefined {
  if (!/^[0-9a-f]{16}\.log$/.test(name)) return undefined
  const first = Number.parseInt(name, 16)
  return Number.isSafeInteger(first) && first > 0 ? (first as RecordNumber) : undefined
}

export function encodeSegmentHeader({ volume, epoch, first, salt }: SegmentHeader): Buffer {
  assert(salt.length === saltBytes, 'a segment has a salt of 16 bytes')
  const header = Buffer.alloc(headerCopyBytes)
  segmentMagic.copy(header)
  header.write(volume, 8, 'hex')
  writeNumber(header, epoch, 24)
  writeNumber(header, first, 32)
  header.set(salt, 40)
  header.writeUInt32BE(crc32(header.subarray(0, 60)), 60)
  return Buffer.concat([header, header])
}

export function decodeSegmentHeader(bytes: Buffer): SegmentHeader {
  const copies = [bytes.subarray(0, headerCopyBytes), bytes.subarray(headerCopyBytes, segmentHeaderBytes)]
  const header = copies.find(isHeader)
  if (header === undefined) throw new Malformed('the header of the segment does not verify')
  const volume = header.toString('hex', 8, 24)
  assert(isId(volume), 'an id is 16 bytes')
  return {
    volume,
    epoch: readNumber(header, 24),
    first: readNumber(header, 32) as RecordNumber,
    salt: Buffer.from(header.subarray(40, 56)),
  }
}

const isHeader = (copy: Buffer): boolean =>
  copy.length === headerCopyBytes &&
  copy.subarray(0, segmentMagic.length).equals(segmentMagic) &&
  copy.readUInt32BE(60) === crc32(copy.subarray(0, 60))

/** What the checksums of a segment's records go on from. */
export const seedOf = (header: SegmentHeader): number => encodeSegmentHeader(header).readUInt32BE(60)

/** Bytes in the log. */
export const recordBytes = (draft: RecordDraft): number => recordHeaderBytes + payloadBytes(draft)

function payloadBytes(draft: RecordDraft): number {
  if (draft.kind === 'write') return draft.data.length
  return draft.kind === 'mark' ? Buffer.byteLength(draft.label) : 0
}

export interface EncodePlace {
  readonly seed: number
  /** The first record's; the others follow. */
  readonly number: number
  readonly moment: Moment
  readonly synced: number
}

/** The parts of one gathering write: payloads of writes are among them as they are, not copied. */
export function encodeRecords(drafts: readonly RecordDraft[], place: EncodePlace): Uint8Array[] {
  const headers = Buffer.allocUnsafe(drafts.length * recordHeaderBytes)
  const parts: Uint8Array[] = []
  for (const [index, draft] of drafts.entries()) {
    const header = headers.subarray(index * recordHeaderBytes, (index + 1) * recordHeaderBytes)
    const payload = payloadOf(draft)
    header.writeUInt32BE(magicNumber, 0)
    writeNumber(header, place.number + index, 8)
    writeNumber(header, place.moment, 16)
    writeNumber(header, place.synced, 24)
    writeNumber(header, draft.kind === 'mark' ? draft.tag : 'at' in draft ? draft.at : 0, 32)
    writeNumber(header, rangeBytes(draft), 40)
    header.writeUInt32BE(payload?.length ?? 0, 48)
    header[52] = kinds.indexOf(draft.kind) + 1
    header[53] = 'isForced' in draft && draft.isForced ? forcedFlag : 0
    header.writeUInt16BE(0, 54)
    header.writeUInt32BE(checksumOf(header, payload, place.seed), 4)
    parts.push(header)
    if (payload !== undefined) parts.push(payload)
  }
  return parts
}

const payloadOf = (draft: RecordDraft): Uint8Array | undefined =>
  draft.kind === 'write' ? draft.data : draft.kind === 'mark' ? Buffer.from(draft.label) : undefined

function rangeBytes(draft: RecordDraft): number {
  if (draft.kind === 'write') return draft.data.length
  return 'bytes' in draft ? draft.bytes : 0
}

function checksumOf(header: Buffer, payload: Uint8Array | undefined, seed: number): number {
  const ofHeader = crc32(header.subarray(8), seed)
  return payload === undefined || payload.length === 0 ? ofHeader : crc32(payload, ofHeader)
}

export interface Decoded {
  readonly record: VolumeRecord
  readonly synced: number
  /** In the log. */
  readonly bytes: number
}

/**
 * The record at `at`, whichever its number. `needs`: how many bytes from `at` on it takes to say. `invalid`: no record of this segment
 * is there, or not whole. `data` is a view.
 */
export function decodeRecord(
  bytes: Buffer,
  at: number,
  seed: number,
): Decoded | { readonly needs: number } | 'invalid' {
  const left = bytes.length - at
  if (left >= 4 && bytes.readUInt32BE(at) !== magicNumber) return 'invalid'
  if (left < recordHeaderBytes) return { needs: recordHeaderBytes }
  const payload = bytes.readUInt32BE(at + 48)
  if (payload > payloadBytesMax) return 'invalid'
  const length = recordHeaderBytes + payload
  if (left < length) return { needs: length }
  const header = bytes.subarray(at, at + recordHeaderBytes)
  const data = bytes.subarray(at + recordHeaderBytes, at + length)
  if (header.readUInt32BE(4) !== checksumOf(header, data, seed)) return 'invalid'
  return { record: recordOf(header, data), synced: readNumber(header, 24), bytes: length }
}

/** Of a header that verified: anything odd in it was written so, by another version. */
function recordOf(header: Buffer, data: Buffer): VolumeRecord {
  const place = { number: readNumber(header, 8) as RecordNumber, moment: readNumber(header, 16) as Moment }
  const at = readNumber(header, 32)
  const bytes = readNumber(header, 40)
  const isForced = ((header[53] as number) & forcedFlag) !== 0
  const kind = kinds[(header[52] as number) - 1]
  if (kind === undefined) throw new Malformed(`record ${place.number} of the volume log is of an unknown kind`)
  switch (kind) {
    case 'write':
      return { ...place, kind, at, data, isForced }
    case 'zero':
    case 'trim':
      return { ...place, kind, at, bytes, isForced }
    case 'flush':
      return { ...place, kind }
    case 'mark':
      return { ...place, kind, tag: at, label: data.toString() }
    case 'resize':
      return { ...place, kind, bytes }
  }
}

function writeNumber(into: Buffer, value: number, at: number): void {
  into.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at)
  into.writeUInt32BE(value >>> 0, at + 4)
}

const readNumber = (from: Buffer, at: number): number =>
  from.readUInt32BE(at) * 0x1_0000_0000 + from.readUInt32BE(at + 4)
