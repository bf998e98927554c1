import type { Command } from 'commander'
import type { ApiClient } from '../api/client.ts'
import type { SourceStatus } from '../api/schemas.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatLsn } from '../model/lsn.ts'
import { formatMoment, isoMoment, type Moment } from '../model/moment.ts'
import { parsePostgresPoint } from '../model/postgres-point.ts'
import { bringBack, type BroughtBack } from '../recover/postgres/bring-back.ts'
import { choosePlace, stateOf } from '../recover/postgres/place.ts'
import { planRecovery, type RecoveryPlan } from '../recover/postgres/plan.ts'
import { majorOf } from '../recover/postgres/prepare.ts'
import { shellWord } from '../recover/postgres/restore-command.ts'
import { findServer, serverUser } from '../recover/postgres/server-programs.ts'
import { apiOrigin } from './api-origin.ts'
import { formatBytes, formatCount, formatDurationMs } from './format.ts'
import type { Parts } from './parts.ts'
import { askOver, describeBringBack, describePlan, fetchCommand, tellPlan } from './postgres.ts'
import { apiTreeReader } from './tree-reader.ts'

export interface PostgresRestoreOptions {
  start?: boolean
  port?: string
  stopAtPause?: boolean
  pgBin?: string
  user?: string
  tablespace: string[]
  wal?: 'all' | 'on-demand'
  dryRun?: boolean
  resume?: boolean
  json?: boolean
}

interface PostgresRestore {
  readonly status: SourceStatus
  readonly at: string
  readonly target: string
}

/** Brings a PostgreSQL source back as a data directory, and starts it where that is asked for. */
export async function restorePostgres(
  client: ApiClient,
  { status, at, target }: PostgresRestore,
  options: PostgresRestoreOptions,
  command: Command,
  parts: Parts,
): Promise<void> {
  const { name } = status
  const path = parts.environment['PATH'] ?? ''
  const tree = apiTreeReader(client, name, parts.signal)
  const plan = await planRecovery(tree, parsePostgresPoint(at, parts.clock.now() as Moment))
  const port = options.port === undefined ? 5432 : portOf(options.port)
  const start = options.start ? findServer(majorOf(plan), options.pgBin, path) : undefined
  const place = choosePlace(target, plan.baseline, tablespacesOf(options.tablespace), serverUser(options.user))
  if (options.dryRun) {
    stateOf(place, options.resume ?? false)
    return parts.out.write(options.json ? `${JSON.stringify({ plan: tellPlan(plan) })}\n` : describePlan(name, plan))
  }
  if (!options.json) parts.out.write(describePlan(name, plan))
  const brought = await bringBack(
    {
      source: name,
      plan,
      place,
      resume: options.resume ?? false,
      pause: options.stopAtPause ?? false,
      start,
      port,
      // Where the server runs as another user than this one, it cannot ask the vault itself.
      wal: options.wal ?? (start === undefined && place.owner !== undefined ? 'all' : 'on-demand'),
      fetchCommand: fetchCommand(command, parts, name, plan),
      path,
    },
    {
      tree,
      origin: (point) => apiOrigin(client, name, `seq:${point.at}`, parts.signal),
      ask: askOver(status, parts),
      clock: parts.clock,
      tell: (progress) => {
        if (options.json) parts.out.write(`${JSON.stringify({ progress })}\n`)
        else if (parts.err.isTerminal) parts.err.write(`\r${describeBringBack(progress)}\x1b[K`)
      },
    },
    parts.signal,
  )
  if (parts.err.isTerminal && !options.json) parts.err.write('\n')
  parts.out.write(
    options.json
      ? `${JSON.stringify({ receipt: receiptOf(name, target, plan, brought) })}\n`
      : describe(target, plan, brought),
  )
}

function portOf(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 1024 && port <= 65_535) return port
  throw new TidemarkError('bad-request', { message: `--port ${text} is no port`, hint: 'give one from 1024 to 65535' })
}

function tablespacesOf(texts: readonly string[]): Map<number, string> {
  return new Map(
    texts.map((text) => {
      const [, oid, folder] = /^(\d+)=(.+)$/.exec(text) ?? []
      if (oid !== undefined && folder !== undefined) return [Number(oid), folder]
      throw new TidemarkError('bad-request', {
        message: `--tablespace ${text} is not of the form OID=DIRECTORY`,
        hint: 'the tablespaces of the source: SELECT oid, spcname FROM pg_tablespace',
      })
    }),
  )
}

const bytesOf = ({ receipts }: BroughtBack): number => receipts.reduce((sum, { bytes }) => sum + bytes, 0)

function receiptOf(source: string, target: string, plan: RecoveryPlan, brought: BroughtBack): Record<string, unknown> {
  const { receipts, changes, running, socketFolder, port, log, baseMs, recoveryMs } = brought
  return {
    source,
    target,
    plan: tellPlan(plan),
    files: receipts.reduce((sum, { files }) => sum + files, 0),
    bytes: bytesOf(brought),
    baseMs: Math.round(baseMs),
    changes,
    notes: receipts.flatMap(({ notes }) => notes),
    ...(running === undefined
      ? {}
      : {
          server: {
            state: running.reached,
            notes: running.notes,
            replayed: formatLsn(running.replayed),
            recoveryMs: Math.round(recoveryMs),
            socketFolder,
            port,
            log,
          },
        }),
    restored: isoMoment(plan.kept?.time ?? plan.base.moment),
  }
}

function describe(target: string, plan: RecoveryPlan, brought: BroughtBack): string {
  const { receipts, changes, running, socketFolder, port, baseMs, recoveryMs } = brought
  const bytes = bytesOf(brought)
  const files = receipts.reduce((sum, one) => sum + one.files, 0)
  const rate = baseMs > 0 ? `, ${formatBytes((bytes / baseMs) * 1000)}/s` : ''
  const lines = [
    `brought back to ${target}: ${formatCount(files)} files, ${formatBytes(bytes)} in ${formatDurationMs(baseMs)}${rate}`,
  ]
  for (const { name, was, is, why } of changes)
    lines.push(`  changed: ${name}: ${was || "''"} -> ${is === '' ? "''" : is} (${why})`)
  for (const note of receipts.flatMap(({ notes }) => notes)) lines.push(`  note: ${note}`)
  const psql = `psql -h ${shellWord(socketFolder)} -p ${port} -d postgres`
  if (running === undefined) {
    lines.push(
      `  start it as its owner with a server of PostgreSQL ${majorOf(plan)}: pg_ctl -D ${shellWord(target)} start`,
      `  then: ${psql}`,
    )
    return `${lines.join('\n')}\n`
  }
  for (const note of running.notes) lines.push(`  note: ${note}`)
  const upTo = plan.kept === undefined ? '' : `, last commit ${formatMoment(plan.kept.time)}`
  lines.push(`  recovered to ${formatLsn(running.replayed)}${upTo} in ${formatDurationMs(recoveryMs)}`)
  if (running.reached === 'paused')
    lines.push(
      '  it is paused at the target and may be read; to open it for writing: SELECT pg_wal_replay_resume()',
      '  to go to another point, stop it and restore again into another directory',
    )
  else lines.push('  it is open for reading and writing, and listens on no network address')
  lines.push(`  connect: ${psql}`)
  return `${lines.join('\n')}\n`
}
