import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { isSystemError, messageOf } from '../../base/errors.ts'

/** Of a line; a longer one is cut. */
const lineCharactersMax = 2 * 1024 * 1024
/** How long a command may take to end in order; then it is killed with all that it started in its group. */
const stopMsMax = 30_000
const lookMs = 100

export interface ProcessId {
  readonly pid: number
  readonly started: string
}

export interface CommandEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

const notStarted: CommandEnd = { status: null, signal: null }

/** A command of this very program in a process of its own. */
export interface StartedCommand {
  /** Undefined where it could not be started, or has ended already. */
  readonly process: ProcessId | undefined
  /** Resolves when it has ended and all that it said was heard. */
  readonly ended: Promise<CommandEnd>
  /** Has it end in order, or in the end at all; `ended` tells when. */
  stop(): void
}

export type StartCommand = (
  args: readonly string[],
  heard: (line: string, from: 'out' | 'err') => void,
) => StartedCommand

/**
 * Starts commands that end with this process: each reads its standard input, which ends when this process does, however that
 * happens, and takes that for an interruption.
 */
export const commandStarter =
  (program: readonly string[], environment: NodeJS.ProcessEnv, clock: Clock): StartCommand =>
  (args, heard) => {
    const [file = process.execPath, ...before] = program
    const failed = (error: unknown): void => heard(`it could not be started: ${messageOf(error)}`, 'err')
    let child
    try {
      child = spawn(file, [...before, ...args], {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
        cwd: '/',
        env: { ...environment, TIDEMARK_ENDS_WITH_INPUT: '1' },
      })
    } catch (error) {
      // Some failures are thrown, others told: of more or longer words than the kernel takes, of a word it cannot hold.
      failed(error)
      return { process: undefined, ended: Promise.resolve(notStarted), stop: () => undefined }
    }
    child.on('error', (error) => {
      if (child.pid === undefined) failed(error)
    })
    child.stdin.on('error', () => undefined)
    const said = Promise.all([
      readLines(child.stdout, (line) => heard(line, 'out')),
      readLines(child.stderr, (line) => heard(line, 'err')),
    ])
    const ended = Promise.all([endOf(child), said]).then(([end]) => end)
    return {
      process: child.pid === undefined ? undefined : identify(child.pid),
      ended,
      stop: () => void stop(child, ended, clock),
    }
  }

async function endOf(child: ChildProcess): Promise<CommandEnd> {
  if (child.pid === undefined) return notStarted
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return { status, signal }
}

async function stop(child: ChildProcess, ended: Promise<unknown>, clock: Clock): Promise<void> {
  child.kill('SIGTERM')
  const over = new AbortController()
  void ended.finally(() => over.abort())
  try {
    await clock.sleep(stopMsMax, over.signal)
    if (child.pid !== undefined) killGroup(child.pid)
  } catch (error) {
    if (!over.signal.aborted) throw error
  }
}

/** Lines without their ends. */
async function readLines(stream: Readable, line: (text: string) => void): Promise<void> {
  let held = ''
  stream.setEncoding('utf8')
  try {
    for await (const piece of stream) {
      held += piece as string
      const lines = held.split('\n')
      held = (lines.pop() as string).slice(0, lineCharactersMax)
      for (const one of lines) line(one)
    }
  } catch (error) {
    line(`what it said could not be heard: ${String(error)}`)
  }
  if (held !== '') line(held)
}

/** Waits for a process that an earlier run of this agent has started, which is ending, and in the end kills it. */
export async function outlive({ pid, started }: ProcessId, clock: Clock, signal: AbortSignal): Promise<void> {
  const killAtMs = clock.monotonicMs() + stopMsMax
  while (identify(pid)?.started === started) {
    if (clock.monotonicMs() > killAtMs) killGroup(pid)
    await clock.sleep(lookMs, signal)
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (!isSystemError(error, 'ESRCH')) throw error
  }
}

/** A zombie has ended; the fields after the name, which may hold anything, are counted from the end of it. */
function identify(pid: number): ProcessId | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [state] = fields
    return state === 'Z' ? undefined : { pid, started: fields[19] ?? '' }
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}
