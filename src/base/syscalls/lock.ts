import { libcFunction } from './libc.ts'
import { unlessFailedWith } from './system-call-error.ts'

const exclusive = 2 // LOCK_EX
const nonblocking = 4 // LOCK_NB

const flock = libcFunction('flock', 'int', ['int', 'int'])

/**
 * Takes the exclusive lock of an open file, or returns false when another opening of it, in this process or another,
 * holds one. The lock lasts until the descriptor is closed, so it never outlives the process.
 */
export function tryLock(fd: number): boolean {
  return unlessFailedWith(['EAGAIN'], false, () => {
    flock([fd, exclusive | nonblocking])
    return true
  })
}
