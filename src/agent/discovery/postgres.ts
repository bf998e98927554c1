import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Discovered } from '../../api/tasks.ts'
import type { Clock } from '../../base/clock.ts'
import { isSystemError, messageOf, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { checkServer } from '../../capture/postgres/preconditions.ts'
import { hasSqlState } from '../../capture/postgres/protocol/database-error.ts'
import { parsePostgresUrl } from '../../capture/postgres/protocol/url.ts'
import type { Account } from '../../capture/postgres/server.ts'
import { defaultPostgres } from '../../model/source.ts'

/** A server that runs here, as its process and its files tell. */
export interface Postmaster {
  readonly pid: number
  readonly dataDirectory: string
  readonly port: number
  /** Absent where it has no socket. */
  readonly socketFolder?: string
  readonly version: string
}

type Found = Discovered['postgres'][number]

const postmastersMax = 64
const askMsMax = 5_000
const programs = new Set(['postgres', 'postmaster'])
/** Tried in this order: a role made for it, who asks, and whom packages make. */
const rolesFor = ({ user }: Account): string[] => [...new Set(['tidemark', user, 'postgres'])]

/** A postmaster works in its data directory, whose postmaster.pid says where it listens. */
export function postmastersHere(proc = '/proc'): Postmaster[] {
  const found: Postmaster[] = []
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name) || found.length >= postmastersMax) continue
    const folder = join(proc, name)
    const comm = textOf(join(folder, 'comm'))?.trim()
    if (comm === undefined || !programs.has(comm)) continue
    const dataDirectory = linkOf(join(folder, 'cwd'))
    const lines = dataDirectory === undefined ? undefined : textOf(join(dataDirectory, 'postmaster.pid'))?.split('\n')
    // Its children work there too, and are not named in it.
    if (dataDirectory === undefined || lines === undefined || Number(lines[0]) !== Number(name)) continue
    const [, , , port, socketFolder = ''] = lines
    found.push({
      pid: Number(name),
      dataDirectory,
      port: Number(port),
      ...(socketFolder.trim() === '' ? {} : { socketFolder: socketFolder.trim() }),
      version: versionOf(linkOf(join(folder, 'exe'))) ?? textOf(join(dataDirectory, 'PG_VERSION'))?.trim() ?? '',
    })
  }
  return found
}

export interface Asking {
  readonly account: Account
  readonly clock: Clock
  readonly random: Random
}

/** How it would be protected, and what stands in the way of that. */
export async function describePostmaster(found: Postmaster, asking: Asking, signal: AbortSignal): Promise<Found> {
  const { dataDirectory, version } = found
  let told: Found | undefined
  for (const role of rolesFor(asking.account)) {
    const url = urlOf(found, role)
    const problems = await problemsOf(url, role, asking, signal)
    if (problems !== 'other-role') return { url, version, dataDirectory, problems }
    told ??= { url, version, dataDirectory, problems: [noRole(role)] }
  }
  return told as Found
}

const urlOf = ({ port, socketFolder }: Postmaster, role: string): string =>
  socketFolder === undefined
    ? `postgres://${role}@127.0.0.1:${port}/postgres`
    : `postgres://${role}@/postgres?host=${encodeURIComponent(socketFolder)}&port=${port}`

const notThisRole = ['28000', '28P01']

async function problemsOf(
  url: string,
  role: string,
  { account, clock, random }: Asking,
  signal: AbortSignal,
): Promise<Found['problems'] | 'other-role'> {
  const late = new AbortController()
  const over = new AbortController()
  void clock.sleep(askMsMax, over.signal).then(
    () => late.abort(new TidemarkError('unreachable', { message: `no answer within ${askMsMax / 1000} s` })),
    () => undefined,
  )
  try {
    const { findings } = await checkServer(
      {
        target: parsePostgresUrl(url, role),
        settings: defaultPostgres,
        account,
        applicationName: 'tidemark-discover',
        clock,
        random,
      },
      AbortSignal.any([signal, late.signal]),
    )
    if (findings.some(({ code }) => code === 'connection-refused')) return 'other-role'
    return findings.map(({ code, message, hint }) => ({ code, message, hint }))
  } catch (error) {
    signal.throwIfAborted()
    if (notThisRole.some((state) => hasSqlState(error, state))) return 'other-role'
    const hint = error instanceof TidemarkError ? error.hint : undefined
    const code = error instanceof TidemarkError ? error.code : 'failed'
    return [{ code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) }]
  } finally {
    over.abort()
  }
}

const noRole = (role: string): Found['problems'][number] => ({
  code: 'connection-refused',
  message: `no role of this server lets the agent in, neither ${role} nor another that is usual`,
  hint:
    `as a superuser: CREATE ROLE ${role} LOGIN REPLICATION; in pg_hba.conf, above any line that rejects it: ` +
    `"local all ${role} peer map=tidemark" and "local replication ${role} peer map=tidemark"; in pg_ident.conf: ` +
    `"tidemark <user of the agent> ${role}"; then SELECT pg_reload_conf();`,
})

function versionOf(program: string | undefined): string | undefined {
  if (program === undefined) return undefined
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', timeout: askMsMax })
  return status === 0 ? /(\d+(?:\.\d+)*|\d+\w+)/.exec(stdout)?.[1] : undefined
}

const textOf = (file: string): string | undefined => readable(() => readFileSync(file, 'utf8'))
const linkOf = (file: string): string | undefined => readable(() => readlinkSync(file))

/** Processes of others, and those that have ended, tell nothing. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'EACCES', 'EPERM', 'ESRCH', 'EINVAL')) return undefined
    throw error
  }
}
