import { resolve as resolvePath } from 'node:path'
import { type Command, Option } from 'commander'
import { type ApiClient, apiPath } from '../api/client.ts'
import type { TaskBody } from '../api/tasks.ts'
import { resolvedPoint, type SourceStatus, vaultStatus } from '../api/schemas.ts'
import { TidemarkError } from '../base/errors.ts'
import { collectLessOften } from '../base/heap.ts'
import { formatMoment } from '../model/moment.ts'
import { fromAbsolute } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import { changeOver, changeOverAt, isRestored } from '../recover/change-over.ts'
import { type Rehearsal, rehearseRestore, restore, type RestoreRequest } from '../recover/restore.ts'
import type { RestoreProgress } from '../recover/progress.ts'
import { unfinishedRestore } from '../recover/state-folder.ts'
import { RestoreIncomplete, type RestoreReceipt } from '../recover/receipt.ts'
import { apiOrigin } from './api-origin.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs } from './format.ts'
import { exitStatus, exitStatusHelp, type Parts } from './parts.ts'
import { postgresPointHelp } from '../model/postgres-point.ts'
import { statusOf } from './postgres.ts'
import { type Preflight, preflight } from './preflight.ts'
import { doTask } from './tasks.ts'
import { type PostgresRestoreOptions, restorePostgres } from './restore-postgres.ts'
import { restoreVolumeSource, type VolumeRestoreOptions } from './restore-volume.ts'

interface RestoreOptions extends PostgresRestoreOptions, VolumeRestoreOptions {
  at: string
  to: string
  system?: string
  path: string[]
  on?: string
  preflight?: boolean
  inPlace?: boolean
}

const collect = (value: string, before: string[]): string[] => [...before, value]

export function restoreCommand(program: Command, parts: Parts): void {
  program
    .command('restore')
    .argument('[source]')
    .description('bring any moment back: into a directory of this machine, or of a volume to a file or device')
    .addOption(new Option('--system <name>', 'all sources of a business system, at one same moment'))
    .option('--at <point>', 'the moment', 'latest')
    .requiredOption(
      '--to <target>',
      'an empty or new directory; /srv/docs comes to DIRECTORY/srv/docs; of a volume a new file, or a block device',
    )
    .option('--path <path>', 'only what is at and below this path of the source; may be repeated', collect, [])
    .option('--start', 'of PostgreSQL: start the server and wait until it has recovered')
    .option('--stop-at-pause', 'of PostgreSQL: stop at the target, to look, and do not open for writing')
    .option('--port <port>', 'of PostgreSQL: names the socket (default: 5432); it listens on no network address')
    .option('--pg-bin <directory>', 'of PostgreSQL: the server programs; else on PATH, and where packages put them')
    .option('--user <name>', 'of PostgreSQL, for root: whom the server runs as (default: postgres)')
    .option(
      '--tablespace <oid=directory>',
      'of PostgreSQL: where one comes to, else DIRECTORY.tablespaces/OID',
      collect,
      [],
    )
    .addOption(
      new Option('--wal <when>', 'of PostgreSQL: fetch the log now, or when recovery asks for it').choices([
        'all',
        'on-demand',
      ]),
    )
    .option('--delta', 'of a volume: read what the target holds, and write only what differs')
    .option('--force', 'of a volume: replace what the target holds')
    .option('--dry-run', 'say what would be done and whether there is room; write nothing')
    .option('--preflight', 'check everything that it would meet here, and how long it would take; write nothing')
    .option('--in-place', 'of files, with --to /: replace what is at the original place, which is kept beside it')
    .option('--on <agent>', 'on that server, as a task of its vault; this command looks on until it ends')
    .option('--resume', 'go on with a restore that did not end')
    .option('--json', 'one JSON object a line: progress, then the receipt')
    .addHelpText(
      'after',
      `${postgresPointHelp}
Examples:
  tidemark restore documents --at "2026-11-22 14:03:11.250" --to /srv/restored
  tidemark restore documents --at "10m ago" --path /srv/docs/plans --to /tmp/plans
  tidemark restore shop --at before:xid:74123 --to /srv/shop --start --stop-at-pause
  tidemark restore machine-7 --at "10m ago" --to /srv/images/machine-7.img
  tidemark restore machine-7 --at mark:before-upgrade --to /dev/vg0/machine-7 --delta
  tidemark restore documents --at "10m ago" --to /srv/restored --preflight
  tidemark restore documents --at "10m ago" --to / --in-place
  tidemark restore documents --to /srv/restored --on spare-server
  tidemark restore --system public-web --at "1h ago" --to /srv/restored
${exitStatusHelp}`,
    )
    .action(async (source: string | undefined, options: RestoreOptions, command: Command) => {
      collectLessOften()
      const client = connect(command, parts)
      if (options.on !== undefined) {
        await doTask(client, taskOf(source, options.on, options), options.json ?? false, parts)
        return
      }
      for (const one of await chosen(client, source, options)) {
        const status = await statusOf(client, one.source)
        if (options.preflight) {
          await preflight(client, preflightOf(status, one, options), options.json ?? false, parts)
          continue
        }
        if (options.inPlace) await restoreInPlace(client, status, one, options, parts)
        else if (status.kind === 'postgres')
          await restorePostgres(client, { status, ...one }, only(options), command, parts)
        else if (status.kind === 'volume') await restoreVolumeSource(client, one, only(options), parts)
        else await restoreOne(client, one, options, parts)
      }
    })
}

/** What an agent can be asked for. */
function taskOf(source: string | undefined, agent: string, options: RestoreOptions): TaskBody {
  const { system, at, to, path: paths, start = false, inPlace } = options
  const others = ['stopAtPause', 'port', 'pgBin', 'user', 'wal', 'delta', 'force', 'dryRun', 'resume'] as const
  const left = others.filter((one) => options[one] !== undefined)
  if (left.length > 0 || options.tablespace.length > 0)
    throw new TidemarkError('bad-request', {
      message: `with --on, a restore takes no --${(left[0] ?? 'tablespace').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
      hint: 'give the command on that server itself; "tidemark tasks resume ID" goes on with a task',
    })
  return {
    kind: options.preflight === true ? 'preflight' : 'restore',
    agent,
    ...(source === undefined ? {} : { source }),
    ...(system === undefined ? {} : { system }),
    at,
    to,
    paths,
    start,
    ...(inPlace === true && source !== undefined ? { inPlace: source } : {}),
  }
}

const preflightOf = (status: SourceStatus, { at, target }: Chosen, options: RestoreOptions): Preflight => ({
  status,
  at,
  target,
  paths: options.path,
  start: options.start ?? false,
  isInPlace: options.inPlace ?? false,
  pgBin: options.pgBin,
  user: options.user,
})

/** A cluster, or a volume, comes back whole. */
function only(options: RestoreOptions): RestoreOptions {
  if (options.path.length === 0) return options
  throw new TidemarkError('bad-request', {
    message: 'a PostgreSQL cluster or a volume cannot be restored in parts: --path is for files',
    hint: 'restore all of it, and take what you need with pg_dump; a volume can be looked into with "tidemark open"',
  })
}

export interface Chosen {
  readonly source: string
  readonly at: string
  readonly target: string
}

/** One source as it was asked for, or all of a system at one moment, each in a directory of its own. */
async function chosen(
  client: ApiClient,
  source: string | undefined,
  { at, to, system }: RestoreOptions,
): Promise<Chosen[]> {
  if ((source === undefined) === (system === undefined)) {
    throw new TidemarkError('bad-request', {
      message: 'name a source, or a system with --system',
      hint: '"tidemark status" lists both',
    })
  }
  const target = resolvePath(to)
  if (source !== undefined) return [{ source, at, target }]
  const { sources } = await client.json('GET', '/v1/status', vaultStatus)
  const members = sources.filter((one) => one.system === system)
  if (members.length === 0)
    throw new TidemarkError('not-found', {
      message: `no source belongs to a system "${system}"`,
      hint: '"tidemark status" lists them',
    })
  const moment = at === 'latest' ? sameMoment(members) : at
  return members.map(({ name }) => ({ source: name, at: moment, target: resolvePath(target, name) }))
}

/** The latest moment up to which all of them are covered. */
function sameMoment(members: readonly SourceStatus[]): string {
  const known = members.map(({ covered, name, moment }) => {
    const latest = covered ?? moment
    if (latest === null)
      throw new TidemarkError('point-unreachable', {
        message: `${name} has no recovery point yet`,
        hint: 'wait for its baseline',
      })
    return latest
  })
  return known.sort()[0] as string
}

/** Each of its paths beside the original, then the names are changed over. */
async function restoreInPlace(
  client: ApiClient,
  { kind, name, paths }: SourceStatus,
  { at, target }: Chosen,
  options: RestoreOptions,
  parts: Parts,
): Promise<void> {
  if (kind !== 'files' || target !== '/')
    throw new TidemarkError('bad-request', {
      message: '--in-place is for sources of kind files, and goes with --to /',
      hint: 'restore to another place, look at it there, then stop what uses the old one and change them over',
    })
  const point = `/v1/sources/${encodeURIComponent(name)}/point`
  const { sequence: still } = await client.json('GET', apiPath(point, { at }), resolvedPoint)
  const places = (options.path.length > 0 ? options.path : paths).map((place) => changeOverAt(place, name))
  for (const place of places) {
    const beside = { source: name, at: `seq:${still}`, target: place.staging }
    const isWhole =
      (options.resume === true && isRestored(place)) ||
      (await restoreOne(client, beside, { ...options, path: [place.place] }, parts))
    if (!isWhole || options.dryRun === true) continue
    const kept = changeOver(place, sequence(still))
    const told =
      kept === undefined
        ? `${place.place} is there again`
        : `${place.place} is as it was; what was there is now ${kept}`
    if (options.json) parts.err.write(`${told}\n`)
    else parts.out.write(`${told}\n`)
  }
}

/** Whether all of it was restored. */
async function restoreOne(
  client: ApiClient,
  { source, at, target }: Chosen,
  options: RestoreOptions,
  parts: Parts,
): Promise<boolean> {
  // What is gone on with stands still, though "latest" may have moved on.
  const unfinished = options.resume ? unfinishedRestore(target) : undefined
  const origin = await apiOrigin(client, source, unfinished ? `seq:${unfinished.at}` : at, parts.signal)
  const request: RestoreRequest = {
    source,
    target,
    paths: options.path.map(fromAbsolute),
    resume: options.resume ?? false,
  }
  if (options.dryRun) {
    const rehearsal = await rehearseRestore(request, origin)
    parts.out.write(options.json ? `${JSON.stringify(rehearsal)}\n` : describeRehearsal(rehearsal, target))
    return true
  }
  const tell = (progress: RestoreProgress): void => {
    if (options.json) parts.out.write(`${JSON.stringify({ progress })}\n`)
    else if (parts.err.isTerminal) parts.err.write(`\r${describeProgress(progress)}\x1b[K`)
  }
  try {
    const receipt = await restore(request, { origin, clock: parts.clock, tell }, parts.signal)
    if (parts.err.isTerminal && !options.json) parts.err.write('\n')
    parts.out.write(options.json ? `${JSON.stringify({ receipt })}\n` : describeReceipt(receipt))
    return true
  } catch (error) {
    if (!(error instanceof RestoreIncomplete) || !options.json) throw error
    parts.out.write(`${JSON.stringify({ receipt: error.receipt })}\n`)
    parts.exitWith(exitStatus.notVerified)
    return false
  }
}

function describeProgress({ stage, files, filesTotal, bytes, bytesTotal, leftMs }: RestoreProgress): string {
  const left = leftMs === undefined ? '' : `, ${formatDurationMs(leftMs)} left`
  return `${stage}: ${formatCount(files)}/${formatCount(filesTotal)} files, ${formatBytes(bytes)}/${formatBytes(bytesTotal)}${left}`
}

function describeReceipt(receipt: RestoreReceipt): string {
  const { source, moment, target, files, directories, links, nodes, bytes, seconds, verifiedChunks, notes } = receipt
  const rate = seconds > 0 ? `, ${formatBytes(bytes / seconds)}/s` : ''
  return (
    `restored ${source} as of ${formatMoment(moment)} (seq:${receipt.at}) to ${target}\n` +
    `  ${formatCount(files)} files, ${formatCount(directories)} directories, ${formatCount(links + nodes)} links and others, ` +
    `${formatBytes(bytes)} in ${formatDurationMs(seconds * 1000)}${rate}\n` +
    `  ${formatCount(verifiedChunks)} chunks checked against their names\n${notes.map((note) => `  note: ${note}\n`).join('')}`
  )
}

function describeRehearsal({ source, at, moment, totals, freeBytes, notes }: Rehearsal, target: string): string {
  return (
    `would restore ${source} as of ${formatMoment(moment)} (seq:${at}) to ${target}: ${formatCount(totals.files)} files, ` +
    `${formatBytes(totals.bytes)}; ${formatBytes(freeBytes)} free there\n${notes.map((note) => `  note: ${note}\n`).join('')}`
  )
}
