import { close, constants, open, read } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isSystemError } from '../../../base/errors.ts'
import type { VolumeLogFolder } from '../../../format/volume-log-reader.ts'

const opened = promisify(open)
const closed = promisify(close)

/** The log of a volume for who reads it, beside the server or after it. */
export function volumeLogFolder(folder: string): VolumeLogFolder {
  return {
    names: () => readdir(folder),
    open: async (name) => {
      const fd = await openUnlessGone(join(folder, name), constants.O_RDONLY)
      return fd === undefined ? undefined : { read: (into, at) => readAt(fd, into, at), close: () => closed(fd) }
    },
  }
}

export async function openUnlessGone(path: string, flags: number): Promise<number | undefined> {
  try {
    return await opened(path, flags)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

export function readAt(fd: number, into: Buffer, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, into, 0, into.length, at, (error, count) => (error ? reject(error) : resolve(count)))
  })
}
