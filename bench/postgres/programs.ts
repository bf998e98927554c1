import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { serverOwner } from '../../test/support/postgres-program.ts'

/** Where Debian and Fedora keep the server's programs; the newest that has all that is measured with. */
const folders = ['/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin']
const needed = ['postgres', 'initdb', 'pgbench', 'pg_receivewal', 'pg_basebackup', 'pg_waldump']

const folder = globSync(folders)
  .filter((one) => needed.every((name) => existsSync(join(one, name))))
  .toSorted((one, other) => majorOf(one) - majorOf(other))
  .at(-1)

export const isPostgresInstalled = folder !== undefined

export function postgresProgram(name: string): string {
  if (folder === undefined)
    throw new Error(`no PostgreSQL server was found (${folders.join(', ')}): apt-get install postgresql`)
  return join(folder, name)
}

/** A server refuses to be root, so root lends it an ordinary user. */
export const owner = serverOwner()

function majorOf(path: string): number {
  return Number(/(\d+)\/bin$/.exec(path)?.[1] ?? 0)
}
