import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { systemRandom } from '../src/base/random.ts'
import { connect, type Connection } from '../src/capture/postgres/protocol/connection.ts'
import { parsePostgresUrl } from '../src/capture/postgres/protocol/url.ts'
import {
  availableMajors,
  initdb,
  type PostgresMajor,
  serverOwner,
  spawnPostgres,
} from '../test/support/postgres-program.ts'
import { pause, until } from './screen.ts'

export const databaseName = 'office'

/** Synced and logged as a server that matters is, and reached over a socket only, in a folder that only its owner enters. */
const settings = (folder: string): string => `
listen_addresses = ''
unix_socket_directories = '${folder}'
shared_buffers = '64MB'
max_slot_wal_keep_size = '10GB'
`
const accessRules = 'local all all trust\nlocal replication all trust\n'

/** 17, or the newest one there is for this machine. */
export function chooseMajor(): PostgresMajor {
  const majors = availableMajors()
  const major = majors.includes(17) ? 17 : majors.at(-1)
  if (major === undefined) throw new Error('there is no PostgreSQL server: run "node scripts/setup.mjs --engines"')
  return major
}

/** A new cluster, running, with a role for the agent and a database for the business. */
export async function createCluster(major: PostgresMajor, data: string): Promise<void> {
  const folder = dirname(data)
  mkdirSync(folder, { mode: 0o700 })
  const owner = serverOwner()
  if (owner) chownSync(folder, owner.uid, owner.gid)
  initdb(major, data, [])
  appendFileSync(join(data, 'postgresql.conf'), settings(folder))
  writeFileSync(join(data, 'pg_hba.conf'), accessRules)
  await startCluster(major, data, join(folder, 'server.log'))
  await using administrator = await connectTo(data, 'postgres')
  await administrator.query('CREATE ROLE tidemark LOGIN REPLICATION')
  await administrator.query(`CREATE DATABASE ${databaseName}`)
}

async function startCluster(major: PostgresMajor, data: string, logFile: string): Promise<void> {
  const log = openSync(logFile, 'a')
  const server = spawnPostgres(major, data, log)
  closeSync(log)
  await once(server, 'spawn')
  await until('PostgreSQL', () => {
    if (server.exitCode !== null) throw new Error(`PostgreSQL did not start:\n${readFileSync(logFile, 'utf8')}`)
    return serverOf(data)?.state === 'ready'
  })
}

interface RunningServer {
  readonly pid: number
  readonly port: number
  readonly socketFolder: string
  readonly state: string
}

/** The server that runs in a data directory, by its own word (postmaster.pid): also one that a restore has started. */
function serverOf(data: string): RunningServer | undefined {
  const file = join(data, 'postmaster.pid')
  if (!existsSync(file)) return undefined
  const lines = readFileSync(file, 'utf8').split('\n')
  const pid = Number(lines[0])
  if (!runsIn(data, pid)) return undefined
  return { pid, port: Number(lines[3]), socketFolder: lines[4] ?? '', state: lines[7]?.trim() ?? '' }
}

/** A server works in its data directory; another process may have got its number. */
function runsIn(data: string, pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === data
  } catch {
    return false
  }
}

export function addressOf(data: string): RunningServer {
  const server = serverOf(data)
  if (server === undefined) throw new Error(`no PostgreSQL server runs in ${data}`)
  return server
}

export function urlOf(data: string, user: string, database = databaseName): string {
  const { socketFolder, port } = addressOf(data)
  return `postgres://${user}@/${database}?host=${encodeURIComponent(socketFolder)}&port=${port}`
}

/** As the superuser. The caller disposes of it. */
export function connectTo(data: string, database = databaseName): Promise<Connection> {
  const target = parsePostgresUrl(urlOf(data, 'postgres', database), 'postgres')
  return connect({ target, purpose: 'database', clock: systemClock, random: systemRandom })
}

/** The name of whom a server runs as where this process is root. */
export function serverUserName(): string | undefined {
  const owner = serverOwner()
  if (owner === undefined) return undefined
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  return users.find((line) => line.split(':')[2] === String(owner.uid))?.split(':')[0]
}

/** At once: what it holds is removed after it. */
export async function stopCluster(data: string): Promise<void> {
  const server = serverOf(data)
  if (server === undefined) return
  process.kill(server.pid, 'SIGQUIT')
  for (let waited = 0; runsIn(data, server.pid) && waited < 5000; waited += 20) await pause(20)
}
