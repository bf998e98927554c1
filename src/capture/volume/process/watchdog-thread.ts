import { parentPort, workerData } from 'node:worker_threads'
import { isSystemError } from '../../../base/errors.ts'
import { shutDown } from '../../../base/syscalls/sockets.ts'
import { DiskWork } from './disk-work.ts'
import { heartbeat, type WatchdogRequest } from './watchdog.ts'

/** Sleeps without its event loop: nothing that the process does can keep it from looking. */
const { heart, descriptors, workFiles, limitMs, slowMs } = workerData as WatchdogRequest
const lookMs = Math.max(10, Math.min(500, limitMs / 10))
const asleep = new Int32Array(new SharedArrayBuffer(4))

/** Looks are counted, not time: where the whole machine stood still, the server gets its time afterwards. */
const looksMax = limitMs / lookMs
const slowLooksMax = slowMs / lookMs
/** An answer that came while the machine stood still is known to have come after a few beats. */
const stalledLooksMax = 4

/** A disk, and the answers that it owes. */
class Watched {
  readonly #work: DiskWork | undefined
  readonly #stalledMs: number
  #quietLooks = 0
  #stalledLooks = 0

  constructor(workFile: string | undefined, stalledMs: number) {
    this.#work = workFile === undefined ? undefined : new DiskWork(workFile)
    this.#stalledMs = stalledMs
  }

  look(): void {
    this.#quietLooks = this.#work?.hasMoved() === true ? 0 : this.#quietLooks + 1
    const isStalled = Atomics.load(heart, this.#stalledMs) > (this.#work === undefined ? slowMs : limitMs)
    this.#stalledLooks = isStalled ? this.#stalledLooks + 1 : 0
  }

  get works(): boolean {
    return this.#work !== undefined && this.#quietLooks <= looksMax
  }

  get isStalled(): boolean {
    return this.#stalledLooks > stalledLooksMax && !this.works
  }
}

const log = new Watched(workFiles.log, heartbeat.logMs)
const backing = new Watched(workFiles.backing, heartbeat.backingMs)

// All that is needed at the end is loaded now: a disk that hangs gives nothing any more.
shutDownIfOpen(-1)
parentPort?.postMessage('watching')

for (let lives = 0, silentLooks = 0; ;) {
  Atomics.wait(asleep, 0, 0, lookMs)
  const found = Atomics.load(heart, heartbeat.lives)
  silentLooks = found === lives ? silentLooks + 1 : 0
  lives = found
  log.look()
  backing.look()
  // The thread itself writes to the log.
  const isSilent = silentLooks > (log.works ? slowLooksMax : looksMax)
  if (isSilent || log.isStalled || backing.isStalled) end()
}

function end(): void {
  try {
    for (const table of descriptors) {
      for (let place = 0; place < table.length; place++) {
        const descriptor = Atomics.load(table, place)
        if (descriptor >= 0) shutDownIfOpen(descriptor)
      }
    }
  } finally {
    process.kill(process.pid, 'SIGKILL')
  }
}

function shutDownIfOpen(descriptor: number): void {
  try {
    shutDown(descriptor)
  } catch (error) {
    if (!isSystemError(error, 'ENOTCONN', 'EBADF', 'ENOTSOCK')) throw error
  }
}
