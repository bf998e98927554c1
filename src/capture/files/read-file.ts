import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import type { Chunk } from '../../format/block.ts'
import type { Extent, Range } from '../../model/change.ts'
import { attributesAt, type KnownAttributes } from './attributes.ts'
import type { ContentReader, NewChunk, Reading } from './content-reader.ts'
import type { Filesystems, Look } from './filesystems.ts'
import type { Signature } from './signature.ts'
import { type AbsolutePath, isEqualStat, sizeOf, type Stat, systemPath } from './stat.ts'

/** Up to this length a whole file stands in the change itself. */
export const fileInlineBytesMax = 512

/** A state that a file really had: nothing of it changed from before the first byte was read until after the last. */
export interface FileVersion extends KnownAttributes {
  readonly stat: Stat
  readonly bytes: number
  readonly signature: Signature
  /** What is not as in the signature it was compared with. */
  readonly changed: readonly Extent[]
  readonly zeros: readonly Range[]
  /** Content of the chunks in `changed`. */
  readonly chunks: readonly Chunk[]
}

const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY
let noAccessTime = true

/** Opens a regular file without leaving a trace where that is allowed. */
export function openFile(path: AbsolutePath): number {
  if (noAccessTime) {
    try {
      return openSync(systemPath(path), openFlags | constants.O_NOATIME)
    } catch (error) {
      // Only the owner may leave the access time alone.
      if (!isSystemError(error, 'EPERM')) throw error
    }
  }
  return openSync(systemPath(path), openFlags)
}

export interface FileReader {
  readonly content: ContentReader
  readonly filesystems: Filesystems
  /** Hears the watcher out, and says whether the file may have been written since it was last asked. */
  wasWritten(): boolean
}

/**
 * Reads a whole file, comparing with what is known of it; 'torn' where it changed meanwhile. Needs the memory for all
 * of its new chunks: for larger files see large-file.ts.
 */
export function readFileVersion(path: AbsolutePath, look: Look, known: Signature, reader: FileReader): FileVersion | 'torn' {
  const fd = openFile(path)
  try {
    if (!isSame(fd, path, look.stat, reader)) return 'torn'
    const bytes = sizeOf(look.stat)
    const reading = reader.content.read(bytes, look.isSparse, known)
    if (reading.step(fd, Infinity, () => false) === 'torn') return 'torn'
    const version = versionOf(reading, fd, path, look.stat, bytes)
    return isStill(fd, path, look.stat, reader) ? version : 'torn'
  } finally {
    closeSync(fd)
  }
}

/** The open file is what was looked at. */
export function isSame(fd: number, path: AbsolutePath, stat: Stat, { filesystems }: FileReader): boolean {
  return isEqualStat(filesystems.pack(fstatSync(fd, { bigint: true }), path), stat)
}

/** Neither the open file nor what its name stands for has changed, and no event says otherwise. */
export function isStill(fd: number, path: AbsolutePath, stat: Stat, reader: FileReader): boolean {
  if (!isSame(fd, path, stat, reader)) return false
  const now = reader.filesystems.look(path)
  return now !== undefined && isEqualStat(now.stat, stat) && !reader.wasWritten()
}

function versionOf(reading: Reading, fd: number, path: AbsolutePath, stat: Stat, bytes: number): FileVersion {
  const fresh = reading.takeNew()
  const facts = { ...attributesAt(path, stat), stat, bytes, signature: reading.signature, zeros: reading.zeros }
  const appended = reading.appended(fd)
  if (appended !== undefined && reading.appendedFrom !== undefined) {
    const extent = { at: reading.appendedFrom, bytes: appended.length, data: appended }
    return { ...facts, changed: [extent], chunks: [] }
  }
  const [only] = fresh
  if (bytes <= fileInlineBytesMax && only !== undefined) {
    return { ...facts, changed: fresh.map(({ at, bytes, data }) => ({ at, bytes, data })), chunks: [] }
  }
  return { ...facts, changed: fresh.map(extentOf), chunks: fresh }
}

export const extentOf = ({ at, bytes, id }: NewChunk): Extent => ({ at, bytes, chunk: id })
