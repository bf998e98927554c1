import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { baseBackup } from '../../src/capture/postgres/protocol/base-backup.ts'
import { type Connecting, connect, type Connection } from '../../src/capture/postgres/protocol/connection.ts'
import { parsePostgresUrl } from '../../src/capture/postgres/protocol/url.ts'
import { freePort } from './free-port.ts'
import {
  childrenOf,
  initdb,
  isRunning,
  isStopped,
  type PostgresMajor,
  serverOwner,
  spawnPostgres,
} from './postgres-program.ts'

/** What is said in postgresql.conf, by parameter; strings are quoted here. */
export type Settings = Readonly<Record<string, string | number | boolean>>

export interface ClusterOptions {
  readonly major: PostgresMajor
  readonly settings?: Settings
  /**
   * Lines of pg_hba.conf for all but the user `postgres` on the socket, who always comes in. Unless given, everybody on
   * this machine comes in without a password, for replication too.
   */
  readonly hba?: readonly string[]
  readonly initdbArgs?: readonly string[]
}

const readyMsMax = 60_000
const openHba = ['local all all trust', 'local replication all trust'].concat(
  ['127.0.0.1/32', '::1/128'].flatMap((from) => [`host all all ${from} trust`, `host replication all ${from} trust`]),
)

/**
 * Small and quick. What is synced does not matter: it is servers that die here, never the machine. Only what a test does is
 * committed: a slow one would see the minute after which a server looks after its tables by itself.
 */
const quick: Settings = {
  autovacuum: false,
  fsync: false,
  shared_buffers: '16MB',
  max_connections: 30,
  min_wal_size: '32MB',
}

/** Servers that run, to be killed when this process ends without having disposed of them. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const server of running) server.kill('SIGQUIT')
})

/**
 * A real PostgreSQL cluster of a test: its own folder, its own port on loopback and a socket in its own folder. Runs
 * when `create` has returned, and is gone after the test. Errors of starting carry the server's log.
 */
export class Cluster {
  readonly major: PostgresMajor
  /** Private to this cluster; `data` and the log are below it, and the socket is in it. */
  readonly folder: string
  readonly data: string
  readonly port: number
  #server: ChildProcess | undefined

  private constructor(major: PostgresMajor, folder: string, port: number) {
    this.major = major
    this.folder = folder
    this.data = join(folder, 'data')
    this.port = port
  }

  static async create(t: TestContext, options: ClusterOptions): Promise<Cluster> {
    const cluster = await Cluster.#inFolder(t, options.major)
    initdb(options.major, cluster.data, options.initdbArgs ?? [])
    writeFileSync(join(cluster.data, 'pg_hba.conf'), hbaFile(options.hba ?? openHba))
    cluster.configure({ ...quick, ...options.settings, ...cluster.#place() })
    await cluster.start()
    return cluster
  }

  /** Another cluster of the same version, from a data directory that `fill` makes; it is not started. */
  static async from(t: TestContext, major: PostgresMajor, fill: (data: string) => Promise<void> | void) {
    const cluster = await Cluster.#inFolder(t, major)
    mkdirSync(cluster.data, { mode: 0o700 })
    await fill(cluster.data)
    giveToServer(cluster.data)
    chmodSync(cluster.data, 0o700)
    cluster.configure(cluster.#place())
    return cluster
  }

  static async #inFolder(t: TestContext, major: PostgresMajor): Promise<Cluster> {
    const folder = mkdtempSync(join(shortTemporaryFolder(), 'tidemark-pg-'))
    const owner = serverOwner()
    if (owner) chownSync(folder, owner.uid, owner.gid)
    const cluster = new Cluster(major, folder, await freePort())
    t.after(() => cluster.#dispose())
    return cluster
  }

  get socketFolder(): string {
    return this.folder
  }

  /** As user `postgres`, over the socket. */
  get url(): string {
    return `postgres:///postgres?host=${encodeURIComponent(this.folder)}&port=${this.port}&user=postgres`
  }

  /** As user `postgres`, over the socket, unless `parts` say otherwise. The caller disposes of it. */
  connect(purpose: Connecting['purpose'], parts: Partial<Connecting> = {}): Promise<Connection> {
    const target = parsePostgresUrl(this.url, 'postgres')
    return connect({ target, purpose, clock: systemClock, random: systemRandom, ...parts })
  }

  /** Rows of the last command of `text`, over a connection of its own. */
  async sql(text: string): Promise<readonly (readonly (string | null)[])[]> {
    await using connection = await this.connect('database')
    return (await connection.query(text)).at(-1)?.rows ?? []
  }

  /** Makes a standby a primary, on a new timeline. */
  async promote(): Promise<void> {
    const [row] = await this.sql('SELECT pg_promote(true, 60)')
    if (row?.[0] !== 't') throw this.#failure('was not promoted')
  }

  /** What the server has written since the cluster was made. */
  get log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : ''
  }

  get #logFile(): string {
    return join(this.folder, 'server.log')
  }

  #place(): Settings {
    return { port: this.port, listen_addresses: '127.0.0.1', unix_socket_directories: this.folder }
  }

  /** Adds to postgresql.conf; later lines count. Known to the server after `reload` or `restart`. */
  configure(settings: Settings): void {
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoted(value)}\n`)
    appendFileSync(join(this.data, 'postgresql.conf'), lines.join(''))
  }

  setHba(lines: readonly string[]): void {
    writeFileSync(join(this.data, 'pg_hba.conf'), hbaFile(lines))
  }

  reload(): void {
    this.#server?.kill('SIGHUP')
  }

  /**
   * Resolves when settings that a connection shows are heeded by all: whether commits wait, every process knows from the
   * checkpointer, which may be later than those that show the setting, and is asked for a checkpoint behind it.
   */
  async heeds(): Promise<void> {
    await this.sql('CHECKPOINT')
  }

  /** `more` is given on its command line, which overrules every file. */
  async start(more: readonly string[] = []): Promise<void> {
    const log = openSync(this.#logFile, 'a')
    const server = spawnPostgres(this.major, this.data, log, more)
    closeSync(log)
    this.#server = server
    running.add(server)
    server.once('exit', () => running.delete(server))
    await once(server, 'spawn')
    const pidFile = join(this.data, 'postmaster.pid')
    for (let waited = 0; ; waited += 20) {
      if (server.exitCode !== null || server.signalCode !== null) throw this.#failure('did not start')
      if (waited > readyMsMax) throw this.#failure(`was not ready after ${readyMsMax} ms`)
      // Its first line is the process, its eighth the state.
      const lines = existsSync(pidFile) ? readFileSync(pidFile, 'utf8').split('\n') : []
      if (lines[0] === String(server.pid) && /^(?:ready|standby)/.test(lines[7] ?? '')) return
      await sleep(20)
    }
  }

  /** `immediate` leaves the cluster as a crash does. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    const inTime = new AbortController()
    const tooLong = sleep(readyMsMax, false, { signal: inTime.signal }).catch(() => false)
    const hasEnded = await Promise.race([ended.then(() => true), tooLong])
    inTime.abort()
    if (hasEnded) return
    this.#server = server
    throw this.#failure(`did not stop (${mode}) within ${readyMsMax} ms`)
  }

  async restart(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** All its processes at once, as when the power goes. */
  async kill(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server?.pid === undefined || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    // Stopped first, it starts no more children.
    server.kill('SIGSTOP')
    while (!isStopped(server.pid)) await sleep(5)
    const children = childrenOf(server.pid)
    server.kill('SIGKILL')
    for (const child of children) killIfThere(child)
    await ended
    while (children.some(isRunning)) await sleep(5)
  }

  /** A stopped cluster's files, as a standby that follows this one over the socket; it is not started. */
  async standbyOfFiles(t: TestContext, settings: Settings = {}): Promise<Cluster> {
    if (this.#server !== undefined) throw new Error('the cluster must be stopped while its files are copied')
    const standby = await Cluster.from(t, this.major, (data) =>
      cpSync(this.data, data, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.pid') }),
    )
    standby.follow(this, settings)
    return standby
  }

  /** A standby that follows this running cluster over the socket, made by our own base backup; it is not started. */
  async standby(t: TestContext, settings: Settings = {}): Promise<Cluster> {
    const standby = await Cluster.from(t, this.major, (data) => this.backUpTo(data))
    standby.follow(this, settings)
    return standby
  }

  /** A base backup into an empty folder, as `pg_basebackup` would leave it. For clusters without other tablespaces. */
  async backUpTo(data: string): Promise<void> {
    await using connection = await this.connect('replication')
    const tar = spawn('tar', ['-x', '-f', '-', '-C', data], { stdio: ['pipe', 'ignore', 'inherit'] })
    const unpacked = once(tar, 'exit')
    const manifest: Buffer[] = []
    let isManifest = false
    for await (const event of baseBackup(connection, { label: 'test' })) {
      if (event.kind === 'manifest') isManifest = true
      if (event.kind === 'data' && isManifest) manifest.push(Buffer.from(event.bytes))
      // Written at once: the bytes hold only until the next event.
      else if (event.kind === 'data') await new Promise((written) => tar.stdin.write(event.bytes, written))
    }
    tar.stdin.end(Buffer.alloc(1024))
    const [status] = await unpacked
    if (status !== 0) throw new Error(`tar ended with ${status}`)
    if (isManifest) writeFileSync(join(data, 'backup_manifest'), Buffer.concat(manifest))
  }

  /** Makes it a standby of `primary` from its next start on. */
  follow(primary: Cluster, settings: Settings = {}): void {
    const conninfo = `host=${primary.socketFolder} port=${primary.port} user=postgres application_name=standby`
    this.configure({ primary_conninfo: conninfo, hot_standby: true, ...settings })
    const signal = join(this.data, 'standby.signal')
    writeFileSync(signal, '')
    giveToServer(signal)
  }

  #failure(what: string): Error {
    return new Error(`PostgreSQL ${this.major} in ${this.folder} ${what}; its log:\n${this.log.slice(-8000)}`)
  }

  async #dispose(): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const hbaFile = (lines: readonly string[]): string =>
  `${['local all postgres trust', 'local replication postgres trust', ...lines].join('\n')}\n`

const quoted = (value: string | number | boolean): string =>
  typeof value === 'string'
    ? `'${value.replaceAll("'", "''")}'`
    : typeof value === 'boolean'
      ? value
        ? 'on'
        : 'off'
      : String(value)

/** The path of a socket has at most 107 bytes. */
const shortTemporaryFolder = (): string => (tmpdir().length > 60 ? '/tmp' : tmpdir())

function giveToServer(path: string): void {
  const owner = serverOwner()
  if (!owner) return
  lchownSync(path, owner.uid, owner.gid)
  for (const entry of isFolder(path) ? readdirSync(path, { recursive: true, encoding: 'utf8' }) : []) {
    lchownSync(join(path, entry), owner.uid, owner.gid)
  }
}

function isFolder(path: string): boolean {
  try {
    readdirSync(path)
    return true
  } catch {
    return false
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended with its postmaster.
  }
}
