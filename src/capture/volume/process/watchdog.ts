import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../../base/clock.ts'

/**
 * Ends this process when it hangs on its disk, so that a mirror or a hypervisor can go on without it: a database that waits
 * for ever is worse off than one that has lost a leg. First the sockets are shut down, which the other ends learn at once;
 * then the process is killed, which the kernel may put off until the disk has answered.
 *
 * A disk that is slow ends nothing: a sync may have to write what memory holds of it, for long, and the next server would begin with
 * that again. What tells them apart is whether the disk completes anything.
 *
 * | for so long          | the disk completes something | it completes nothing | the system does not tell |
 * |----------------------|------------------------------|----------------------|--------------------------|
 * | the thread is silent | `slowMsMax`                  | `hangMsMax`          | `hangMsMax`              |
 * | it owes an answer    | no limit                     | `hangMsMax`          | `slowMsMax`              |
 *
 * Shared with the thread, as 32-bit numbers: how often the server has shown that it lives, and for how many milliseconds the disks of
 * the log and of the backing owe an answer to a sync, a read or a write.
 */
export const heartbeat = { lives: 0, logMs: 1, backingMs: 2 } as const

/** Of a write or a sync, or of anything else that keeps the server from going on, while nothing comes from the disk. */
export const hangMsMax = 30_000
/** Of a server that answers nobody while its disk works, and of an answer that is owed where the system does not tell whether it does. */
export const slowMsMax = 600_000
const beatMs = 500

/** One thing for each of the two that may lie on different disks. */
export interface OfDisks<T> {
  readonly log: T
  readonly backing: T
}

export interface WatchdogParts {
  readonly clock: Clock
  /** Of the connections, as `LiveSockets` has them. */
  readonly descriptors: readonly Int32Array<SharedArrayBuffer>[]
  /** How long an answer is owed. */
  readonly stalledMs: () => OfDisks<number>
  /** Where the system counts what the disks complete, as `workFileOf` finds it. */
  readonly workFiles: OfDisks<string | undefined>
  /** Instead of `hangMsMax`, and of `slowMsMax`. */
  readonly limitMs?: number | undefined
  readonly slowMs?: number | undefined
}

export interface WatchdogRequest {
  readonly heart: Int32Array<SharedArrayBuffer>
  readonly descriptors: readonly Int32Array<SharedArrayBuffer>[]
  readonly workFiles: OfDisks<string | undefined>
  readonly limitMs: number
  readonly slowMs: number
}

/** Until `signal` aborts. */
export async function keepWatched(parts: WatchdogParts, signal: AbortSignal): Promise<void> {
  const { clock, descriptors, stalledMs, workFiles, limitMs = hangMsMax, slowMs = slowMsMax } = parts
  const heart = new Int32Array(new SharedArrayBuffer(12))
  const workerData: WatchdogRequest = { heart, descriptors, workFiles, limitMs, slowMs }
  const worker = new Worker(new URL(`./watchdog-thread${extname(import.meta.url)}`, import.meta.url), { workerData })
  // One that is ended while it loads native code takes the whole process with it.
  const isLoaded = Promise.race([once(worker, 'message'), once(worker, 'exit')])
  worker.unref()
  try {
    for (;;) {
      const { log, backing } = stalledMs()
      Atomics.add(heart, heartbeat.lives, 1)
      Atomics.store(heart, heartbeat.logMs, Math.min(log, 2 ** 31 - 1))
      Atomics.store(heart, heartbeat.backingMs, Math.min(backing, 2 ** 31 - 1))
      await clock.sleep(beatMs, signal)
    }
  } finally {
    worker.ref()
    await isLoaded
    await worker.terminate()
  }
}
