import { once } from 'node:events'
import { constants, crc32, createDeflateRaw } from 'node:zlib'
import { assert } from '../../base/assert.ts'
import { type BinaryString, toBuffer } from '../../model/path.ts'
import type { ArchiveEntry } from './entry.ts'

/**
 * A zip file as APPNOTE.TXT 6.3.10 has it, written in one go: names are UTF-8, sizes and CRC of a file follow its data, modes and symbolic links
 * stand as Info-ZIP writes them, ZIP64 where a file, the whole or the number of entries is too large without it. Nothing but the
 * central directory is held in memory. Without its end it is no zip file to anybody.
 */

/** The central directory of so many is some 50 MB. */
export const zipEntriesMax = 500_000

const utf8Names = 1 << 11
const sizesFollow = 1 << 3
const stored = 0
const deflated = 8
const fileType = { directory: 0o040_000, file: 0o100_000, symlink: 0o120_000 } as const
const unix = 3 << 8
const dosDirectory = 0x10
const none32 = 0xffff_ffff
/** A little below 4 GiB, since what cannot be compressed becomes a little longer. */
const largeFrom = 0xf000_0000

interface Written {
  readonly entry: ArchiveEntry
  readonly name: Buffer
  readonly at: number
  readonly flags: number
  readonly method: number
  readonly isLarge: boolean
}

interface Sizes {
  readonly crc: number
  readonly compressed: number
  readonly bytes: number
}

export async function* encodeZip(entries: AsyncIterable<ArchiveEntry>, largeBytes = largeFrom): AsyncGenerator<Buffer> {
  const central: Buffer[] = []
  let count = 0
  let at = 0
  for await (const entry of entries) {
    assert(++count <= zipEntriesMax, 'a zip file holds no more entries than its directory may')
    const isFile = entry.type === 'file' && entry.bytes > 0
    const written: Written = {
      entry,
      name: toBuffer(entry.type === 'directory' ? (`${entry.path}/` as BinaryString) : entry.path),
      at,
      flags: utf8Names | (isFile ? sizesFollow : 0),
      method: isFile ? deflated : stored,
      isLarge: entry.type === 'file' && entry.bytes >= largeBytes,
    }
    let sizes: Sizes = { crc: 0, compressed: 0, bytes: 0 }
    if (isFile) {
      yield* counted(localHeader(written, sizes))
      let compressed = 0
      let crc = 0
      for await (const piece of compress(entry.content, (bytes) => (crc = crc32(bytes, crc)))) {
        compressed += piece.length
        yield* counted(piece)
      }
      sizes = { crc, compressed, bytes: entry.bytes }
      yield* counted(dataDescriptor(written, sizes))
    } else {
      const body = entry.type === 'symlink' ? toBuffer(entry.target) : Buffer.alloc(0)
      sizes = { crc: crc32(body), compressed: body.length, bytes: body.length }
      yield* counted(localHeader(written, sizes))
      yield* counted(body)
    }
    central.push(centralHeader(written, sizes))
  }
  const start = at
  for (const header of central) yield* counted(header)
  yield endOfDirectory({ count, start, bytes: at - start })

  function* counted(bytes: Buffer): Generator<Buffer> {
    at += bytes.length
    if (bytes.length > 0) yield bytes
  }
}

/** At the pace of both ends; fast rather than small. */
async function* compress(content: AsyncIterable<Uint8Array>, see: (bytes: Uint8Array) => void): AsyncGenerator<Buffer> {
  const deflate = createDeflateRaw({ level: constants.Z_BEST_SPEED })
  let pieces: Buffer[] = []
  deflate.on('data', (piece: Buffer) => pieces.push(piece))
  // Told to who writes, or waits for the end.
  deflate.on('error', () => undefined)
  const taken = (): Buffer[] => {
    const those = pieces
    pieces = []
    return those
  }
  try {
    for await (const bytes of content) {
      see(bytes)
      await new Promise<void>((resolve, reject) => deflate.write(bytes, (error) => (error ? reject(error) : resolve())))
      yield* taken()
    }
    const ended = once(deflate, 'end')
    deflate.end()
    await ended
    yield* taken()
  } finally {
    deflate.destroy()
  }
}

function localHeader({ entry, name, flags, method, isLarge }: Written, { crc, compressed, bytes }: Sizes): Buffer {
  const extra = Buffer.concat([timeField(entry), isLarge ? largeField([0, 0]) : Buffer.alloc(0)])
  const header = Buffer.alloc(30)
  header.writeUInt32LE(0x0403_4b50, 0)
  header.writeUInt16LE(isLarge ? 45 : 20, 4)
  header.writeUInt16LE(flags, 6)
  header.writeUInt16LE(method, 8)
  dosTime(entry).copy(header, 10)
  header.writeUInt32LE(crc, 14)
  header.writeUInt32LE(isLarge ? none32 : compressed, 18)
  header.writeUInt32LE(isLarge ? none32 : bytes, 22)
  header.writeUInt16LE(name.length, 26)
  header.writeUInt16LE(extra.length, 28)
  return Buffer.concat([header, name, extra])
}

function dataDescriptor({ isLarge }: Written, { crc, compressed, bytes }: Sizes): Buffer {
  const descriptor = Buffer.alloc(isLarge ? 24 : 16)
  descriptor.writeUInt32LE(0x0807_4b50, 0)
  descriptor.writeUInt32LE(crc, 4)
  if (isLarge) {
    descriptor.writeBigUInt64LE(BigInt(compressed), 8)
    descriptor.writeBigUInt64LE(BigInt(bytes), 16)
  } else {
    descriptor.writeUInt32LE(compressed, 8)
    descriptor.writeUInt32LE(bytes, 12)
  }
  return descriptor
}

function centralHeader({ entry, name, at, flags, method, isLarge }: Written, sizes: Sizes): Buffer {
  const isFar = at >= none32
  const large = [...(isLarge ? [sizes.bytes, sizes.compressed] : []), ...(isFar ? [at] : [])]
  const extra = Buffer.concat([timeField(entry), large.length > 0 ? largeField(large) : Buffer.alloc(0)])
  const header = Buffer.alloc(46)
  header.writeUInt32LE(0x0201_4b50, 0)
  header.writeUInt16LE(unix | 63, 4)
  header.writeUInt16LE(large.length > 0 ? 45 : 20, 6)
  header.writeUInt16LE(flags, 8)
  header.writeUInt16LE(method, 10)
  dosTime(entry).copy(header, 12)
  header.writeUInt32LE(sizes.crc, 16)
  header.writeUInt32LE(isLarge ? none32 : sizes.compressed, 20)
  header.writeUInt32LE(isLarge ? none32 : sizes.bytes, 24)
  header.writeUInt16LE(name.length, 28)
  header.writeUInt16LE(extra.length, 30)
  const mode = fileType[entry.type] | entry.mode
  header.writeUInt32LE(((mode << 16) | (entry.type === 'directory' ? dosDirectory : 0)) >>> 0, 38)
  header.writeUInt32LE(isFar ? none32 : at, 42)
  return Buffer.concat([header, name, extra])
}

function endOfDirectory({ count, start, bytes }: { count: number; start: number; bytes: number }): Buffer {
  const isLarge = count >= 0xffff || start >= none32 || bytes >= none32
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x0605_4b50, 0)
  end.writeUInt16LE(Math.min(count, 0xffff), 8)
  end.writeUInt16LE(Math.min(count, 0xffff), 10)
  end.writeUInt32LE(isLarge ? none32 : bytes, 12)
  end.writeUInt32LE(isLarge ? none32 : start, 16)
  if (!isLarge) return end
  const large = Buffer.alloc(76)
  large.writeUInt32LE(0x0606_4b50, 0)
  large.writeBigUInt64LE(44n, 4)
  large.writeUInt16LE(unix | 63, 12)
  large.writeUInt16LE(45, 14)
  large.writeBigUInt64LE(BigInt(count), 24)
  large.writeBigUInt64LE(BigInt(count), 32)
  large.writeBigUInt64LE(BigInt(bytes), 40)
  large.writeBigUInt64LE(BigInt(start), 48)
  large.writeUInt32LE(0x0706_4b50, 56)
  large.writeBigUInt64LE(BigInt(start + bytes), 64)
  large.writeUInt32LE(1, 72)
  return Buffer.concat([large, end])
}

/** ZIP64: those of size, compressed size and offset that do not fit their fields. */
function largeField(values: readonly number[]): Buffer {
  const field = Buffer.alloc(4 + 8 * values.length)
  field.writeUInt16LE(0x0001, 0)
  field.writeUInt16LE(8 * values.length, 2)
  for (const [index, value] of values.entries()) field.writeBigUInt64LE(BigInt(value), 4 + 8 * index)
  return field
}

const secondsOf = ({ modifiedNs }: ArchiveEntry): number => Number(modifiedNs / 1_000_000_000n)

/** Info-ZIP's modification time in UTC, where it fits 32 bits. */
function timeField(entry: ArchiveEntry): Buffer {
  const seconds = Math.max(-0x8000_0000, Math.min(secondsOf(entry), 0x7fff_ffff))
  const field = Buffer.alloc(9)
  field.writeUInt16LE(0x5455, 0)
  field.writeUInt16LE(5, 2)
  field.writeUInt8(1, 4)
  field.writeInt32LE(seconds, 5)
  return field
}

/** Local time, in steps of two seconds, of 1980 to 2107. */
function dosTime(entry: ArchiveEntry): Buffer {
  const date = new Date(secondsOf(entry) * 1000)
  const field = Buffer.alloc(4)
  const year = date.getFullYear()
  if (year < 1980 || year > 2107) {
    field.writeUInt16LE((1 << 5) | 1, 2)
    return field
  }
  field.writeUInt16LE((date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1), 0)
  field.writeUInt16LE(((year - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate(), 2)
  return field
}
