import type { Socket } from 'node:net'

const free = -1

/**
 * The file descriptors of sockets that are open, in memory that other threads see too: so a watchdog can shut them (by the
 * system call `shutdown`) when the thread they belong to hangs in the kernel. Closing them is not for it to do. A descriptor that
 * was closed just now may stand here for a moment longer.
 */
export class LiveSockets {
  /** Descriptors, and -1 in places that are free. */
  readonly descriptors: Int32Array<SharedArrayBuffer>

  constructor(socketsMax: number) {
    this.descriptors = new Int32Array(new SharedArrayBuffer(4 * socketsMax)).fill(free)
  }

  /** Until it is closed. A socket for which there is no place, or that is none of this system, is left out. */
  add(socket: Socket): void {
    const descriptor = descriptorOf(socket)
    const place = this.descriptors.indexOf(free)
    if (descriptor === undefined || place < 0) return
    Atomics.store(this.descriptors, place, descriptor)
    socket.once('close', () => Atomics.store(this.descriptors, place, free))
  }
}

/** Node.js has no other name for it; it has had this one since its beginnings. */
export function descriptorOf(socket: Socket): number | undefined {
  const descriptor = (socket as { _handle?: { fd?: unknown } | null })._handle?.fd
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined
}
