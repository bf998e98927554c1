import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpuSecondsOf, type Usage, Watched } from './usage.ts'

export interface Finished extends Usage {
  readonly seconds: number
  readonly output: string
}

export interface Settings {
  readonly environment?: Readonly<Record<string, string>>
  readonly directory?: string
  /** Statuses other than 0 that are no failure. */
  readonly allowed?: readonly number[]
  /** Whom it runs as, where this is root. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
  /** What ends a service. */
  readonly stopSignal?: NodeJS.Signals
}

/**
 * Runs a command to its end. It is run below a shell, which then tells what CPU time all of the processes took:
 * Node.js has no way to ask that about one child.
 */
export function run(command: readonly string[], settings: Settings = {}): Promise<Finished> {
  return runBelowShell('"$@"', command, settings)
}

/** The same for a pipeline in the shell's language. */
export function runScript(
  script: string,
  parameters: readonly string[] = [],
  settings: Settings = {},
): Promise<Finished> {
  return runBelowShell(script, parameters, settings)
}

async function runBelowShell(script: string, parameters: readonly string[], settings: Settings): Promise<Finished> {
  const whole = `{ ${script}\n}; status=$?; read -r line < /proc/$$/stat; printf '%s' "$line" >&3; exit $status`
  const began = performance.now()
  const child = spawn('sh', ['-c', whole, 'sh', ...parameters], {
    env: { ...process.env, ...settings.environment },
    ...(settings.directory === undefined ? {} : { cwd: settings.directory }),
    ...settings.user,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  using watched = new Watched([child.pid as number])
  const [output, errors, stat] = [1, 2, 3].map((descriptor) => collected(child, descriptor)) as [
    string[],
    string[],
    string[],
  ]
  const [status] = (await once(child, 'close')) as [number | null]
  const seconds = (performance.now() - began) / 1000
  if (status !== 0 && !settings.allowed?.includes(status ?? -1)) {
    throw new Error(
      `${parameters[0] ?? script} ended with status ${status}:\n${errors.join('').slice(-2000)}${output.join('').slice(-2000)}`,
    )
  }
  return {
    seconds,
    output: output.join(''),
    cpuSeconds: cpuSecondsOf(stat.join('')),
    memoryBytes: watched.usage().memoryBytes,
  }
}

function collected(child: ChildProcess, descriptor: number): string[] {
  const pieces: string[] = []
  child.stdio[descriptor]?.on('data', (piece: Buffer) => pieces.push(piece.toString()))
  return pieces
}

/** A program that runs until disposed. What it says is kept, and told when it ends of itself. */
export class Service implements AsyncDisposable {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #stopSignal: NodeJS.Signals
  readonly #said: string[] = []

  constructor(command: readonly string[], settings: Settings = {}) {
    const [program, ...parameters] = command
    this.#child = spawn(program as string, parameters, {
      env: { ...process.env, ...settings.environment },
      ...(settings.directory === undefined ? {} : { cwd: settings.directory }),
      ...settings.user,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#stopSignal = settings.stopSignal ?? 'SIGTERM'
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (piece: Buffer) => {
        this.#said.push(piece.toString())
        if (this.#said.length > 200) this.#said.shift()
      })
    }
    if (this.#child.pid === undefined) throw new Error(`${program} could not be started`)
    this.pid = this.#child.pid
  }

  get said(): string {
    return this.#said.join('')
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  assertRunning(): void {
    if (this.isRunning) return
    throw new Error(`${this.#child.spawnargs.slice(0, 4).join(' ')} ended of itself:\n${this.said.slice(-3000)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.kill(this.#stopSignal)
    const killing = setTimeout(() => this.#child.kill('SIGKILL'), stopMsMax)
    await ended
    clearTimeout(killing)
  }
}

const stopMsMax = 15_000

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(
  what: string,
  done: () => Promise<boolean> | boolean,
  { everyMs = 20, msMax = 1_800_000 } = {},
): Promise<void> {
  const end = performance.now() + msMax
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`${what}: still not after ${msMax / 1000} s`)
    await pause(everyMs)
  }
}
