import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { connect as connectSocket, createServer } from 'node:net'
import { resolve as resolvePath } from 'node:path'
import { type Command, Option } from 'commander'
import type { ApiClient } from '../api/client.ts'
import type { SourceStatus } from '../api/schemas.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { formatLsn } from '../model/lsn.ts'
import { formatMoment, isoMoment } from '../model/moment.ts'
import { serverUser } from '../recover/postgres/server-programs.ts'
import { controlSocket, readStandby } from '../recover/postgres/standby/directory.ts'
import { type Promotion, Standby, type StandbyParts, type StandbyStatus } from '../recover/postgres/standby/standby.ts'
import { JournalWal } from '../recover/postgres/walsender/journal-wal.ts'
import { startWalsender } from '../recover/postgres/walsender/server.ts'
import type { RestoreProgress } from '../recover/progress.ts'
import { follow } from '../wire/follow.ts'
import { apiOrigin } from './api-origin.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'
import { askOver, statusOf } from './postgres.ts'
import { apiTreeReader } from './tree-reader.ts'

interface StandbyOptions {
  to?: string
  feed?: string
  promote?: boolean
  pgBin?: string
  port: number
  listen: string
  user?: string
  json?: boolean
}

const statusMs = 1000

export function standbyCommand(program: Command, parts: Parts): void {
  program
    .command('standby')
    .argument('<source>')
    .description('keep a running copy of a PostgreSQL source, fed from the vault, ready to take over')
    .option('--to <directory>', 'its data directory: an empty or new one, or the one it was begun in')
    .option('--feed <directory>', 'only feed a standby of your own, through a socket in this directory')
    .option('--promote', 'make it a primary, with everything that is durable at the vault')
    .option('--pg-bin <directory>', 'folder of the server programs, of the same major version as the source')
    .addOption(new Option('--port <port>', 'of the copy').default(5433).argParser(portNumber))
    .option(
      '--listen <addresses>',
      'addresses it listens on, as listen_addresses; the private socket alone if empty',
      '',
    )
    .option('--user <name>', 'run the server as this user, where this command is given by root (default: postgres)')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
The command feeds the copy for as long as it runs, and stops it when it is stopped; given again, it goes on.
With --promote, here or beside the running command, the copy replays all that the vault has, opens for writing and stays.
Examples:
  tidemark standby orders --to /srv/standby/orders
  tidemark standby orders --to /srv/standby/orders --promote
  tidemark standby orders --feed /run/tidemark-feed
${exitStatusHelp}`,
    )
    .action(async (name: string, options: StandbyOptions, command: Command) => {
      if (options.feed !== undefined && options.to === undefined && !options.promote)
        return feed(connect(command, parts), name, options.feed, options, parts)
      if (options.to === undefined || options.feed !== undefined)
        throw new TidemarkError('bad-request', {
          message: 'name either the directory of the copy with --to, or that of a socket with --feed',
          hint: '"tidemark standby --help" shows both',
        })
      const data = resolvePath(options.to)
      if (options.promote) {
        const asked = await askRunning(data)
        if (asked !== undefined) return tellPromotion(asked, options, parts)
        if (readStandby(data).kind === 'absent') throw noStandby(data)
      }
      const client = connect(command, parts)
      const source = await postgresSource(client, name)
      const request = {
        source: source.id,
        data,
        owner: serverUser(options.user),
        port: options.port,
        listen: options.listen,
        programs: options.pgBin,
        path: parts.environment['PATH'] ?? '',
      }
      await using standby = await Standby.open(request, standbyParts(client, source, options, parts), parts.signal)
      if (options.promote) return tellPromotion(toldOf(await standby.promote(parts.signal)), options, parts)
      await keep(standby, data, options, parts)
    })
}

function portNumber(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port
  throw new TidemarkError('bad-request', { message: `"${text}" is no port`, hint: 'give a number from 1 to 65535' })
}

async function postgresSource(client: ApiClient, name: string): Promise<SourceStatus> {
  const source = await statusOf(client, name)
  if (source.kind === 'postgres') return source
  throw new TidemarkError('bad-request', {
    message: `${source.name} is a source of kind ${source.kind}`,
    hint: 'only a PostgreSQL source can have a standby',
  })
}

function standbyParts(client: ApiClient, source: SourceStatus, options: StandbyOptions, parts: Parts): StandbyParts {
  const { clock, random, signal, err, out } = parts
  return {
    clock,
    random,
    tree: apiTreeReader(client, source.id, signal),
    origin: ({ at }) => apiOrigin(client, source.id, `seq:${at}`, signal),
    follow: (after, stop) => follow(client, clock, { source: source.id, after, paths: ['/wal', '/baselines'] }, stop),
    ask: askOver(source, parts),
    tell: (progress) => {
      if (options.json) out.write(`${JSON.stringify({ progress })}\n`)
      else if (err.isTerminal) err.write(`\r${describeRestore(progress)}\x1b[K`)
    },
    away: (why) => {
      if (options.json) out.write(`${JSON.stringify({ vault: why === undefined ? 'reached' : messageOf(why) })}\n`)
      else err.write(`${why === undefined ? 'the vault answers again' : `the vault does not answer: ${why.message}`}\n`)
    },
  }
}

/** The walsender alone, until it is stopped. */
async function feed(
  client: ApiClient,
  name: string,
  folder: string,
  options: StandbyOptions,
  parts: Parts,
): Promise<void> {
  const source = await postgresSource(client, name)
  const place = resolvePath(folder)
  const owner = serverUser(options.user)
  if (!existsSync(place)) {
    mkdirSync(place, { mode: 0o700 })
    if (owner) chownSync(place, owner.uid, owner.gid)
  }
  await using wal = await JournalWal.open(standbyParts(client, source, options, parts))
  const session = { source: wal, clock: parts.clock, random: parts.random }
  await using walsender = await startWalsender(place, session, owner)
  const { conninfo } = walsender
  if (options.json) parts.out.write(`${JSON.stringify({ primary_conninfo: conninfo })}\n`)
  else parts.out.write(`primary_conninfo = '${conninfo.replaceAll("'", "''")}'\n`)
  for (;;) {
    const { timeline, end } = wal.newest()
    const receivers = walsender.receivers().map(({ applicationName, sent, flushed, applied }) => ({
      applicationName,
      sent: formatLsn(sent),
      flushed: formatLsn(flushed),
      replayed: formatLsn(applied),
    }))
    if (options.json)
      parts.out.write(`${JSON.stringify({ status: { timeline, durable: formatLsn(end), receivers } })}\n`)
    else if (parts.err.isTerminal)
      parts.err.write(
        `\r${formatLsn(end)}; ${receivers.map((one) => `${one.applicationName}: replayed ${one.replayed}`).join(', ') || 'nobody asks'}\x1b[K`,
      )
    await parts.clock.sleep(statusMs, parts.signal)
  }
}

/** Until it is stopped, or promoted on the request of another process. A promotion that fails leaves it as it was. */
async function keep(standby: Standby, data: string, options: StandbyOptions, parts: Parts): Promise<void> {
  const done = new AbortController()
  let isPromoting = false
  await using _control = await serveControl(data, async () => {
    isPromoting = true
    try {
      const promotion = toldOf(await standby.promote(parts.signal))
      tellPromotion(promotion, options, parts)
      done.abort(new Error('it is promoted'))
      return promotion
    } finally {
      isPromoting = false
    }
  })
  try {
    await watch(standby, () => isPromoting, options, parts, AbortSignal.any([parts.signal, done.signal]))
  } catch (error) {
    if (!done.signal.aborted) throw error
  }
}

async function watch(
  standby: Standby,
  isBusy: () => boolean,
  options: StandbyOptions,
  parts: Parts,
  signal: AbortSignal,
): Promise<never> {
  for (let before = ''; ; await parts.clock.sleep(statusMs, signal)) {
    signal.throwIfAborted()
    if (isBusy()) continue
    const status = await standby.status()
    const text = options.json ? JSON.stringify({ status: toldStatus(status) }) : describe(status)
    if (isBusy() || (text === before && !options.json)) continue
    if (options.json) parts.out.write(`${text}\n`)
    else parts.err.write(parts.err.isTerminal ? `\r${text}\x1b[K` : `${text}\n`)
    before = text
  }
}

type ToldPromotion = ReturnType<typeof toldOf>
type Control = { readonly promotion: ToldPromotion } | { readonly error: { code: string; message: string } }

/** A second command asks the one that runs to promote: a line "promote", answered by a line of JSON. */
async function serveControl(data: string, promote: () => Promise<ToldPromotion>): Promise<AsyncDisposable> {
  const path = controlSocket(data)
  let promoting: Promise<Control> | undefined
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', (bytes) => {
      if (bytes.toString('utf8') !== 'promote\n') return void socket.destroy()
      promoting ??= promote().then(
        (promotion) => ({ promotion }),
        (error: unknown) => {
          promoting = undefined
          return { error: { code: error instanceof TidemarkError ? error.code : 'failed', message: messageOf(error) } }
        },
      )
      void promoting.then((answer) => socket.end(`${JSON.stringify(answer)}\n`))
    })
  })
  // This process holds the lock of the directory, so a socket that is there is a dead one's.
  rmSync(path, { force: true })
  server.listen(path)
  await once(server, 'listening')
  chmodSync(path, 0o600)
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      await closed
      rmSync(path, { force: true })
    },
  }
}

/** Undefined where no process keeps the standby of the directory. */
async function askRunning(data: string): Promise<ToldPromotion | undefined> {
  const path = controlSocket(data)
  if (!existsSync(path)) return undefined
  const socket = connectSocket(path)
  try {
    await once(socket, 'connect')
  } catch {
    return undefined
  }
  socket.write('promote\n')
  let text = ''
  for await (const bytes of socket) text += String(bytes)
  if (text === '')
    throw new TidemarkError('interrupted', {
      message: 'the process that keeps the standby ended while it promoted it',
      hint: 'repeat the command',
    })
  const answer = JSON.parse(text) as Control
  if ('promotion' in answer) return answer.promotion
  throw new TidemarkError('interrupted', {
    message: `it was not promoted: ${answer.error.message}`,
    hint: 'once the cause is gone, repeat the command',
  })
}

const noStandby = (data: string): TidemarkError =>
  new TidemarkError('not-found', {
    message: `${data} holds no standby`,
    hint: 'make it first: the same command without --promote',
  })

const toldOf = ({ asked, replayed, promoted, written, end, ...rest }: Promotion) => ({
  ...rest,
  asked: isoMoment(asked),
  replayed: isoMoment(replayed),
  promoted: isoMoment(promoted),
  written: isoMoment(written),
  end: formatLsn(end),
})

function tellPromotion(told: ToldPromotion, { json }: StandbyOptions, { out, err }: Parts): void {
  if (json) return out.write(`${JSON.stringify({ promotion: told })}\n`)
  if (err.isTerminal) err.write('\n')
  const step = (at: string, ms: number): string => `${formatMoment(isoToMoment(at))}, after ${Math.round(ms)} ms`
  out.write(
    `promoted, with all that the vault had: timeline ${told.timeline} up to ${told.end}
  WAL replayed   ${step(told.replayed, told.replayMs)}
  promoted       ${step(told.promoted, told.promoteMs)}
  write accepted ${step(told.written, told.writeMs)}
It answers at the socket in ${told.socketFolder}, port ${told.port}.
`,
  )
}

const toldStatus = ({ durable, received, replayed, ...rest }: StandbyStatus) => ({
  ...rest,
  durable: formatLsn(durable),
  received: formatLsn(received),
  replayed: formatLsn(replayed),
})

function describe({ durable, replayed, lagBytes, lagMs, timeline, isConnected }: StandbyStatus): string {
  const place = `replayed ${formatLsn(replayed)} of ${formatLsn(durable)} on timeline ${timeline}`
  if (!isConnected) return `${place}; it does not ask for more at the moment`
  if (lagBytes === 0) return `${place}: nothing is missing`
  return `${place}: ${formatBytes(lagBytes)}${lagMs === undefined ? '' : `, ${formatDurationMs(lagMs)}`} behind`
}

const describeRestore = ({ stage, files, filesTotal, bytes, bytesTotal }: RestoreProgress): string =>
  `baseline, ${stage}: ${formatCount(files)}/${formatCount(filesTotal)} files, ${formatBytes(bytes)}/${formatBytes(bytesTotal)}`
