import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { SourceStatus, VaultStatus } from '../../src/api/schemas.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { ProtectionStatus } from '../../src/agent/protect.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import { lacking } from '../run/programs.ts'
import { freePort } from '../support/free-port.ts'

/**
 * A vault and its agents as processes of the real program on loopback, in a folder of their own below the temporary
 * folder, driven by the command line as an operator would. Everything is gone when the test is.
 */
const main = join(import.meta.dirname, '../../src/main.ts')
const nodeArguments = ['--disable-warning=ExperimentalWarning', main]

export interface Finished {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** A program that runs until it is stopped; what it says is kept in a file. */
export class Process {
  readonly #arguments: readonly string[]
  readonly #ready: RegExp
  readonly log: string
  #child: ChildProcess | undefined
  /** Resolves when the child has ended and all that it said is in the log. */
  #closed: Promise<unknown> = Promise.resolve()

  constructor(args: readonly string[], ready: RegExp, log: string) {
    this.#arguments = args
    this.#ready = ready
    this.log = log
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  get pid(): number {
    assert.ok(this.#child?.pid !== undefined && this.isRunning, 'is not running')
    return this.#child.pid
  }

  async start(environment: Record<string, string> = {}): Promise<void> {
    assert.ok(!this.isRunning, 'is running already')
    const env = { ...process.env, TIDEMARK_TOKEN: '', ...environment }
    const child = spawn(process.execPath, [...nodeArguments, ...this.#arguments], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
    this.#child = child
    this.#closed = once(child, 'close')
    const log = openSync(this.log, 'a')
    let said = ''
    const ready = new Promise<void>((resolve, reject) => {
      const hear = (bytes: Buffer): void => {
        appendFileSync(log, bytes)
        if (this.#ready.test((said += bytes.toString()).slice(-10_000))) resolve()
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('close', () => {
        closeSync(log)
        reject(new Error(`"${this.#arguments.join(' ')}" ended before it was ready:\n${said}`))
      })
    })
    await ready
  }

  /** As a power cut is for a process: nothing of it gets to run. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** How it ends by itself, or is refused. */
  async ended(): Promise<number | null> {
    await this.#closed
    return this.#child?.exitCode ?? null
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (!child || !this.isRunning) return
    child.kill(signal)
    await this.#closed
  }
}

export class World {
  readonly folder: string
  readonly vaultFolder: string
  readonly vault: Process
  readonly port: number
  readonly #processes: Process[] = []
  readonly #endings: (() => Promise<void>)[] = []

  private constructor(folder: string, vaultFolder: string, port: number, vaultOptions: readonly string[]) {
    this.folder = folder
    this.vaultFolder = vaultFolder
    this.port = port
    this.vault = this.#process(
      ['vault', 'run', '--dir', vaultFolder, '--listen', `127.0.0.1:${port}`, ...vaultOptions],
      /listens on/,
      'vault',
    )
  }

  /** A new, running vault. `vaultFolder` may be on a file system of its own. */
  static async begin(t: TestContext, vaultFolder?: string, vaultOptions: readonly string[] = []): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-e2e-'))
    const world = new World(folder, vaultFolder ?? join(folder, 'vault'), await freePort(), vaultOptions)
    t.after(async () => {
      for (const end of world.#endings.reverse()) await end()
      await Promise.all(world.#processes.map((one) => one.kill()))
      if (t.passed) rmSync(folder, { recursive: true, force: true })
      else t.diagnostic(`kept for inspection: ${folder}\n${world.logs()}`)
    })
    await world.expect(['vault', 'init', '--dir', world.vaultFolder])
    await world.vault.start()
    return world
  }

  /** An enrolled agent, not running yet. */
  async join(name: string, options: readonly string[] = []): Promise<Agent> {
    const { token } = JSON.parse((await this.atVault('vault', 'token', '--json')).out) as { token: string }
    const folder = join(this.folder, name)
    await this.expect(['agent', 'join', `127.0.0.1:${this.port}`, '--name', name, '--dir', folder], {
      TIDEMARK_TOKEN: token,
    })
    return {
      name,
      folder,
      process: this.#process(['agent', 'run', '--dir', folder, ...options], /reached|no line/, name),
    }
  }

  /** Ends what works in the folder of this world, before that is removed. The last one that is told ends first. */
  atEnd(end: () => Promise<void>): void {
    this.#endings.push(end)
  }

  #process(args: readonly string[], ready: RegExp, name: string): Process {
    const made = new Process(args, ready, join(this.folder, `${name}.log`))
    this.#processes.push(made)
    return made
  }

  /** A new empty directory. */
  directory(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  /** A command at the vault that has to succeed. */
  atVault(...args: string[]): Promise<Finished> {
    return this.expect(['--vault', this.vaultFolder, ...args])
  }

  atAgent(agent: Agent, ...args: string[]): Promise<Finished> {
    return this.expect(['--agent', agent.folder, ...args])
  }

  async expect(args: readonly string[], environment: Record<string, string> = {}): Promise<Finished> {
    const finished = await command(args, environment)
    assert.equal(finished.status, 0, `"tidemark ${args.join(' ')}" failed:\n${finished.out}${finished.err}`)
    return finished
  }

  async status(): Promise<VaultStatus> {
    return JSON.parse((await this.atVault('status', '--json')).out) as VaultStatus
  }

  /** The same as `status` without starting a process for it; undefined while the vault does not answer. */
  async glance(): Promise<VaultStatus | undefined> {
    const text = await getOverSocket(join(this.vaultFolder, 'api.sock'), '/v1/status')
    return text === undefined ? undefined : (JSON.parse(text) as VaultStatus)
  }

  async source(name: string): Promise<SourceStatus | undefined> {
    return (await this.glance())?.sources.find((source) => source.name === name)
  }

  async until(
    name: string,
    what: string,
    holds: (source: SourceStatus) => boolean,
    limitMs = waitMsMax,
  ): Promise<SourceStatus> {
    return waitFor(
      `${name}: ${what}`,
      () => this.source(name),
      (source) => source !== undefined && holds(source),
      limitMs,
    ) as Promise<SourceStatus>
  }

  /** Waits until everything that was changed before the call is durable; returns a moment at which all of it stands. */
  async quietMoment(name: string, limitMs = waitMsMax): Promise<string> {
    const changed = systemClock.now()
    await this.until(
      name,
      'all durable',
      ({ covered, state }) => covered !== null && microseconds(covered) > changed && state === 'protected',
      limitMs,
    )
    return isoMoment(moment(systemClock.now()))
  }

  /** What the agent itself says of a source, also while its vault is away. */
  async untilAgent(
    agent: Agent,
    name: string,
    what: string,
    holds: (source: ProtectionStatus) => boolean,
    limitMs = waitMsMax,
  ): Promise<void> {
    const look = async (): Promise<ProtectionStatus | undefined> => {
      const text = await getOverSocket(join(agent.folder, 'api.sock'), '/agent')
      const told = text === undefined ? undefined : (JSON.parse(text) as AgentAnswer)
      return told?.sources.find((source) => source.name === name)
    }
    await waitFor(`${name} at its agent: ${what}`, look, (source) => source !== undefined && holds(source), limitMs)
  }

  /** Waits until an agent whose vault is away has captured everything that was changed before the call. */
  async quietAgentMoment(agent: Agent, name: string, limitMs = waitMsMax): Promise<string> {
    const changed = systemClock.now()
    await this.untilAgent(
      agent,
      name,
      'all captured',
      ({ capture }) => capture !== undefined && capture.covered > changed,
      limitMs,
    )
    return isoMoment(moment(systemClock.now()))
  }

  async restore(source: string, at: string, to: string, ...more: string[]): Promise<Finished> {
    return this.atVault('restore', source, '--at', at, '--to', to, ...more)
  }

  logs(): string {
    return this.#processes
      .filter(({ log }) => existsSync(log))
      .map(({ log }) => `--- ${log}\n${readFileSync(log, 'utf8').slice(-3000)}`)
      .join('\n')
  }
}

interface AgentAnswer {
  readonly sources: readonly ProtectionStatus[]
}

export interface Agent {
  readonly name: string
  readonly folder: string
  readonly process: Process
}

export function settings(agent: Agent, told: object): void {
  writeFileSync(join(agent.folder, 'settings.json'), JSON.stringify(told))
}

/** Runs the program to its end. */
export async function command(
  args: readonly string[],
  environment: Record<string, string> = {},
  limitMs = 600_000,
): Promise<Finished> {
  const child = spawn(process.execPath, [...nodeArguments, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
    timeout: limitMs,
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, out, err }
}

const pollMs = 50
/** How long a test waits for what must come about, on the slowest machine. */
const waitMsMax = 120_000

export async function waitFor<Value>(
  what: string,
  look: () => Promise<Value>,
  holds: (value: Value) => boolean,
  limitMs = waitMsMax,
): Promise<Value> {
  const until = systemClock.monotonicMs() + limitMs
  for (;;) {
    // A last look comes after the end: the machine may have stood still.
    const isLast = systemClock.monotonicMs() >= until
    const value = await look()
    if (holds(value)) return value
    assert.ok(!isLast, `waited ${limitMs} ms in vain for ${what}; last seen: ${JSON.stringify(value)}`)
    await systemClock.sleep(pollMs)
  }
}

/** What rsync would change to make `restored` equal `source`; empty when nothing. */
export function differences(source: string, restored: string): string {
  const args = ['-n', '--checksum', '-aHAXS', '--itemize-changes', '--delete', `${source}/`, `${restored}/`]
  const { status, stdout, stderr } = spawnSync('rsync', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  assert.equal(status, 0, stderr)
  return stdout
}

export const isRoot = process.geteuid?.() === 0
/** For the `skip` of a test: why it cannot run here, or false. */
export const needsRsync = lacking('rsync')
export const needsRoot = !isRoot && 'mounting needs root'

const microseconds = (iso: string): number => Date.parse(`${iso.slice(0, 19)}Z`) * 1000 + Number(iso.slice(20, 26))

function getOverSocket(socketPath: string, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path }, (response) => {
      let text = ''
      response.on('data', (bytes: Buffer) => (text += bytes.toString()))
      response.on('end', () => resolve(response.statusCode === 200 ? text : undefined))
      response.on('error', () => resolve(undefined))
    })
    asked.on('error', () => resolve(undefined))
    asked.end()
  })
}
