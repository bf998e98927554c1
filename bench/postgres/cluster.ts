import { appendFileSync, chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { connect, type Connection } from '../../src/capture/postgres/protocol/connection.ts'
import { parsePostgresUrl } from '../../src/capture/postgres/protocol/url.ts'
import { type Lsn, parseLsn } from '../../src/model/lsn.ts'
import { run, Service, until } from '../command.ts'
import { owner, postgresProgram } from './programs.ts'

export type Parameters = Readonly<Record<string, string>>

/** Nothing happens at a time of its own: no checkpoint by the clock, no vacuum. What is synced is as by default. */
const steady: Parameters = {
  autovacuum: 'off',
  checkpoint_timeout: '1h',
  listen_addresses: '',
  max_connections: '100',
  max_replication_slots: '40',
  max_wal_senders: '40',
  max_wal_size: '8GB',
  shared_buffers: '256MB',
}

/** A PostgreSQL server of this machine's packages, in a folder of its own, reached over a socket in it. */
export class Cluster implements AsyncDisposable {
  readonly folder: string
  readonly data: string
  readonly port: number
  #server: Service | undefined
  #session: Connection | undefined

  private constructor(folder: string, data: string, port: number) {
    this.folder = folder
    this.data = data
    this.port = port
  }

  /** In a new folder `name` of `place`. */
  static async create(place: string, name: string, parameters: Parameters = {}): Promise<Cluster> {
    const folder = openFolder(place, name)
    const cluster = new Cluster(folder, join(folder, 'data'), 5432)
    await run(
      [
        postgresProgram('initdb'),
        '-D',
        cluster.data,
        '-U',
        'postgres',
        '-A',
        'trust',
        '-N',
        '--locale=C',
        '-E',
        'UTF8',
      ],
      {
        user: owner,
      },
    )
    cluster.configure({ ...steady, unix_socket_directories: folder, port: '5432', ...parameters })
    await cluster.start()
    return cluster
  }

  /** A data directory that something else has made; it is not started. Its socket is put into a folder of its own. */
  static of(place: string, name: string, data: string): Cluster {
    const cluster = new Cluster(openFolder(place, name), data, 5433)
    cluster.configure({ unix_socket_directories: cluster.folder, port: '5433' })
    return cluster
  }

  /** For our agent, and for whoever takes a connection string. */
  get url(): string {
    return urlOf(this.folder, this.port)
  }

  /** For libpq. */
  get environment(): Record<string, string> {
    return { PGHOST: this.folder, PGPORT: String(this.port), PGUSER: 'postgres', PGDATABASE: 'postgres' }
  }

  /** Later settings count. */
  configure(parameters: Parameters): void {
    const lines = Object.entries(parameters).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    appendFileSync(join(this.data, 'postgresql.conf'), lines.join(''))
  }

  /** Until it takes connections; a server that recovers takes them before it is done. */
  async start(): Promise<void> {
    const server = new Service([postgresProgram('postgres'), '-D', this.data], {
      user: owner,
      directory: '/',
      stopSignal: 'SIGINT',
    })
    this.#server = server
    const pidFile = join(this.data, 'postmaster.pid')
    await until(
      'the server to be ready',
      () => {
        server.assertRunning()
        const lines = existsSync(pidFile) ? readFileSync(pidFile, 'utf8').split('\n') : []
        return lines[0] === String(server.pid) && /^(?:ready|standby)/.test(lines[7] ?? '')
      },
      { everyMs: 5 },
    )
  }

  /** Rows of the last command of `text`, over one connection that is kept, so that asking often costs little. */
  async sql(text: string): Promise<readonly (readonly (string | null)[])[]> {
    this.#session ??= await openSession(this.url)
    return (await this.#session.query(text)).at(-1)?.rows ?? []
  }

  async value(text: string): Promise<string> {
    return (await this.sql(text))[0]?.[0] ?? ''
  }

  async lsn(text: string): Promise<Lsn> {
    return parseLsn(await this.value(text))
  }

  /** End of what is on its disk. */
  flushed(): Promise<Lsn> {
    return this.lsn('SELECT pg_current_wal_flush_lsn()')
  }

  async restart(parameters: Parameters): Promise<void> {
    await this.stop()
    this.configure(parameters)
    await this.start()
  }

  /** As an operator stops it. */
  async stop(): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]()
    this.#session = undefined
    await this.#server?.[Symbol.asyncDispose]()
    this.#server = undefined
  }

  /** What was kept for somebody who has gone is kept no longer. */
  async dropSlots(): Promise<void> {
    await until(
      'nobody to follow the log',
      async () => (await this.value('SELECT count(*) FROM pg_stat_replication')) === '0',
    )
    await this.sql('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
  }

  /** Without a goodbye: the postmaster and all its children, as when the power goes. */
  async kill(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await this.#session?.[Symbol.asyncDispose]()
    this.#session = undefined
    if (server === undefined || !server.isRunning) return
    // Stopped first, it starts no more children; they end of themselves when they see that it has gone, or are ended here.
    process.kill(server.pid, 'SIGSTOP')
    const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ').filter(Boolean)
    process.kill(server.pid, 'SIGKILL')
    for (const child of children) killIfThere(Number(child))
    await until('the server to be gone', () => !server.isRunning, { everyMs: 1 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

export const urlOf = (folder: string, port: number): string =>
  `postgres:///postgres?host=${encodeURIComponent(folder)}&port=${port}&user=postgres`

export async function openSession(url: string): Promise<Connection> {
  const target = parsePostgresUrl(url, 'postgres')
  return await connect({ target, purpose: 'database', clock: systemClock, random: systemRandom })
}

/** A folder that the server's user owns, below one that only this user may read. */
export function openFolder(place: string, name: string): string {
  const folder = join(place, name)
  chmodSync(place, 0o711)
  mkdirSync(folder)
  if (owner) chownSync(folder, owner.uid, owner.gid)
  // The path of a socket has at most 107 bytes.
  if (folder.length > 80) throw new Error(`${folder} is too long a path for a socket: set TMPDIR to a shorter one`)
  return folder
}

/** Kills the server that runs on a data directory, whoever started it. */
export async function killServerOf(data: string): Promise<void> {
  const pidFile = join(data, 'postmaster.pid')
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8').split('\n')[0]) : 0
  if (pid <= 0) return
  // Of a server that was killed before, the file stays, and its number may be another's now.
  const isServer = (): boolean =>
    existsSync(`/proc/${pid}/cwd`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(data)
  if (!isServer()) return
  process.kill(pid, 'SIGQUIT')
  await until('the server to be gone', () => !isServer())
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // It ended with its postmaster.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
