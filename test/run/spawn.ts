import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { isSystemError } from '../../src/base/errors.ts'

export interface Ended {
  /** Undefined where a signal or the limit ended it. */
  readonly status: number | undefined
  readonly signal: string | undefined
  readonly timedOut: boolean
  /** What it had started and was still there a while after it had ended: the names of the programs. */
  readonly leftBehind: readonly string[]
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
    let leftBehind: readonly string[] = []
    const timer = setTimeout(() => {
      timedOut = true
      if (group !== undefined) killGroup(group)
    }, where.limitMs)

    child.on('error', reject)
    const gone = new Promise<void>((resolveGone) => {
      child.on('exit', () => {
        clearTimeout(timer)
        if (group === undefined) return resolveGone()
        void leftOf(group).then((left) => {
          running.delete(group)
          killGroup(group)
          if (!timedOut) leftBehind = left
          resolveGone()
        }, reject)
      })
    })
    child.on('close', async (status, signal) => {
      await gone
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

/** A process that was told to end takes a moment to, and on a busy machine another one until it is reaped. */
const endMsMax = 10_000
const lookMs = 50

/** The programs of the group that do not end. */
async function leftOf(group: number): Promise<readonly string[]> {
  const startedAt = performance.now()
  for (;;) {
    const left = programsOf(group)
    if (left.length === 0 || performance.now() - startedAt > endMsMax) return left
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}

function programsOf(group: number): string[] {
  const programs: string[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = readStat(name)
    // pid (program) state ppid pgrp …, and a program's name may hold anything.
    const [, program, state, of] = /^\d+ \((.*)\) (\S) \d+ (\d+) /s.exec(stat) ?? []
    if (program !== undefined && Number(of) === group && state !== 'Z') programs.push(`${program} (${name})`)
  }
  return programs
}

/** Empty where the process is gone by now. */
function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return ''
    throw error
  }
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
