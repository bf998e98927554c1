import http from 'node:http'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PointRow, SourceStatus, VaultStatus } from '../src/api/schemas.ts'
import { slotOf } from '../src/capture/postgres/slot.ts'
import { type VolumeFolder, volumeFolderOf } from '../src/capture/volume/volume-folder.ts'
import type { Id } from '../src/model/source.ts'
import { isListening } from '../test/support/listening.ts'
import { type Finished, run, runScript, Service, until } from './command.ts'
import { accepts, freePort, storedBytes } from './place.ts'
import { type Usage, usageSinceStart, Watched } from './usage.ts'

const mainFile = fileURLToPath(new URL('../src/main.ts', import.meta.url))

export interface TidemarkOptions {
  /** Leave the CPU profiles of vault and agent there. */
  readonly profileDirectory?: string | undefined
  /** Of vault and agent, and so of what they start. */
  readonly environment?: Readonly<Record<string, string>>
}

/** A vault and an agent of this machine, joined over TLS on loopback, driven by the command line and asked over HTTP. */
export class Tidemark implements AsyncDisposable {
  readonly home: string
  readonly #options: TidemarkOptions
  readonly #port: number
  readonly #questions = new http.Agent({ keepAlive: true })
  #vault: Service | undefined
  #agent: Service | undefined
  #console: Service | undefined

  private constructor(home: string, port: number, options: TidemarkOptions) {
    this.home = home
    this.#port = port
    this.#options = options
  }

  static async start(home: string, options: TidemarkOptions = {}): Promise<Tidemark> {
    mkdirSync(home, { recursive: true })
    const tidemark = new Tidemark(home, await freePort(), options)
    await tidemark.command(['vault', 'init', '--name', 'bench'])
    await tidemark.startVault()
    await tidemark.command(['agent', 'join', `127.0.0.1:${tidemark.#port}`, '--name', 'server'], {
      TIDEMARK_TOKEN: await tidemark.token(),
    })
    await tidemark.startAgent()
    return tidemark
  }

  /** Only a vault: its agents are simulated. */
  static async startVaultOnly(home: string, options: TidemarkOptions = {}): Promise<Tidemark> {
    mkdirSync(home, { recursive: true })
    const tidemark = new Tidemark(home, await freePort(), options)
    await tidemark.command(['vault', 'init', '--name', 'bench'])
    await tidemark.startVault()
    return tidemark
  }

  /** The same of one that is there. */
  static async serveVault(home: string): Promise<Tidemark> {
    const tidemark = new Tidemark(home, await freePort(), {})
    await tidemark.startVault()
    return tidemark
  }

  get vaultAddress(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.#port }
  }

  async token(): Promise<string> {
    return ((await this.ask('POST', '/v1/tokens', {})) as { token: string }).token
  }

  async startVault(): Promise<void> {
    this.#vault = this.#service('vault', ['vault', 'run', '--listen', `127.0.0.1:${this.#port}`])
    await this.#answers('vault', this.#vault)
  }

  async startAgent(): Promise<void> {
    this.#agent = this.#service('agent', ['agent', 'run'])
    await this.#answers('agent', this.#agent)
  }

  /** A console with this vault and an account for an operator, whose password is the one that was made for him. */
  async startConsole(port: number): Promise<{ readonly pid: number; readonly password: string }> {
    const made = await this.command(['console', 'init', '--json', '--user', 'operator:operator'])
    const { accounts } = JSON.parse(made.output) as { accounts: readonly { name: string; password: string }[] }
    const password = accounts.find(({ name }) => name === 'operator')?.password as string
    this.#console = this.#service('console', ['console', 'run', '--listen', `127.0.0.1:${port}`])
    await until('the console to answer', async () => {
      this.#console?.assertRunning()
      return await accepts(port)
    })
    const { token } = (await this.ask('POST', '/v1/consoles/tokens', {})) as { token: string }
    await this.command(['console', 'add-vault', `127.0.0.1:${this.#port}`], { TIDEMARK_TOKEN: token })
    return { pid: this.#console.pid, password }
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]()
    this.#agent = undefined
  }

  async stopVault(): Promise<void> {
    await this.#vault?.[Symbol.asyncDispose]()
    this.#vault = undefined
  }

  watch(): Watched {
    return new Watched([this.#vault, this.#agent].flatMap((service) => (service === undefined ? [] : [service.pid])))
  }

  watchVault(): Watched {
    return new Watched([(this.#vault as Service).pid])
  }

  /** All that the vault's process took since its start. */
  get vaultUsage(): Usage {
    return usageSinceStart((this.#vault as Service).pid)
  }

  /** All that the agent's process took since its start. */
  get agentUsage(): Usage {
    return usageSinceStart((this.#agent as Service).pid)
  }

  /** Begins to protect, and resolves when the baseline is complete, durable and can be viewed. */
  async protect(name: string, directory: string): Promise<void> {
    await this.command(['protect', 'files', directory, '--name', name, '--on', 'server'])
    await this.untilSettled(name, 0)
  }

  /** The same for a PostgreSQL server. */
  async protectPostgres(name: string, url: string, settings: { readonly zeroLoss?: boolean } = {}): Promise<void> {
    const options = ['--name', name, '--on', 'server', ...(settings.zeroLoss ? ['--zero-loss=block'] : [])]
    await this.command(['protect', 'postgres', url, ...options])
    await this.untilSettled(name, 0)
  }

  /** The same for a volume in this file; the folder of its server. */
  async protectVolume(name: string, backing: string): Promise<VolumeFolder> {
    await this.command(['protect', 'volume', backing, '--name', name, '--on', 'server'])
    await this.untilSettled(name, 0)
    return volumeFolderOf(join(this.home, 'agent'), { id: (await this.known(name)).id as Id })
  }

  /** A source that is paused keeps its place in the server's log. */
  async pause(name: string): Promise<void> {
    await this.ask('POST', `/v1/sources/${name}/pause`)
    await until(`${name} to be paused`, async () => (await this.source(name))?.state === 'paused')
  }

  async resume(name: string): Promise<void> {
    await this.ask('POST', `/v1/sources/${name}/resume`)
  }

  async known(name: string): Promise<SourceStatus> {
    const source = await this.source(name)
    if (source === undefined) throw new Error(`the vault knows no source ${name}`)
    return source
  }

  /** By which a PostgreSQL source is known to its server: the name of its slot, and of the application. */
  async slotOf(name: string): Promise<string> {
    return slotOf({ id: (await this.known(name)).id as Id })
  }

  /** Until the tree of a PostgreSQL source has had so many complete baselines. */
  async untilBaselines(name: string, count: number): Promise<void> {
    await until(`baseline ${count} of ${name} to be complete`, async () => {
      this.#vault?.assertRunning()
      this.#agent?.assertRunning()
      const told = await this.askText('GET', `/v1/sources/${name}/content?path=/baselines`)
      return lines(told).length >= count
    })
  }

  /** Until all that was changed up to now is durable. */
  async untilCovered(name: string): Promise<void> {
    const asked = new Date().toISOString()
    await until(`${name} to be covered`, async () => ((await this.source(name))?.covered ?? '') > asked)
  }

  /** All that the agent has written since its start: but for a few answers to servers, to the link. */
  get agentSentBytes(): number {
    return Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${(this.#agent as Service).pid}/io`, 'utf8'))?.[1])
  }

  /** Until all that is durable can be viewed. */
  async untilIndexed(name: string): Promise<void> {
    await until(`${name} to be indexed`, async () => {
      const source = await this.source(name)
      return source !== undefined && source.indexed === source.sequence
    })
  }

  /**
   * Until a comparison with the source that began after `sequence` is complete in the journal: the span in which the
   * tree may be behind is closed by a durable mark. Answered by the vault from what it has indexed.
   */
  async untilSettled(name: string, sequence: number): Promise<void> {
    await until(`${name} to be complete`, async () => {
      this.#vault?.assertRunning()
      this.#agent?.assertRunning()
      const source = await this.source(name)
      if (source?.state === 'damaged') throw new Error(`${name}: ${JSON.stringify(source)}`)
      if (source === undefined || source.state !== 'protected' || source.indexed <= sequence) return false
      const points = await this.points(name)
      const spans = points.filter((row) => row.kind === 'suspect' && row.sequence > sequence)
      return spans.length > 0 && spans.every((span) => span.until !== undefined)
    })
  }

  async source(name: string): Promise<SourceStatus | undefined> {
    const status = (await this.ask('GET', '/v1/status')) as VaultStatus
    return status.sources.find((source) => source.name === name)
  }

  async points(name: string): Promise<PointRow[]> {
    return lines<PointRow>(await this.askText('GET', `/v1/sources/${name}/points?limit=200`))
  }

  async ask(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
    return JSON.parse(await this.askText(method, path, body))
  }

  /** Over a connection that is kept, so that asking often costs little. */
  askText(method: 'GET' | 'POST', path: string, body?: unknown): Promise<string> {
    const content = body === undefined ? undefined : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const request = http.request(
        {
          socketPath: join(this.home, 'vault', 'api.sock'),
          agent: this.#questions,
          method,
          path,
          headers: content === undefined ? {} : { 'content-type': 'application/json' },
        },
        (answer) => {
          const pieces: Buffer[] = []
          answer.on('data', (piece: Buffer) => pieces.push(piece))
          answer.on('error', reject)
          answer.on('end', () => {
            const text = Buffer.concat(pieces).toString()
            if (answer.statusCode === 200) resolve(text)
            else reject(new NotAnswered(`${method} ${path}: ${answer.statusCode} ${text}`, answer.statusCode ?? 0))
          })
        },
      )
      request.on('error', reject)
      request.end(content)
    })
  }

  command(parameters: readonly string[], environment: Record<string, string> = {}): Promise<Finished> {
    return run(this.#words(parameters), { environment: { TIDEMARK_HOME: this.home, ...environment } })
  }

  /** The command as a program that runs until it is told to stop. */
  service(parameters: readonly string[]): Service {
    return new Service(this.#words(parameters), { environment: { TIDEMARK_HOME: this.home } })
  }

  /** SHA-256 of a file of a source. */
  async digest(source: string, path: string): Promise<string> {
    const copy = join(this.home, 'copy')
    const words = this.#words(['cat', `${source}:${path}`])
    const script = 'copy=$1; shift; "$@" > "$copy" && sha256sum "$copy" && rm "$copy"'
    const { output } = await runScript(script, [copy, ...words], { environment: { TIDEMARK_HOME: this.home } })
    return output.split(' ')[0] as string
  }

  #words(parameters: readonly string[]): string[] {
    const vault = join(this.home, 'vault')
    return [process.execPath, '--disable-warning=ExperimentalWarning', mainFile, '--vault', vault, ...parameters]
  }

  get vaultBytes(): number {
    return storedBytes(join(this.home, 'vault'))
  }

  get derivedBytes(): number {
    return storedBytes(join(this.home, 'vault', 'derived'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#questions.destroy()
    await this.#console?.[Symbol.asyncDispose]()
    await this.stopAgent()
    await this.stopVault()
  }

  #service(what: string, parameters: readonly string[]): Service {
    const { profileDirectory } = this.#options
    const profile =
      profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(profileDirectory, what)}`]
    return new Service(
      [process.execPath, '--disable-warning=ExperimentalWarning', ...profile, mainFile, ...parameters],
      {
        environment: { TIDEMARK_HOME: this.home, ...this.#options.environment },
      },
    )
  }

  async #answers(what: 'vault' | 'agent', service: Service): Promise<void> {
    await until(`the ${what}`, () => {
      service.assertRunning()
      return isListening(join(this.home, what, 'api.sock'))
    })
  }
}

export class NotAnswered extends Error {
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

export const lines = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
