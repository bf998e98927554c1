import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { unreachable } from '../base/assert.ts'
import { changeExtentsMax, chunkBytesMax, inlineBytesMax, writeBytesMax } from '../model/batch.ts'
import {
  type Attributes,
  type Change,
  type ChunkId,
  chunkIdBytes,
  type Content,
  type Extent,
  type Mark,
  type Range,
  suspectReasons,
  type Xattr,
} from '../model/change.ts'
import { type BinaryString, pathBytesMax, treePath } from '../model/path.ts'
import { moment } from '../model/moment.ts'

/**
 * One change. Numbers are varints (unsigned LEB128) unless said otherwise; `bytes` is a varint length, then that many.
 *
 *   u8 kind    0 put  1 patch  2 link  3 rename  4 remove  5 attributes  6 write  7 zero  8 truncate  9 mark
 *   bytes path                                       (every kind but mark)
 *   put:        attributes content
 *   patch:      attributes, size, extents, count of zeros, each: at, bytes
 *   link:       bytes target path       rename: bytes old path
 *   attributes: attributes              write:  at, bytes data
 *   zero:       at, bytes               truncate: size
 *   mark:       u8 type  0 suspect  1 complete  2 hole  3 torn  4 vanished  5 user  6 flush, then
 *               0, 1: u8 reason (its place in suspectReasons)   2: since (moment), bytes reason in UTF-8
 *               3, 4: bytes path                                5: bytes label in UTF-8
 *
 *   attributes: mode, uid, gid, i64 big-endian modification time in ns, count of xattrs, each: bytes name, bytes value
 *   content:    u8 type  0 directory  1 file  2 symlink  3 fifo  4 socket  5 character device  6 block device, then
 *               1: size, extents   2: bytes target   5, 6: major, minor
 *   extents:    count, each: gap from the end of the one before, then bytes*2 + (1 where the data stands here), then
 *               32 bytes of chunk id, or the data. Ascending and not overlapping.
 */
const kinds = ['put', 'patch', 'link', 'rename', 'remove', 'attributes', 'write', 'zero', 'truncate', 'mark'] as const
const marks = ['suspect', 'complete', 'hole', 'torn', 'vanished', 'user', 'flush'] as const
const types = ['directory', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device'] as const

const xattrsMax = 1024
const xattrBytesMax = 64 * 1024
const labelBytesMax = 1024

export function writeChange(writer: ByteWriter, change: Change): void {
  writer.u8(kinds.indexOf(change.kind))
  if (change.kind === 'mark') return writeMark(writer, change.mark)
  writer.binary(change.path)
  switch (change.kind) {
    case 'put':
      writeAttributes(writer, change.attributes)
      return writeContent(writer, change.content)
    case 'patch':
      writeAttributes(writer, change.attributes)
      writer.varint(change.bytes)
      writeExtents(writer, change.extents)
      return writeRanges(writer, change.zeros)
    case 'link':
      return void writer.binary(change.to)
    case 'rename':
      return void writer.binary(change.from)
    case 'remove':
      return
    case 'attributes':
      return writeAttributes(writer, change.attributes)
    case 'write':
      return void writer.varint(change.at).bytes(change.data)
    case 'zero':
      return void writer.varint(change.at).varint(change.bytes)
    case 'truncate':
      return void writer.varint(change.bytes)
    default:
      return unreachable(change)
  }
}

export function readChange(reader: ByteReader): Change {
  const kind = kinds[reader.u8()]
  if (kind === undefined) throw new Malformed('kind of change')
  if (kind === 'mark') return { kind, mark: readMark(reader) }
  const path = readPath(reader)
  switch (kind) {
    case 'put':
      return { kind, path, attributes: readAttributes(reader), content: readContent(reader) }
    case 'patch': {
      const attributes = readAttributes(reader)
      const bytes = reader.varint()
      return { kind, path, attributes, bytes, extents: readExtents(reader, bytes), zeros: readRanges(reader) }
    }
    case 'link':
      return { kind, path, to: readPath(reader) }
    case 'rename':
      return { kind, path, from: readPath(reader) }
    case 'remove':
      return { kind, path }
    case 'attributes':
      return { kind, path, attributes: readAttributes(reader) }
    case 'write':
      return { kind, path, at: reader.varint(), data: reader.bytes(writeBytesMax) }
    case 'zero':
      return { kind, path, at: reader.varint(), bytes: reader.varint() }
    case 'truncate':
      return { kind, path, bytes: reader.varint() }
    default:
      return unreachable(kind)
  }
}

const readPath = (reader: ByteReader) => treePath(reader.binary(pathBytesMax))

function writeMark(writer: ByteWriter, mark: Mark): void {
  writer.u8(marks.indexOf(mark.type))
  switch (mark.type) {
    case 'suspect':
    case 'complete':
      return void writer.u8(suspectReasons.indexOf(mark.reason))
    case 'hole':
      return void writer.varint(mark.since).bytes(Buffer.from(mark.reason, 'utf8'))
    case 'torn':
    case 'vanished':
      return void writer.binary(mark.path)
    case 'user':
      return void writer.bytes(Buffer.from(mark.label, 'utf8'))
    case 'flush':
      return
    default:
      return unreachable(mark)
  }
}

function readMark(reader: ByteReader): Mark {
  const type = marks[reader.u8()]
  switch (type) {
    case 'suspect':
    case 'complete': {
      const reason = suspectReasons[reader.u8()]
      if (reason === undefined) throw new Malformed('reason of a mark')
      return { type, reason }
    }
    case 'hole':
      return { type, since: moment(reader.varint()), reason: reader.bytes(labelBytesMax).toString('utf8') }
    case 'torn':
    case 'vanished':
      return { type, path: readPath(reader) }
    case 'user':
      return { type, label: reader.bytes(labelBytesMax).toString('utf8') }
    case 'flush':
      return { type }
    case undefined:
      throw new Malformed('type of mark')
    default:
      return unreachable(type)
  }
}

export function writeAttributes(writer: ByteWriter, attributes: Attributes): void {
  writer.varint(attributes.mode).varint(attributes.uid).varint(attributes.gid).i64(attributes.modifiedNs)
  writer.varint(attributes.xattrs.length)
  for (const { name, value } of attributes.xattrs) writer.binary(name).bytes(value)
}

export function readAttributes(reader: ByteReader): Attributes {
  const mode = reader.varint()
  if (mode > 0o7777) throw new Malformed(`mode ${mode}`)
  const uid = reader.varint()
  const gid = reader.varint()
  const modifiedNs = reader.i64()
  const xattrs: Xattr[] = []
  const count = atMost(reader.varint(), xattrsMax, 'xattrs')
  for (let index = 0; index < count; index++) {
    xattrs.push({ name: reader.binary(255) as BinaryString, value: reader.bytes(xattrBytesMax) })
  }
  return { mode, uid, gid, modifiedNs, xattrs }
}

export function writeContent(writer: ByteWriter, content: Content): void {
  writer.u8(types.indexOf(content.type))
  switch (content.type) {
    case 'file':
      writer.varint(content.bytes)
      return writeExtents(writer, content.extents)
    case 'symlink':
      return void writer.binary(content.target)
    case 'character-device':
    case 'block-device':
      return void writer.varint(content.major).varint(content.minor)
    case 'directory':
    case 'fifo':
    case 'socket':
      return
    default:
      return unreachable(content)
  }
}

function readContent(reader: ByteReader): Content {
  const type = types[reader.u8()]
  switch (type) {
    case 'file': {
      const bytes = reader.varint()
      return { type, bytes, extents: readExtents(reader, bytes) }
    }
    case 'symlink':
      return { type, target: reader.binary(pathBytesMax) as BinaryString }
    case 'character-device':
    case 'block-device':
      return { type, major: reader.varint(), minor: reader.varint() }
    case 'directory':
    case 'fifo':
    case 'socket':
      return { type }
    case undefined:
      throw new Malformed('type of content')
    default:
      return unreachable(type)
  }
}

function writeExtents(writer: ByteWriter, extents: readonly Extent[]): void {
  writer.varint(extents.length)
  let end = 0
  for (const extent of extents) {
    const inline = 'data' in extent
    writer.varint(extent.at - end).varint(extent.bytes * 2 + (inline ? 1 : 0))
    if (inline) writer.raw(extent.data)
    else writer.raw(Buffer.from(extent.chunk, 'latin1'))
    end = extent.at + extent.bytes
  }
}

function readExtents(reader: ByteReader, bytes: number): Extent[] {
  const count = atMost(reader.varint(), changeExtentsMax, 'extents')
  const extents: Extent[] = []
  let end = 0
  for (let index = 0; index < count; index++) {
    const at = end + reader.varint()
    const packed = reader.varint()
    const length = Math.floor(packed / 2)
    end = at + length
    if (length === 0 || end > bytes) throw new Malformed(`extent of ${length} bytes at ${at} in ${bytes}`)
    if (packed % 2 === 1) {
      extents.push({ at, bytes: length, data: reader.raw(atMost(length, inlineBytesMax, 'inline bytes')) })
    } else {
      atMost(length, chunkBytesMax, 'bytes of a chunk')
      extents.push({ at, bytes: length, chunk: reader.raw(chunkIdBytes).toString('latin1') as ChunkId })
    }
  }
  return extents
}

function writeRanges(writer: ByteWriter, ranges: readonly Range[]): void {
  writer.varint(ranges.length)
  for (const { at, bytes } of ranges) writer.varint(at).varint(bytes)
}

function readRanges(reader: ByteReader): Range[] {
  const count = atMost(reader.varint(), changeExtentsMax, 'ranges')
  return Array.from({ length: count }, () => ({ at: reader.varint(), bytes: reader.varint() }))
}

function atMost(value: number, max: number, what: string): number {
  if (value > max) throw new Malformed(`${value} ${what} where at most ${max} are allowed`)
  return value
}
