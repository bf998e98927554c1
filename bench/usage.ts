import { readdirSync, readFileSync } from 'node:fs'

/** What processes took: CPU time of user and system, and memory at its highest. */
export interface Usage {
  readonly cpuSeconds: number
  readonly memoryBytes: number
}

/** The kernel counts CPU time for /proc in hundredths of a second (USER_HZ), on every architecture we run on. */
const ticksPerSecond = 100

/** Seconds of CPU that a process took, and all those below it that have ended and were waited for. */
export function cpuSecondsOf(stat: string): number {
  // The second field is the program's name in brackets and may hold anything; utime is the twelfth after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0) / ticksPerSecond
}

/** Watches processes and all below them until disposed. */
export class Watched {
  readonly #roots: readonly number[]
  readonly #timer: NodeJS.Timeout
  readonly #cpuBefore: number
  #memoryBytes = 0

  constructor(roots: readonly number[], everyMs = 100) {
    this.#roots = roots
    this.#cpuBefore = this.#look().cpuSeconds
    this.#timer = setInterval(() => this.#look(), everyMs)
    this.#timer.unref()
  }

  /** Since the beginning; memory is the greatest sum, at one time, of the high-water marks of those that lived. */
  usage(): Usage {
    const { cpuSeconds } = this.#look()
    return { cpuSeconds: cpuSeconds - this.#cpuBefore, memoryBytes: this.#memoryBytes }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): Usage {
    const usages = this.#roots.map(usageSinceStart)
    const sum = (of: keyof Usage): number => usages.reduce((total, usage) => total + usage[of], 0)
    this.#memoryBytes = Math.max(this.#memoryBytes, sum('memoryBytes'))
    return { cpuSeconds: sum('cpuSeconds'), memoryBytes: sum('memoryBytes') }
  }
}

/** Of a process and all those below it that live now. */
export function usageSinceStart(root: number): Usage {
  let cpuSeconds = 0
  let memoryBytes = 0
  for (const pid of withDescendants(root)) {
    const stat = readProc(`${pid}/stat`)
    if (stat === undefined) continue
    cpuSeconds += cpuSecondsOf(stat)
    memoryBytes += Number(/VmHWM:\s+(\d+)/.exec(readProc(`${pid}/status`) ?? '')?.[1] ?? 0) * 1024
  }
  return { cpuSeconds, memoryBytes }
}

function withDescendants(pid: number): number[] {
  const threads = listProc(`${pid}/task`)
  const children = threads.flatMap((thread) =>
    (readProc(`${pid}/task/${thread}/children`) ?? '').split(' ').filter(Boolean),
  )
  return [pid, ...children.map(Number).flatMap(withDescendants)]
}

/** A process may end between one look and the next, so that a file of it is gone. */
function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return undefined
  }
}

function listProc(path: string): string[] {
  try {
    return readdirSync(`/proc/${path}`)
  } catch {
    return []
  }
}
