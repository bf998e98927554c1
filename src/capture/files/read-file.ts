import { constants, fstatSync, openSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import type { Chunk } from '../../format/block.ts'
import type { Extent, Range } from '../../model/change.ts'
import type { KnownAttributes } from './attributes.ts'
import type { ContentReader, NewChunk } from './content-reader.ts'
import type { Filesystems } from './filesystems.ts'
import type { Signature } from './signature.ts'
import { type AbsolutePath, isEqualStat, type Stat, systemPath } from './stat.ts'

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
  /** Hears the watcher out, and says how often it has told of writing to this file: another number is another write. */
  writes(): number
}

/** The open file is what was looked at. */
export function isSame(fd: number, path: AbsolutePath, stat: Stat, { filesystems }: FileReader): boolean {
  return isEqualStat(filesystems.pack(fstatSync(fd, { bigint: true }), path), stat)
}

/** Neither the open file nor what its name stands for has changed, and no event since the number of `writes` says otherwise. */
export function isStill(fd: number, path: AbsolutePath, stat: Stat, reader: FileReader, writes: number): boolean {
  if (!isSame(fd, path, stat, reader)) return false
  const now = reader.filesystems.look(path)
  return now !== undefined && isEqualStat(now.stat, stat) && reader.writes() === writes
}

export const extentOf = ({ at, bytes, id }: NewChunk): Extent => ({ at, bytes, chunk: id })
