import { type ChildProcess, type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { systemClock } from '../../src/base/clock.ts'
import { lacking } from '../run/programs.ts'
import { until } from './until.ts'
import { ended } from './volume-device.ts'
import type { Found, TransactionRecord } from './volume-record.ts'

const clients = 3
const transactionParts = 3
const nameOf = (client: number): string => `mariadb client ${client}`
export const mariadbUsers: readonly string[] = Array.from({ length: clients }, (_, index) => nameOf(index + 1))
/** Debian has it where only root looks. */
const programs = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }

/** For the `skip` of a test with MariaDB. */
export const lackingMariadb = (): string | false => lacking('mariadbd', 'mariadb-install-db', 'mariadb')

/** As a server that means it. Small, and it writes pages as soon as they change, so that points lie in the middle of that. */
const settings = [
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-doublewrite=ON',
  '--innodb-log-file-size=4M',
  '--innodb-buffer-pool-size=8M',
  '--innodb-max-dirty-pages-pct=0',
  '--innodb-max-dirty-pages-pct-lwm=0',
  '--performance-schema=OFF',
  '--skip-networking',
  '--skip-grant-tables',
]

/** Of the file system of a volume. */
const dataFolder = (mounted: string): string => join(mounted, 'mariadb')

/** A server whose files are on a volume; its socket and what it says are not. */
class MariadbServer {
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #scratch: string

  private constructor(process: ChildProcess, scratch: string) {
    this.#process = process
    this.#scratch = scratch
    this.#ended = once(process, 'exit').then(() => rmSync(scratch, { recursive: true }))
  }

  static async start(data: string): Promise<MariadbServer> {
    const scratch = mkdtempSync(join(tmpdir(), 'tidemark-mariadb-'))
    const place = [
      `--datadir=${data}`,
      `--socket=${scratch}/socket`,
      `--pid-file=${scratch}/pid`,
      `--tmpdir=${scratch}`,
    ]
    const log = openSync(join(scratch, 'log'), 'a')
    const args = ['--no-defaults', '--user=root', ...place, ...settings]
    const child: ChildProcess = spawn('mariadbd', args, { stdio: ['ignore', log, log], env: programs })
    closeSync(log)
    const said = (): string => readFileSync(join(scratch, 'log'), 'utf8').slice(-2000)
    const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null
    await until(said, () => existsSync(join(scratch, 'socket')) || isOver(), startMsMax)
    if (!isOver()) return new MariadbServer(child, scratch)
    const why = said()
    rmSync(scratch, { recursive: true })
    throw new Error(`mariadbd ended: ${why}`)
  }

  get socket(): string {
    return join(this.#scratch, 'socket')
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#process.kill(signal)
    await this.#ended
  }
}

const startMsMax = 120_000

/** The client program, which is asked one question after the other. */
class MariadbClient implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #closed: Promise<unknown>
  readonly #lines: AsyncIterator<string>
  #problem = ''
  #questions = 0

  constructor({ socket }: MariadbServer) {
    const args = ['--no-defaults', `--socket=${socket}`, '--batch', '--skip-column-names', '--unbuffered']
    this.#child = spawn('mariadb', args, { stdio: ['pipe', 'pipe', 'pipe'], env: programs })
    this.#closed = once(this.#child, 'close')
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#problem += text))
    // Its end is seen by the end of what it says.
    this.#child.stdin.on('error', () => undefined)
  }

  /** Rows, each with its columns. */
  async ask(sql: string): Promise<string[][]> {
    const last = `answered ${++this.#questions}`
    this.#child.stdin.write(`${sql}; SELECT '${last}';\n`)
    const rows: string[][] = []
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done === true) {
        await this.#closed
        throw new Error(`mariadb: ${this.#problem}`)
      }
      if (value === last) return rows
      rows.push(value.split('\t'))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
  }
}

/** Makes a database on a volume, and writes to it by several clients that commit as fast as they are answered, and note it. */
export class MariadbLoad implements AsyncDisposable {
  readonly #server: MariadbServer
  readonly #stop = new AbortController()
  readonly #clients: Promise<unknown>

  private constructor(server: MariadbServer, record: TransactionRecord) {
    this.#server = server
    const all = Array.from({ length: clients }, (_, index) => this.#run(record, index + 1))
    this.#clients = Promise.all(all)
    // Told by whoever disposes of it.
    this.#clients.catch(() => undefined)
  }

  static async begin(mounted: string, record: TransactionRecord): Promise<MariadbLoad> {
    const data = dataFolder(mounted)
    const args = ['--no-defaults', '--user=root', `--datadir=${data}`, '--skip-test-db', '--skip-name-resolve']
    const { status, output } = await ended('mariadb-install-db', [
      ...args,
      '--auth-root-authentication-method=normal',
      '--innodb-log-file-size=4M',
    ])
    if (status !== 0) throw new Error(`mariadb-install-db ended with ${status}: ${output}`)
    const server = await MariadbServer.start(data)
    await using client = new MariadbClient(server)
    await client.ask(`CREATE DATABASE kept; USE kept;
      CREATE TABLE entry (client int, number int, part int, filler blob, PRIMARY KEY (client, number, part), KEY (filler(20)))
        ENGINE=InnoDB;
      CREATE TABLE counter (client int PRIMARY KEY, value int) ENGINE=InnoDB;
      INSERT INTO counter VALUES ${mariadbUsers.map((_, index) => `(${index + 1}, 0)`).join()}`)
    // Not all that mariadb-install-db writes is synced.
    execFileSync('sync', ['-f', data])
    return new MariadbLoad(server, record)
  }

  async #run(record: TransactionRecord, client: number): Promise<void> {
    await using connection = new MariadbClient(this.#server)
    await connection.ask('USE kept')
    for (let number = 1; !this.#stop.signal.aborted; number++) {
      record.begun(nameOf(client), number, systemClock.now())
      await connection.ask(transaction(client, number))
      record.told(nameOf(client), number, systemClock.now())
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    try {
      await this.#clients
    } finally {
      await this.#server.end('SIGTERM')
    }
  }
}

const filler = (client: number | string, number: number | string, part: number | string): string =>
  `repeat(md5(concat(${client}, ' ', ${number})), 10 * ${part})`

function transaction(client: number, number: number): string {
  const parts = Array.from({ length: transactionParts }, (_, index) => index + 1)
  const rows = parts.map((part) => `(${client}, ${number}, ${part}, ${filler(client, number, part)})`)
  return `BEGIN; INSERT INTO entry VALUES ${rows.join()};
    UPDATE counter SET value = ${number} WHERE client = ${client}; COMMIT`
}

/** Starts the server of a file system, as after a power cut, and looks at everything in it. */
export async function foundInMariadb(mounted: string): Promise<readonly Found[]> {
  let server: MariadbServer | undefined
  try {
    server = await MariadbServer.start(dataFolder(mounted))
    await using client = new MariadbClient(server)
    const checked = await client.ask('USE kept; CHECK TABLE entry, counter EXTENDED')
    const damage = checked.filter((row) => row.at(-1) !== 'OK').map((row) => row.join(' '))
    const found: Found[] = []
    for (let number = 1; number <= clients; number++) found.push(await foundOf(client, number))
    return found.map((one) => ({ ...one, problems: [...damage, ...one.problems] }))
  } catch (error) {
    return [{ user: nameOf(1), last: 0, problems: [String(error)] }]
  } finally {
    await server?.end('SIGKILL')
  }
}

async function foundOf(client: MariadbClient, of: number): Promise<Found> {
  const isRight = `filler = ${filler('client', 'number', 'part')}`
  const [row = []] = await client.ask(`SELECT (SELECT value FROM counter WHERE client = ${of}),
    count(*), count(if(parts = ${transactionParts}, 1, NULL)), coalesce(max(number), 0) FROM (
      SELECT number, sum(${isRight}) AS parts FROM entry WHERE client = ${of} GROUP BY number) of_number`)
  const [value, any, whole, newest] = row.map(Number)
  const isWhole = any === value && whole === value && newest === value
  const problems = isWhole ? [] : [`counts ${value}, and holds ${any}, ${whole} of them whole, up to ${newest}`]
  return { user: nameOf(of), last: value ?? 0, problems }
}
