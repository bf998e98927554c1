import { Malformed } from '../bytes.ts'

/**
 * Decoder of what read(2) gives on an inotify instance (inotify(7)). Event, little-endian as the machine:
 *    0  4  watch, -1 for an overflow
 *    4  4  mask
 *    8  4  cookie, equal in the two halves of a rename, else 0
 *   12  4  length of the name with its padding, 0 when the watched path itself is meant
 *   16  …  the name, NUL, padding NULs
 */
export const inotifyMask = {
  modify: 0x2,
  attributes: 0x4,
  closeWrite: 0x8,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  deleteSelf: 0x400,
  moveSelf: 0x800,
  unmount: 0x2000,
  overflow: 0x4000,
  ignored: 0x8000,
  /** Of a directory. */
  onDirectory: 0x4000_0000,
}

export type InotifyEvent =
  /** `name` is a binary string; `undefined` means the watched directory itself. */
  | { kind: 'event'; watch: number; mask: number; cookie: number; name: string | undefined }
  /** The watch is gone: removed, its directory deleted or unmounted. Its number may be given anew. */
  | { kind: 'ignored'; watch: number }
  /** Events were lost: only a scan knows what changed. */
  | { kind: 'overflow' }

const headerBytes = 16

/** Decodes all of `bytes`; any that are not whole events are a `Malformed`. */
export function decodeInotify(bytes: Buffer): InotifyEvent[] {
  const events: InotifyEvent[] = []
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < headerBytes) throw new Malformed(`inotify: torn event header at byte ${at}`)
    const nameBytes = bytes.readUInt32LE(at + 12)
    const end = at + headerBytes + nameBytes
    if (end > bytes.length) throw new Malformed(`inotify: torn name at byte ${at}`)
    events.push(decodeEvent(bytes, at, end))
    at = end
  }
  return events
}

function decodeEvent(bytes: Buffer, at: number, end: number): InotifyEvent {
  const watch = bytes.readInt32LE(at)
  const mask = bytes.readUInt32LE(at + 4)
  if ((mask & inotifyMask.overflow) !== 0) return { kind: 'overflow' }
  if ((mask & inotifyMask.ignored) !== 0) return { kind: 'ignored', watch }
  return {
    kind: 'event',
    watch,
    mask,
    cookie: bytes.readUInt32LE(at + 8),
    name: decodeName(bytes, at + headerBytes, end),
  }
}

function decodeName(bytes: Buffer, start: number, end: number): string | undefined {
  if (start === end) return undefined
  const nul = bytes.indexOf(0, start)
  if (nul < 0 || nul >= end) throw new Malformed(`inotify: name without end at byte ${start}`)
  if (nul === start) throw new Malformed(`inotify: empty name at byte ${start}`)
  return bytes.toString('latin1', start, nul)
}
