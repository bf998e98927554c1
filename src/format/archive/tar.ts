import { type BinaryString, toBuffer } from '../../model/path.ts'
import type { ArchiveEntry, ArchivePlace } from './entry.ts'

/**
 * A tar file as POSIX.1-2001 (pax) has it. Each entry has its time to the nanosecond in an extended header, and there too what does not
 * fit the fields: long names, large sizes, large ids. Names are bytes as they were; those that are no UTF-8 stand as they are, which tar
 * unpacks. It ends with 1,024 zero bytes, and is cut short without them.
 */

/** A further name of a file that came before. */
export type TarEntry = ArchiveEntry | (ArchivePlace & { readonly type: 'link'; readonly to: BinaryString })

const blockBytes = 512
const nameBytesMax = 100
const idMax = 0o7777777
const sizeMax = 0o77777777777
const timeMax = 0o77777777777
const typeFlags = { file: '0', link: '1', symlink: '2', directory: '5' } as const

export async function* encodeTar(entries: AsyncIterable<TarEntry>): AsyncGenerator<Buffer> {
  for await (const entry of entries) {
    yield headerOf(entry)
    if (entry.type !== 'file') continue
    for await (const piece of entry.content) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    if (entry.bytes % blockBytes > 0) yield Buffer.alloc(blockBytes - (entry.bytes % blockBytes))
  }
  yield Buffer.alloc(2 * blockBytes)
}

function headerOf(entry: TarEntry): Buffer {
  const name = toBuffer(entry.type === 'directory' ? (`${entry.path}/` as BinaryString) : entry.path)
  const target =
    entry.type === 'symlink' ? toBuffer(entry.target) : entry.type === 'link' ? toBuffer(entry.to) : Buffer.alloc(0)
  const bytes = entry.type === 'file' ? entry.bytes : 0
  const records = [record('mtime', Buffer.from(formatTime(entry.modifiedNs)))]
  if (name.length > nameBytesMax) records.push(record('path', name))
  if (target.length > nameBytesMax) records.push(record('linkpath', target))
  if (bytes > sizeMax) records.push(record('size', Buffer.from(String(bytes))))
  if (entry.uid > idMax) records.push(record('uid', Buffer.from(String(entry.uid))))
  if (entry.gid > idMax) records.push(record('gid', Buffer.from(String(entry.gid))))
  const extended = Buffer.concat(records)
  const fields = { mode: entry.mode, uid: Math.min(entry.uid, idMax), gid: Math.min(entry.gid, idMax) }
  const seconds = Math.max(0, Math.min(Number(entry.modifiedNs / 1_000_000_000n), timeMax))
  return Buffer.concat([
    block({
      ...fields,
      name: Buffer.from('PaxHeader'),
      target: Buffer.alloc(0),
      bytes: extended.length,
      seconds,
      flag: 'x',
    }),
    extended,
    Buffer.alloc((blockBytes - (extended.length % blockBytes)) % blockBytes),
    block({ ...fields, name, target, bytes: Math.min(bytes, sizeMax), seconds, flag: typeFlags[entry.type] }),
  ])
}

/** `<length of all of it> <key>=<value>\n`. */
function record(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3
  let length = rest + String(rest).length
  if (String(length).length > String(rest).length) length++
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')])
}

function formatTime(ns: bigint): string {
  const magnitude = ns < 0n ? -ns : ns
  const fraction = String(magnitude % 1_000_000_000n).padStart(9, '0')
  return `${ns < 0n ? '-' : ''}${magnitude / 1_000_000_000n}.${fraction}`
}

interface Block {
  readonly name: Buffer
  readonly target: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly bytes: number
  readonly seconds: number
  readonly flag: string
}

function block({ name, target, mode, uid, gid, bytes, seconds, flag }: Block): Buffer {
  const header = Buffer.alloc(blockBytes)
  name.copy(header, 0, 0, nameBytesMax)
  octal(header, 100, 8, mode)
  octal(header, 108, 8, uid)
  octal(header, 116, 8, gid)
  octal(header, 124, 12, bytes)
  octal(header, 136, 12, seconds)
  header.fill(' ', 148, 156)
  header.write(flag, 156, 'latin1')
  target.copy(header, 157, 0, nameBytesMax)
  header.write('ustar\u000000', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  octal(header, 148, 7, sum)
  header[154] = 0
  return header
}

/** Digits to one byte before the end of the field, which stays zero. */
function octal(header: Buffer, at: number, fieldBytes: number, value: number): void {
  header.write(value.toString(8).padStart(fieldBytes - 1, '0'), at, 'latin1')
}
