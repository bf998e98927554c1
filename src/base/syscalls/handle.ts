import { closeSync, constants, openSync } from 'node:fs'
import { cString, libcFunction } from './libc.ts'
import { type Fsid, filesystemOfOpen } from './filesystem.ts'
import { isSystemError } from '../errors.ts'

/**
 * A file's identity for the kernel, the same through renames and never given to another file (the handle holds a
 * generation): what fanotify events carry in place of paths. A binary string:
 *   0  8  fsid, as statfs tells it
 *   8  4  length of the handle's bytes, little-endian
 *  12  4  type of the handle, little-endian
 *  16  …  the handle's bytes
 */
export type HandleKey = string & { readonly is: 'HandleKey' }

/** Bytes 8 to 15 of a key: struct file_handle before its bytes. */
export const handleHeaderBytes = 8
export const handleBytesMax = 128 // MAX_HANDLE_SZ

const currentDirectory = -100 // AT_FDCWD
const emptyPath = 0x1000 // AT_EMPTY_PATH
const fidOnly = 0x200 // AT_HANDLE_FID, since Linux 6.5: identity is enough, also where the handle could not be opened
const pathOnly = 0o10000000 // O_PATH

const nameToHandleAt = libcFunction('name_to_handle_at', 'int', ['int', 'bytes', 'bytes', 'bytes', 'int'])

/**
 * The key of the path itself, never of what a symbolic link points to. With `fsid` given (by whoever walks one file
 * system) it is one system call instead of five. ENOTSUP: the file system has no handles.
 */
export function handleOf(path: string, fsid?: Fsid): HandleKey {
  if (fsid !== undefined) return (fsid + handleAt(currentDirectory, path, 0, path)) as HandleKey
  const fd = openSync(Buffer.from(path, 'latin1'), pathOnly | constants.O_NOFOLLOW)
  try {
    return (filesystemOfOpen(fd, path).fsid + handleAt(fd, '', emptyPath, path)) as HandleKey
  } finally {
    closeSync(fd)
  }
}

let kernelKnowsFidOnly = true

function handleAt(directory: number, name: string, flags: number, path: string): string {
  const handle = Buffer.alloc(handleHeaderBytes + handleBytesMax)
  const mountId = Buffer.alloc(4)
  const nameBytes = cString(name)
  const ask = (flagsNow: number) => {
    handle.writeUInt32LE(handleBytesMax, 0)
    nameToHandleAt([directory, nameBytes, handle, mountId, flagsNow], path)
    return handle.toString('latin1', 0, handleHeaderBytes + handle.readUInt32LE(0))
  }
  if (kernelKnowsFidOnly) {
    try {
      return ask(flags | fidOnly)
    } catch (error) {
      if (!isSystemError(error, 'EINVAL')) throw error
      kernelKnowsFidOnly = false
    }
  }
  return ask(flags)
}
