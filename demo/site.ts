import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, realpathSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type SourceStatus, vaultStatus } from '../src/api/schemas.ts'
import { socketApiClient } from '../src/wire/http-client.ts'
import { postgresFolder } from '../test/support/postgres-program.ts'
import { chooseMajor } from './cluster.ts'
import { pause, until } from './screen.ts'

const mainFile = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const endMsMax = 5000
/** Separated: no account may do another's work. */
const duties = ['system', 'security', 'audit'] as const

/** A vault and an agent of this machine, in a folder of their own, and every other process of the demonstration. */
export class Site {
  readonly place: string
  readonly home: string
  readonly #environment: NodeJS.ProcessEnv
  readonly #running: ChildProcess[] = []
  readonly #onEnd: (() => Promise<void>)[] = []
  #hasEnded = false
  #vaultAddress = ''

  constructor() {
    this.place = mkdtempSync(join(realpathSync(tmpdir()), 'tidemark-demo-'))
    // The user whom PostgreSQL runs as has a folder below.
    chmodSync(this.place, 0o711)
    this.home = join(this.place, 'home')
    mkdirSync(this.home, { mode: 0o700 })
    // All that is temporary goes with the place, such as server programs that only root could reach where they are.
    process.env['TMPDIR'] = this.place
    // The server programs are for who verifies or starts a database on this machine.
    const programs = join(postgresFolder(chooseMajor()), 'bin')
    this.#environment = { ...process.env, PATH: `${programs}:${process.env['PATH']}`, TIDEMARK_HOME: this.home }
  }

  /** A vault, and an agent that has joined it. */
  async open(): Promise<void> {
    this.#vaultAddress = `127.0.0.1:${await freePort()}`
    await this.run('vault', 'init', '--name', 'demo')
    this.#start('vault', 'run', '--listen', this.#vaultAddress)
    await until('vault', () => existsSync(join(this.home, 'vault', 'api.sock')))
    const token = await this.run('--vault', join(this.home, 'vault'), 'vault', 'token', '--json')
    this.#environment['TIDEMARK_TOKEN'] = (JSON.parse(token) as { token: string }).token
    await this.run('agent', 'join', this.#vaultAddress, '--name', 'this-server')
    delete this.#environment['TIDEMARK_TOKEN']
    this.#start('agent', 'run')
    await until('agent', () => existsSync(join(this.home, 'agent', 'api.sock')))
  }

  /** A console of this vault, which runs until the end, and its accounts with the passwords that have to be changed. */
  async openConsole(): Promise<{
    url: string
    accounts: readonly { readonly name: string; readonly role: string; readonly password: string }[]
  }> {
    const port = await freePort()
    const users = ['operator:operator', 'viewer:viewer', ...duties.map((duty) => `${duty}:${duty}-administrator`)]
    const made = await this.run('console', 'init', '--json', ...users.flatMap((user) => ['--user', user]))
    this.#start('console', 'run', '--listen', `127.0.0.1:${port}`)
    await until('console', () => existsSync(join(this.home, 'console', 'api.sock')))
    const token = await this.run('--vault', join(this.home, 'vault'), 'vault', 'token', '--console', '--json')
    this.#environment['TIDEMARK_TOKEN'] = (JSON.parse(token) as { token: string }).token
    await this.run('console', 'add-vault', this.#vaultAddress, '--site', 'demo')
    delete this.#environment['TIDEMARK_TOKEN']
    return { url: `http://127.0.0.1:${port}`, accounts: (JSON.parse(made) as { accounts: [] }).accounts }
  }

  /** A command of tidemark, to its end: what it printed. */
  async run(...parameters: string[]): Promise<string> {
    const child = this.#tidemark(parameters, ['ignore', 'pipe', 'pipe'])
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (piece: Buffer) => (output += piece.toString()))
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`tidemark ${parameters.join(' ')} ended with status ${status}\n${output}`)
    return output
  }

  async statusOf(name: string): Promise<SourceStatus> {
    const api = socketApiClient(join(this.home, 'vault', 'api.sock'))
    const { sources } = await api.json('GET', '/v1/status', vaultStatus)
    return named(sources, name)
  }

  /** Of the office's two sources. */
  async status(): Promise<{ documents: SourceStatus; database: SourceStatus }> {
    const api = socketApiClient(join(this.home, 'vault', 'api.sock'))
    const { sources } = await api.json('GET', '/v1/status', vaultStatus)
    return { documents: named(sources, 'documents'), database: named(sources, 'database') }
  }

  /** For what is not a process of tidemark itself; called once those have ended. */
  onEnd(end: () => Promise<void>): void {
    this.#onEnd.push(end)
  }

  /** Ends everything and removes it. */
  async end(): Promise<void> {
    this.#hasEnded = true
    for (const child of this.#running.toReversed()) await ended(child)
    for (const end of this.#onEnd.toReversed()) await end()
    rmSync(this.place, { recursive: true, force: true, maxRetries: 5 })
  }

  processIds(): number[] {
    return this.#running.filter(isRunning).flatMap(({ pid }) => pid ?? [])
  }

  /** What it says comes into a file, so that it goes on when the demonstration has ended. */
  #start(...parameters: string[]): void {
    const log = openSync(join(this.home, `${parameters[0]}.log`), 'a')
    this.#tidemark(parameters, ['ignore', log, log])
    closeSync(log)
  }

  /** In a session of its own, so that Ctrl-C comes to the demonstration alone, which ends what it has started in order. */
  #tidemark(parameters: readonly string[], stdio: StdioOptions): ChildProcess {
    if (this.#hasEnded) throw new Error('the demonstration has been ended')
    const program = ['--disable-warning=ExperimentalWarning', mainFile, ...parameters]
    const child = spawn(process.execPath, program, { env: this.#environment, stdio, detached: true })
    this.#running.push(child)
    return child
  }
}

function named(sources: readonly SourceStatus[], name: string): SourceStatus {
  const found = sources.find((source) => source.name === name)
  if (found === undefined) throw new Error(`the vault does not know ${name}`)
  return found
}

const isRunning = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null

async function ended(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await Promise.race([exit, pause(endMsMax).then(() => child.kill('SIGKILL'))])
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
