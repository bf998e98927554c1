import { readSync, writeSync } from 'node:fs'
import { closeDescriptor } from './close.ts'
import { libcFunction } from './libc.ts'
import { unlessFailedWith } from './system-call-error.ts'

const nonblocking = 0x800 // EFD_NONBLOCK
const closeOnExec = 0x80000 // EFD_CLOEXEC

const eventfd = libcFunction('eventfd', 'int', ['uint32', 'int'])

/**
 * A bell for a thread that blocks in `waitReadable`: readable from the first ring until it is cleared. Rings before a
 * clear merge into one. Any thread of the process may ring by the number of the descriptor.
 */
export class Wake implements Disposable {
  readonly fd = eventfd([0, nonblocking | closeOnExec])
  readonly #count = Buffer.alloc(8)

  clear(): void {
    unlessFailedWith(['EAGAIN'], 0, () => readSync(this.fd, this.#count))
  }

  /** No thread may ring afterwards: the number may by then belong to another file. */
  [Symbol.dispose](): void {
    closeDescriptor(this.fd)
  }
}

export function ring(fd: number): void {
  // EAGAIN: 2^64 rings not cleared, so it is ringing.
  unlessFailedWith(['EAGAIN'], 0, () => writeSync(fd, one))
}

const one = Buffer.alloc(8)
one.writeBigUInt64LE(1n)
