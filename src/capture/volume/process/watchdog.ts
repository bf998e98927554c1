import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../../base/clock.ts'

/**
 * Ends this process when it hangs on its disk, so that a mirror or a hypervisor can go on without it: a database that waits
 * for ever is worse off than one that has lost a leg. First the sockets are shut down, which the other ends learn at once;
 * then the process is killed, which the kernel may put off until the disk has answered.
 *
 * Shared with the thread, as 32-bit numbers: how often the server has shown that it lives, and for how many milliseconds a
 * sync has been under way.
 */
export const heartbeat = { lives: 0, stalledMs: 1 } as const

/** Of a write or a sync of the log, or of anything else that keeps the server from going on. */
export const hangMsMax = 30_000
const beatMs = 500

export interface WatchdogParts {
  readonly clock: Clock
  /** Of the connections, as `LiveSockets` has them. */
  readonly descriptors: readonly Int32Array<SharedArrayBuffer>[]
  /** How long a sync has been under way. */
  readonly stalledMs: () => number
  /** Instead of `hangMsMax`. */
  readonly limitMs?: number | undefined
}

export interface WatchdogRequest {
  readonly heart: Int32Array<SharedArrayBuffer>
  readonly descriptors: readonly Int32Array<SharedArrayBuffer>[]
  readonly limitMs: number
}

/** Until `signal` aborts. */
export async function keepWatched(parts: WatchdogParts, signal: AbortSignal): Promise<void> {
  const { clock, descriptors, stalledMs, limitMs = hangMsMax } = parts
  const heart = new Int32Array(new SharedArrayBuffer(8))
  const workerData: WatchdogRequest = { heart, descriptors, limitMs }
  const worker = new Worker(new URL(`./watchdog-thread${extname(import.meta.url)}`, import.meta.url), { workerData })
  // One that is ended while it loads native code takes the whole process with it.
  const isLoaded = Promise.race([once(worker, 'message'), once(worker, 'exit')])
  worker.unref()
  try {
    for (;;) {
      Atomics.add(heart, heartbeat.lives, 1)
      Atomics.store(heart, heartbeat.stalledMs, Math.min(stalledMs(), 2 ** 31 - 1))
      await clock.sleep(beatMs, signal)
    }
  } finally {
    worker.ref()
    await isLoaded
    await worker.terminate()
  }
}
