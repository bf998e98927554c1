import { spawn } from 'node:child_process'

export interface Ended {
  /** Undefined where a signal or the limit ended it. */
  readonly status: number | undefined
  readonly signal: string | undefined
  readonly timedOut: boolean
  /** Whether processes it had started were still there when it ended. */
  readonly leftBehind: boolean
  /** Standard output and error, as they came. */
  readonly output: string
  readonly durationMs: number
}

const running = new Set<number>()

/**
 * Runs a program by this Node.js in a process group of its own, so that nothing it started outlives it.
 * After `limitMs` the whole group is killed.
 */
export function runNode(args: readonly string[], where: { cwd: string; limitMs: number }): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const started = performance.now()
    const child = spawn(process.execPath, args, {
      cwd: where.cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
    })
    const group = child.pid
    if (group !== undefined) running.add(group)

    const output: Buffer[] = []
    child.stdout.on('data', (bytes: Buffer) => output.push(bytes))
    child.stderr.on('data', (bytes: Buffer) => output.push(bytes))

    let timedOut = false
    let leftBehind = false
    const timer = setTimeout(() => {
      timedOut = true
      if (group !== undefined) killGroup(group)
    }, where.limitMs)

    child.on('error', reject)
    child.on('exit', () => {
      clearTimeout(timer)
      if (group === undefined) return
      running.delete(group)
      leftBehind = killGroup(group) && !timedOut
    })
    child.on('close', (status, signal) => {
      resolve({
        status: status ?? undefined,
        signal: signal ?? undefined,
        timedOut,
        leftBehind,
        output: Buffer.concat(output).toString(),
        durationMs: performance.now() - started,
      })
    })
  })
}

export function killRunning(): void {
  for (const group of running) killGroup(group)
}

/** Kills every process of the group; false if there was none. */
function killGroup(group: number): boolean {
  try {
    return process.kill(-group, 'SIGKILL')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
    throw error
  }
}
