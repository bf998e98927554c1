import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { TidemarkError } from '../../base/errors.ts'
import { preflightFact as fact } from '../../model/preflight.ts'
import type { ServerUser } from './place.ts'

/** The programs of a PostgreSQL server of one major version. */
export interface ServerPrograms {
  readonly folder: string
  /** `postgres (PostgreSQL) 17.10`, as the program itself says. */
  readonly version: string
  readonly libraryFolders: readonly string[]
}

/** In the folder given, else on `path`, else where packages put them. Refuses a server of another major version. */
export function findServer(major: number, given: string | undefined, path: string): ServerPrograms {
  const usual = [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/usr/local/pgsql/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
  ]
  const folders = given === undefined ? [...path.split(delimiter), ...usual] : [given]
  const others: string[] = []
  for (const folder of folders) {
    const version = versionOf(folder)
    if (version === undefined) continue
    if (majorIn(version) === major) return { folder, version, libraryFolders: librariesOf(folder) }
    others.push(`${folder} has ${version}`)
  }
  throw new TidemarkError('unusable-platform', {
    message: `no server of PostgreSQL ${major} was found${others.length > 0 ? `: ${others.join(', ')}` : ''}`,
    hint: `install PostgreSQL ${major} here, or name the folder of its programs with --pg-bin`,
    fact: fact('version-missing', { major }),
  })
}

function versionOf(folder: string): string | undefined {
  const program = join(folder, 'postgres')
  if (folder === '' || !existsSync(program)) return undefined
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

const majorIn = (version: string): number => Number(/\) (\d+)/.exec(version)?.[1])

/** As pg_config says, else where builds have them. */
function librariesOf(folder: string): string[] {
  const { status, stdout } = spawnSync(join(folder, 'pg_config'), ['--pkglibdir'], { encoding: 'utf8' })
  const told = status === 0 ? [stdout.trim()] : []
  return [...told, join(folder, '../lib'), join(folder, '../lib/postgresql')].filter(existsSync)
}

/** Whom a server runs as: PostgreSQL refuses to be root. Undefined where this process is an ordinary user. */
export function serverUser(wanted: string | undefined): ServerUser | undefined {
  if (process.getuid?.() !== 0) {
    if (wanted === undefined) return undefined
    throw new TidemarkError('not-allowed', {
      message: `only root may run the server as ${wanted}`,
      hint: 'leave out --user, and it is yours',
    })
  }
  const name = wanted ?? 'postgres'
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined || uid === '0') {
    throw new TidemarkError('bad-request', {
      message: uid === '0' ? 'the server cannot run as root' : `there is no user "${name}" to run the server as`,
      hint: 'name one with --user',
      ...(uid === '0' ? {} : { fact: fact('server-user-missing', { user: name }) }),
    })
  }
  return { name, uid: Number(uid), gid: Number(gid) }
}
