import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { isSystemError, TidemarkError } from '../../../base/errors.ts'
import { tryLock } from '../../../base/syscalls/lock.ts'

/**
 * Keeps others from a backing until it is disposed, or this process ends: of a device the kernel lets nobody else mount or
 * claim it; of a file other volume servers know the lock. Two that write one backing would destroy it.
 */
export function holdBacking(path: string): Disposable {
  const fd = openAlone(path)
  if (tryLock(fd)) return { [Symbol.dispose]: () => closeSync(fd) }
  closeSync(fd)
  throw inUse(path)
}

function openAlone(path: string): number {
  const fd = openSync(path, constants.O_RDONLY)
  if (!fstatSync(fd).isBlockDevice()) return fd
  closeSync(fd)
  try {
    return openSync(path, constants.O_RDONLY | constants.O_EXCL)
  } catch (error) {
    throw isSystemError(error, 'EBUSY') ? inUse(path) : error
  }
}

const inUse = (path: string): TidemarkError =>
  new TidemarkError('in-use', {
    message: `${path} is mounted, or in use by another program or volume`,
    hint: 'see with "tidemark volume list", "lsblk" and "fuser -v" by whom, and end that first',
  })
