import { fsidBytes } from './filesystem.ts'
import { type HandleKey, handleBytesMax, handleHeaderBytes } from './handle.ts'
import { Malformed } from '../bytes.ts'

/**
 * Decoder of what read(2) gives on a fanotify group that reports file handles (fanotify(7), linux/fanotify.h).
 * Numbers are little-endian, as the machine's.
 *
 * Event, followed by information records up to its length:
 *    0  4  length of the event, records included
 *    4  1  version of the layout, 3
 *    5  1  reserved
 *    6  2  length of this header, 24 or more
 *    8  8  mask: what happened, several things merged
 *   16  4  file descriptor, -1 in these groups
 *   20  4  process
 *
 * Information record:
 *    0  1  type: 1 the object · 2 parent directory and name · 3 the object, a directory · 10 and 12 like 2, before and after a rename
 *    1  1  padding
 *    2  2  length of the record
 *    4  8  fsid
 *   12  4  length of the handle's bytes, at most 128
 *   16  4  type of the handle
 *   20  …  the handle's bytes; types 2, 10 and 12 then have a name with a NUL; padding
 * Bytes 4 up to the end of the handle are a `HandleKey`. Records of other types are passed over: kernels add some.
 */
export const fanotifyMask = {
  modify: 0x2,
  attributes: 0x4,
  closeWrite: 0x8,
  create: 0x100,
  delete: 0x200,
  overflow: 0x4000,
  rename: 0x1000_0000,
  /** Of a directory. */
  onDirectory: 0x4000_0000,
}

export interface Place {
  directory: HandleKey
  /** One entry's name, a binary string; `.` is the directory itself. */
  name: string
}

/** `object` is the file or directory the name stood for at that moment; the name may stand for another by now. */
export type FanotifyEvent =
  | { kind: 'entry'; mask: number; directory: HandleKey; name: string; object: HandleKey | undefined }
  | { kind: 'rename'; mask: number; from: Place; to: Place; object: HandleKey | undefined }
  /** The kernel knew no name, as for a file that is open but has none any more. */
  | { kind: 'object'; mask: number; object: HandleKey }
  /** Events were lost: only a scan knows what changed. */
  | { kind: 'overflow' }

const layoutVersion = 3
const eventHeaderBytes = 24
const recordHeaderBytes = 4
const recordBytesMin = recordHeaderBytes + fsidBytes + handleHeaderBytes

const recordType = { object: 1, entry: 2, directoryObject: 3, renamedFrom: 10, renamedTo: 12 }

/** Decodes all of `bytes`; any that are not whole events are a `Malformed`. */
export function decodeFanotify(bytes: Buffer): FanotifyEvent[] {
  const events: FanotifyEvent[] = []
  let at = 0
  while (at < bytes.length) {
    const left = bytes.length - at
    if (left < eventHeaderBytes) throw new Malformed(`fanotify: torn event header at byte ${at}`)
    const length = bytes.readUInt32LE(at)
    const headerLength = bytes.readUInt16LE(at + 6)
    if (bytes[at + 4] !== layoutVersion) throw new Malformed(`fanotify: unknown version ${bytes[at + 4]} at byte ${at}`)
    if (length > left || headerLength < eventHeaderBytes || headerLength > length) {
      throw new Malformed(`fanotify: impossible event length at byte ${at}`)
    }
    const event = decodeEvent(bytes, at, at + headerLength, at + length)
    if (event !== undefined) events.push(event)
    at += length
  }
  return events
}

function decodeEvent(bytes: Buffer, at: number, recordsAt: number, end: number): FanotifyEvent | undefined {
  const mask = bytes.readUInt32LE(at + 8) // what this project asks for is all in the lower half
  if ((mask & fanotifyMask.overflow) !== 0) return { kind: 'overflow' }

  let object: HandleKey | undefined
  let place: Place | undefined
  let from: Place | undefined
  for (let record = recordsAt; record < end;) {
    if (end - record < recordHeaderBytes) throw new Malformed(`fanotify: torn record header at byte ${record}`)
    const length = bytes.readUInt16LE(record + 2)
    if (length < recordHeaderBytes || length > end - record) {
      throw new Malformed(`fanotify: impossible record length at byte ${record}`)
    }
    const type = bytes[record]
    if (type === recordType.object || type === recordType.directoryObject) object = decodeKey(bytes, record, length)
    else if (type === recordType.entry || type === recordType.renamedTo) place = decodePlace(bytes, record, length)
    else if (type === recordType.renamedFrom) from = decodePlace(bytes, record, length)
    record += length
  }

  if (from !== undefined && place !== undefined) return { kind: 'rename', mask, from, to: place, object }
  const only = place ?? from
  if (only !== undefined) return { kind: 'entry', mask, directory: only.directory, name: only.name, object }
  if (object !== undefined) return { kind: 'object', mask, object }
  throw new Malformed(`fanotify: event about nothing at byte ${at}`)
}

function decodePlace(bytes: Buffer, record: number, length: number): Place {
  const directory = decodeKey(bytes, record, length)
  const nameAt = record + recordHeaderBytes + directory.length
  const nameEnd = bytes.indexOf(0, nameAt)
  if (nameEnd < 0 || nameEnd >= record + length) throw new Malformed(`fanotify: name without end at byte ${nameAt}`)
  if (nameEnd === nameAt) throw new Malformed(`fanotify: empty name at byte ${nameAt}`)
  return { directory, name: bytes.toString('latin1', nameAt, nameEnd) }
}

function decodeKey(bytes: Buffer, record: number, length: number): HandleKey {
  if (length < recordBytesMin) throw new Malformed(`fanotify: torn handle at byte ${record}`)
  const handleBytes = bytes.readUInt32LE(record + recordHeaderBytes + fsidBytes)
  if (handleBytes > handleBytesMax || recordBytesMin + handleBytes > length) {
    throw new Malformed(`fanotify: impossible handle length at byte ${record}`)
  }
  return bytes.toString('latin1', record + recordHeaderBytes, record + recordBytesMin + handleBytes) as HandleKey
}
