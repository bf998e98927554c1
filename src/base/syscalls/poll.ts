import { constants } from 'node:os'
import { libcFunction } from './libc.ts'
import { isSystemError } from '../errors.ts'
import { SystemCallError } from './system-call-error.ts'

const pollIn = 0x01
const pollNotOpen = 0x20 // POLLNVAL
const pollPeerClosed = 0x2000 // POLLRDHUP
const pollHungUp = pollPeerClosed | 0x10 | 0x08 // and POLLHUP, POLLERR
const timeoutMsMax = 0x7fff_ffff

const poll = libcFunction('poll', 'int', ['bytes', 'uint64', 'int'])

/**
 * Blocks this thread until at least one descriptor can be read without waiting, is in error or hung up, and returns
 * those; none after `timeoutMs` (`Infinity` waits for ever: have a `Wake` among the descriptors then).
 */
export function waitReadable(fds: readonly number[], timeoutMs: number): number[] {
  // struct pollfd: int fd, short events, short revents
  const entries = Buffer.alloc(8 * fds.length)
  fds.forEach((fd, index) => {
    entries.writeInt32LE(fd, 8 * index)
    entries.writeInt16LE(pollIn, 8 * index + 4)
  })
  pollThroughSignals(entries, fds.length, timeoutMs)
  return fds.filter((fd, index) => {
    const happened = entries.readInt16LE(8 * index + 6)
    if ((happened & pollNotOpen) !== 0)
      throw new SystemCallError(constants.errno.EBADF, 'poll', undefined, `${fd} is not open`)
    return happened !== 0
  })
}

/** Whether the other end of a socket is closed, or half of it, though bytes it sent before may still be unread. */
export function hasHungUp(fd: number): boolean {
  const entry = Buffer.alloc(8)
  entry.writeInt32LE(fd, 0)
  entry.writeInt16LE(pollPeerClosed, 4)
  pollThroughSignals(entry, 1, 0)
  return (entry.readInt16LE(6) & pollHungUp) !== 0
}

function pollThroughSignals(entries: Buffer, count: number, timeoutMs: number): void {
  const until = performance.now() + timeoutMs
  for (;;) {
    const left = timeoutMs === Infinity ? -1 : Math.min(Math.max(Math.ceil(until - performance.now()), 0), timeoutMsMax)
    try {
      poll([entries, count, left])
      return
    } catch (error) {
      if (!isSystemError(error, 'EINTR')) throw error
    }
  }
}
