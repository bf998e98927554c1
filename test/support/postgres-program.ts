import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * The server programs of test/engines, and the user they run as: PostgreSQL refuses to be root, so root lends them an
 * unprivileged user by number, without a change to the machine.
 */
const engines = join(dirname(dirname(import.meta.dirname)), 'test', 'engines', 'node_modules')
export const postgresMajors = [12, 13, 14, 15, 16, 17, 18] as const
export type PostgresMajor = (typeof postgresMajors)[number]

/** The major versions there are servers of here. 12 to 14 are not built for arm64. */
export const availableMajors = (): PostgresMajor[] => postgresMajors.filter((major) => existsSync(packageOf(major)))

/** For the `skip` of a test that needs a server of this version. */
export const lackingPostgres = (major: PostgresMajor): string | false =>
  !availableMajors().includes(major) && `needs PostgreSQL ${major}: node scripts/setup.mjs --engines`

const packageOf = (major: number): string => join(engines, `postgres-${major}-linux-${process.arch}`)

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Undefined where this process is an ordinary user already. */
export function serverOwner(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${name}:`))?.split(':') ?? []
    if (uid && gid && Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) }
  }
  return { uid: 65_534, gid: 65_534 }
}

/** The folder with bin/initdb and bin/postgres, where the user they run as can reach it. */
export function postgresFolder(major: PostgresMajor): string {
  const native = join(packageOf(major), 'native')
  if (!existsSync(join(native, 'bin', 'postgres'))) throw new Error(String(lackingPostgres(major)))
  if (serverOwner() === undefined || isOpenToAll(native)) return native
  const { version } = JSON.parse(readFileSync(join(packageOf(major), 'package.json'), 'utf8')) as { version: string }
  const copy = join(tmpdir(), `tidemark-postgres-${version}`)
  if (!existsSync(copy)) copyFolder(native, copy)
  return copy
}

/** Whether every folder on the way may be entered by every user, as a checkout below /root may not. */
function isOpenToAll(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

function copyFolder(from: string, to: string): void {
  const partial = mkdtempSync(`${to}-`)
  cpSync(from, join(partial, 'native'), { recursive: true, verbatimSymlinks: true })
  try {
    renameSync(join(partial, 'native'), to)
  } catch (error) {
    // Another test was quicker.
    if (!existsSync(to)) throw error
  }
  rmSync(partial, { recursive: true })
}

const environment = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' }

export function initdb(major: PostgresMajor, data: string, args: readonly string[]): void {
  const program = join(postgresFolder(major), 'bin', 'initdb')
  const all = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N', ...args]
  const { status, stdout, stderr, error } = spawnSync(program, all, {
    ...serverOwner(),
    cwd: '/',
    encoding: 'utf8',
    env: environment,
  })
  if (status !== 0) throw new Error(`initdb of version ${major} failed: ${error?.message ?? stdout + stderr}`)
}

export const spawnPostgres = (major: PostgresMajor, data: string, logFd: number, more: readonly string[] = []) =>
  spawn(join(postgresFolder(major), 'bin', 'postgres'), ['-D', data, ...more], {
    ...serverOwner(),
    cwd: '/',
    env: environment,
    stdio: ['ignore', logFd, logFd],
  })

/** Ids of the processes whose parent is `pid`. */
export function childrenOf(pid: number): number[] {
  const list = `/proc/${pid}/task/${pid}/children`
  return existsSync(list) ? readFileSync(list, 'utf8').split(' ').filter(Boolean).map(Number) : []
}

/** Also false for one that has ended and was not yet waited for. */
export const isRunning = (pid: number): boolean => !'ZX'.includes(stateOf(pid))

/** It does nothing more: by SIGSTOP, or because it is gone. */
export const isStopped = (pid: number): boolean => 'TZX'.includes(stateOf(pid))

/** As `ps` shows it; X for one that is gone. */
function stateOf(pid: number): string {
  try {
    return /^\d+ \(.*\) (\S) /s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1] ?? 'X'
  } catch {
    return 'X'
  }
}
