import { libcFunction } from './libc.ts'
import { isSystemError } from '../errors.ts'
import { unlessFailedWith } from './system-call-error.ts'

const seekEnd = 2
const seekData = 3
const seekHole = 4
const keepSizeFlag = 0x01
const punchHoleFlag = 0x02

const lseek = libcFunction('lseek', 'int64', ['int', 'int64', 'int'])
const fallocate = libcFunction('fallocate', 'int', ['int', 'int', 'int64', 'int64'])

/** Bytes `start` to `end`, `end` not included. */
export interface DataRange {
  start: number
  end: number
}

/** Bytes of an open file or block device; for the latter stat knows none. Moves the descriptor's own position. */
export function endOf(fd: number): number {
  return lseek([fd, 0, seekEnd])
}

/**
 * Where an open file holds data between the bytes `from` and `bytes`; all between is a hole and reads as zeros. Ascending, not
 * touching, never empty. A file system that cannot tell yields the whole file. Moves the descriptor's own position, so
 * read with explicit ones. A file changed meanwhile may be told as it was before or after.
 */
export function* dataRanges(fd: number, bytes: number, from = 0): Generator<DataRange> {
  let position = from
  while (position < bytes) {
    const start = seek(fd, position, seekData)
    if (start === 'cannot-tell') {
      yield { start: position, end: bytes }
      return
    }
    if (start === 'none' || start >= bytes) return
    const hole = seek(fd, start, seekHole)
    // 'none' is possible only when the file was cut short between the two calls.
    const end = typeof hole === 'number' ? Math.min(hole, bytes) : bytes
    if (end > start) yield { start, end }
    position = Math.max(end, start + 1)
  }
}

function seek(fd: number, from: number, whence: number): number | 'none' | 'cannot-tell' {
  return unlessFailedWith(['EINVAL', 'ENOTSUP'], 'cannot-tell', () =>
    unlessFailedWith(['ENXIO'], 'none', () => lseek([fd, from, whence])),
  )
}

/** Gives the space of a range back and makes it read as zeros; the file's size stays. False when the file system cannot. */
export function punchHole(fd: number, start: number, bytes: number): boolean {
  return allocate(fd, punchHoleFlag | keepSizeFlag, start, bytes)
}

/** Sets space aside for a range, also past the end; the file's size stays. False when the file system cannot. */
export function reserveSpace(fd: number, start: number, bytes: number): boolean {
  return allocate(fd, keepSizeFlag, start, bytes)
}

function allocate(fd: number, mode: number, start: number, bytes: number): boolean {
  for (;;) {
    try {
      fallocate([fd, mode, start, bytes])
      return true
    } catch (error) {
      if (isSystemError(error, 'ENOTSUP', 'ENOSYS')) return false
      if (!isSystemError(error, 'EINTR')) throw error
    }
  }
}
