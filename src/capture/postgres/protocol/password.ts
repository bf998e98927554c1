import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isSystemError, messageOf, TidemarkError } from '../../../base/errors.ts'
import { Secret } from './secret.ts'
import type { PostgresTarget } from './target.ts'
import { defaultSocketFolder } from './url.ts'

export interface PasswordSources {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly homeFolder: string
  readonly purpose: 'replication' | 'database'
}

/**
 * The password for `target`, from the first of: its URL, PGPASSWORD, a password file (the URL's `passfile`, PGPASSFILE,
 * `~/.pgpass`). Undefined where none of them has one, which may be right: the server need not ask.
 */
export async function findPassword(target: PostgresTarget, sources: PasswordSources): Promise<Secret | undefined> {
  if (target.password) return target.password
  const { environment, homeFolder, purpose } = sources
  if (environment['PGPASSWORD']) return new Secret(environment['PGPASSWORD'])
  const file = target.passwordFile ?? (environment['PGPASSFILE'] || join(homeFolder, '.pgpass'))
  const text = await readPasswordFile(file, target.passwordFile !== undefined)
  const { address } = target
  const host = address.kind === 'tcp' ? address.host : address.folder
  return passwordOf(text, [
    host === defaultSocketFolder ? 'localhost' : host,
    String(address.port),
    purpose === 'replication' ? 'replication' : target.database,
    target.user,
  ])
}

async function readPasswordFile(path: string, mustExist: boolean): Promise<string> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) === 0) return await readFile(path, 'utf8')
  } catch (error) {
    if (!mustExist && isSystemError(error, 'ENOENT', 'ENOTDIR')) return ''
    throw new TidemarkError('unreadable', {
      message: `the password file ${path} cannot be read: ${messageOf(error)}`,
      hint: 'the user that this process runs as must own it',
      cause: error,
    })
  }
  throw new TidemarkError('not-allowed', {
    message: `the password file ${path} is open to other users, so it is not used`,
    hint: `run "chmod 600 ${path}"`,
  })
}

/** Lines of `host:port:database:user:password`; `*` stands for anything, `\` makes the next character plain. */
function passwordOf(text: string, wanted: readonly string[]): Secret | undefined {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue
    const fields = line.match(/(?:[^:\\]|\\.)*(?::|$)/gs)
    if (!fields || fields.length < 5) continue
    const given = fields.slice(0, 4).map((field) => field.slice(0, -1))
    if (!given.every((field, at) => field === '*' || plain(field) === wanted[at])) continue
    // What follows the fourth colon is the password up to a colon that is not escaped.
    const password = plain((fields[4] as string).replace(/:$/, ''))
    return password === '' ? undefined : new Secret(password)
  }
  return undefined
}

const plain = (field: string): string => field.replaceAll(/\\(.)/gs, '$1')
