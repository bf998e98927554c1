import { once } from 'node:events'
import type { Socket } from 'node:net'
import { ByteReader, Malformed } from '../../../base/bytes.ts'
import type { Clock } from '../../../base/clock.ts'
import { isCode, messageOf, TidemarkError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import { MessageDecoder } from '../../../format/postgres-wire/framing.ts'
import { advanceLsn, formatLsn, historyFileName, type Lsn, lsn, noLsn, type Timeline } from '../../../model/lsn.ts'
import { moment, type Moment } from '../../../model/moment.ts'
import {
  authenticationOk,
  backendKeyData,
  type Column,
  commandComplete,
  copyBothResponse,
  copyDone,
  errorResponse,
  keepalive,
  negotiateProtocolVersion,
  oneRow,
  parameterStatus,
  readyForQuery,
  type Refusal,
  walDataHead,
} from './answers.ts'
import { parseReplicationCommand, type ReplicationCommand } from './commands.ts'
import { readStartupPacket } from './startup.ts'
import { forksToNewest, notInHistory, type WalSource } from './wal-source.ts'

export interface SessionParts {
  readonly source: WalSource
  readonly clock: Clock
  readonly random: Random
}

/** A receiver of WAL, as it tells of itself. Positions are ends: what lies before them is written, flushed, replayed. */
export interface Receiver {
  readonly applicationName: string
  readonly timeline: Timeline
  readonly sent: Lsn
  readonly written: Lsn
  readonly flushed: Lsn
  readonly applied: Lsn
  /** When it last told. */
  readonly heard: Moment
}

const query = 0x51
const terminate = 0x58
const copyDoneType = 0x63
const copyFail = 0x66
/** As much WAL as a server puts into a message. */
const dataBytesMax = 128 * 1024
/** Receivers tell positions, which are short. */
const toldBytesMax = 1024
const queriesMax = 16
const keepaliveMs = 5000
const startupMsMax = 60_000

/** What a client must know of the server: libpq asks some of them, tools others. */
const parameters = {
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}

/** Goes to the client as it is; the session is over. */
class Fatal extends Error {
  readonly sqlState: string

  constructor(sqlState: string, message: string) {
    super(message)
    this.sqlState = sqlState
  }
}

/**
 * One client of a walsender, from its first packet to its end. Commands are answered one after the other; while WAL is
 * streamed, what the client tells is heard as it comes. It is refused in the protocol's own words whatever it sends.
 */
export class WalSession {
  readonly #socket: Socket
  readonly #parts: SessionParts
  readonly #over = new AbortController()
  readonly #queries: string[] = []
  #wake: () => void = () => undefined
  #parametersTold: ReadonlyMap<string, string> = new Map()
  #told: Buffer[] | undefined
  #streaming: { readonly timeline: Timeline; sent: Lsn; readonly stop: AbortController; isDone: boolean } | undefined
  #positions: { written: Lsn; flushed: Lsn; applied: Lsn; heard: Moment } | undefined

  constructor(socket: Socket, parts: SessionParts) {
    this.#socket = socket
    this.#parts = parts
    socket.on('close', () => this.#end(new Error('the client went away')))
    socket.on('error', (error) => this.#end(error))
  }

  /** Undefined while nothing is streamed. */
  get receiver(): Receiver | undefined {
    if (this.#streaming === undefined) return undefined
    const { timeline, sent } = this.#streaming
    const told = this.#positions ?? { written: noLsn, flushed: noLsn, applied: noLsn, heard: moment(0) }
    return { applicationName: this.#parametersTold.get('application_name') ?? '', timeline, sent, ...told }
  }

  /** Resolves when it is over, however it ended. */
  async serve(signal: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.#end(signal.reason)
      this.#socket.destroy()
    }
    signal.addEventListener('abort', stop, { once: true })
    try {
      signal.throwIfAborted()
      if (!(await this.#admit())) return
      for (let text = await this.#nextQuery(); ; text = await this.#nextQuery()) {
        await this.#answer(text)
        await this.#write(readyForQuery())
      }
    } catch (error) {
      this.#refuse(error)
    } finally {
      signal.removeEventListener('abort', stop)
      this.#end(new Error('the session is over'))
      this.#socket.end()
      this.#socket.destroySoon()
    }
  }

  #end(reason: unknown): void {
    this.#over.abort(reason)
    this.#wake()
  }

  #refuse(error: unknown): void {
    if (this.#over.signal.aborted && !(error instanceof Fatal) && !(error instanceof Malformed)) return
    const sqlState = error instanceof Fatal ? error.sqlState : error instanceof Malformed ? '08P01' : '58000'
    const message = error instanceof Malformed ? `not of the protocol: ${error.message}` : messageOf(error)
    if (this.#socket.writable) this.#socket.write(errorResponse({ severity: 'FATAL', sqlState, message }))
  }

  /** The packets before the first message. False where nothing is wanted but that. */
  async #admit(): Promise<boolean> {
    const late = new AbortController()
    const lateness = this.#parts.clock.sleep(startupMsMax, AbortSignal.any([late.signal, this.#over.signal])).then(
      () => this.#socket.destroy(),
      () => undefined,
    )
    let held: Buffer = Buffer.alloc(0)
    try {
      for (;;) {
        const read = readStartupPacket(held)
        if (read === undefined) {
          held = Buffer.concat([held, await this.#nextBytes()])
          continue
        }
        held = held.subarray(read.bytes)
        const { packet } = read
        if (packet.kind === 'cancel') return false
        if (packet.kind === 'startup') {
          await this.#begin(packet.parameters, packet.minor)
          this.#listen(held)
          return true
        }
        // Sent before the answer, it would be read as if it came encrypted.
        if (held.length > 0) throw new Malformed('bytes after a request for encryption')
        await this.#write(Buffer.from('N'))
      }
    } finally {
      late.abort()
      await lateness
    }
  }

  async #nextBytes(): Promise<Buffer> {
    for (;;) {
      this.#over.signal.throwIfAborted()
      const bytes = this.#socket.read() as Buffer | null
      if (bytes !== null) return bytes
      if (this.#socket.readableEnded) throw new Error('the client went away')
      await Promise.race([
        once(this.#socket, 'readable', { signal: this.#over.signal }),
        once(this.#socket, 'end', { signal: this.#over.signal }),
      ])
    }
  }

  async #begin(told: ReadonlyMap<string, string>, minor: number): Promise<void> {
    const { source, random } = this.#parts
    this.#parametersTold = told
    const isReplication = /^(?:true|on|yes|1)$/i.test(told.get('replication') ?? '')
    if (!isReplication) throw new Fatal('0A000', 'this is a walsender of Tidemark: it streams WAL and has no databases')
    if (!told.get('user')) throw new Fatal('28000', 'no user name in the startup packet')
    const options = [...told.keys()].filter((name) => name.startsWith('_pq_.'))
    if (minor > 0 || options.length > 0) await this.#write(negotiateProtocolVersion(options))
    const { version } = source
    const secret = random.bytes(4)
    await this.#write(
      Buffer.concat([
        authenticationOk(),
        parameterStatus('server_version', `${Math.floor(version / 10_000)}.${version % 10_000}`),
        ...Object.entries(parameters).map(([name, value]) => parameterStatus(name, value)),
        backendKeyData(process.pid, secret),
        readyForQuery(),
      ]),
    )
  }

  #listen(held: Buffer): void {
    const decoder = new MessageDecoder({
      message: (type, body) => this.#heard(type, body),
      copyDataStart: (bytes) => {
        if (bytes > toldBytesMax) throw new Malformed(`${bytes} bytes told at once`)
        this.#told = []
      },
      copyData: (source, start, end) => void this.#told?.push(Buffer.from(source.subarray(start, end))),
      copyDataEnd: () => this.#heardCopyData(Buffer.concat(this.#told?.splice(0) ?? [])),
    })
    const feed = (bytes: Buffer): void => {
      if (this.#over.signal.aborted) return
      try {
        decoder.feed(bytes, bytes.length)
      } catch (error) {
        this.#refuse(error)
        this.#end(error)
        this.#socket.destroySoon()
      }
    }
    feed(held)
    this.#socket.on('data', feed)
    this.#socket.on('end', () => this.#end(new Error('the client went away')))
  }

  #heard(type: number, body: Buffer): void {
    switch (type) {
      case query: {
        if (body.at(-1) !== 0) throw new Malformed('a command without its end')
        if (this.#queries.length >= queriesMax) throw new Malformed(`${queriesMax} commands that wait`)
        this.#queries.push(body.toString('utf8', 0, body.length - 1))
        return this.#wake()
      }
      case terminate:
        return this.#end(new Error('the client said goodbye'))
      case copyDoneType:
      case copyFail:
        // One that comes after an error has ended the stream has no meaning any more.
        if (this.#streaming === undefined) return
        this.#streaming.isDone = true
        this.#streaming.stop.abort()
        return this.#wake()
      default:
        throw new Malformed(`a message of type ${type}`)
    }
  }

  #heardCopyData(told: Buffer): void {
    if (this.#streaming === undefined) return
    const reader = new ByteReader(told)
    const kind = reader.u8()
    // What a hot standby still needs of dead rows concerns a primary alone.
    if (kind === 0x68) return
    if (kind !== 0x72) throw new Malformed(`a report of kind ${kind}`)
    const [written, flushed, applied] = [lsn(reader.u64()), lsn(reader.u64()), lsn(reader.u64())]
    reader.i64()
    const wantsReply = reader.u8() !== 0
    reader.end()
    this.#positions = { written, flushed, applied, heard: moment(this.#parts.clock.now()) }
    if (wantsReply) this.#socket.write(this.#keepalive(false))
  }

  async #nextQuery(): Promise<string> {
    for (;;) {
      this.#over.signal.throwIfAborted()
      const text = this.#queries.shift()
      if (text !== undefined) return text
      await this.#woken()
    }
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#over.signal.throwIfAborted()
    if (!this.#socket.write(bytes)) await once(this.#socket, 'drain', { signal: this.#over.signal })
  }

  /** A command that fails leaves the session ready for the next one. */
  async #answer(text: string): Promise<void> {
    try {
      await this.#run(parseReplicationCommand(text))
    } catch (error) {
      this.#over.signal.throwIfAborted()
      const refusal = refusalOf(error)
      if (refusal === undefined) throw error
      await this.#write(errorResponse(refusal))
    }
  }

  async #run(command: ReplicationCommand): Promise<void> {
    const { source } = this.#parts
    switch (command.kind) {
      case 'identify-system': {
        const { timeline, end } = source.newest()
        return this.#row(identity, [source.systemId, String(timeline), formatLsn(end), null], 'IDENTIFY_SYSTEM')
      }
      case 'show':
        return this.#row([{ name: command.name, type: 'text' }], [this.#setting(command.name)], 'SHOW')
      case 'timeline-history': {
        const { timeline } = command
        const content = await source.history(timeline)
        if (content === undefined) throw walNotThere(historyFileName(timeline))
        return this.#row(historyColumns, [historyFileName(timeline), content], 'TIMELINE_HISTORY')
      }
      case 'create-slot':
        return this.#row(slotColumns, [command.slot, '0/0', null, null], 'CREATE_REPLICATION_SLOT')
      case 'read-slot':
        return this.#row(slotStateColumns, [null, null, null], 'READ_REPLICATION_SLOT')
      case 'start':
        return this.#start(command.from, command.timeline ?? source.newest().timeline)
      case 'unsupported':
        throw new Refused('0A000', `${command.what} is not there: this walsender streams WAL`)
    }
  }

  #setting(name: string): string {
    const { source } = this.#parts
    const settings: Record<string, string> = {
      wal_segment_size: sizeText(source.segmentBytes),
      server_version: `${Math.floor(source.version / 10_000)}.${source.version % 10_000}`,
      server_version_num: String(source.version),
      wal_sender_timeout: '0',
      data_directory_mode: '0700',
    }
    const value = Object.hasOwn(settings, name) ? settings[name] : undefined
    if (value === undefined) throw new Refused('42704', `unrecognized configuration parameter "${name}"`)
    return value
  }

  async #row(columns: readonly Column[], values: readonly (string | Buffer | null)[], tag: string): Promise<void> {
    await this.#write(Buffer.concat([oneRow(columns, values), commandComplete(tag)]))
  }

  async #start(from: Lsn, timeline: Timeline): Promise<void> {
    const { source } = this.#parts
    const leftAt = await this.#leftAt(timeline, from)
    if (leftAt === undefined && from > source.newest().end) {
      const end = formatLsn(source.newest().end)
      throw new Refused(
        'XX000',
        `requested starting point ${formatLsn(from)} is ahead of the WAL flush position of this server ${end}`,
      )
    }
    if (leftAt === undefined || from < leftAt) await this.#stream(from, timeline)
    const end = await this.#leftAt(timeline, from)
    if (end !== undefined) {
      const forks = await forksToNewest(source)
      const next = forks[forks.findIndex((fork) => fork.timeline === timeline) + 1]?.timeline
      await this.#write(oneRow(nextColumns, [String(next ?? source.newest().timeline), formatLsn(end)]))
    }
    // Twice: libpq takes the first for the end of the rows, and a receiver waits for one more.
    await this.#write(Buffer.concat([commandComplete('START_STREAMING'), commandComplete('START_REPLICATION')]))
  }

  /** Where the newest history left the timeline; undefined while it is the newest. */
  async #leftAt(timeline: Timeline, from: Lsn): Promise<Lsn | undefined> {
    const { source } = this.#parts
    if (timeline === source.newest().timeline) return undefined
    const fork = (await forksToNewest(source)).find((one) => one.timeline === timeline)
    if (fork === undefined || from > fork.leftAt) throw notInHistory(timeline, from, fork)
    return fork.leftAt
  }

  /** Ends when the client or the timeline has ended, with nothing more to be said by either. */
  async #stream(from: Lsn, timeline: Timeline): Promise<void> {
    const stop = new AbortController()
    const streaming = { timeline, sent: from, stop, isDone: false }
    this.#streaming = streaming
    const signal = AbortSignal.any([stop.signal, this.#over.signal])
    await this.#write(copyBothResponse())
    const alive = this.#keepAlive(signal)
    try {
      for await (const bytes of this.#parts.source.read(timeline, from, signal)) await this.#send(bytes)
    } catch (error) {
      if (!streaming.isDone) {
        this.#streaming = undefined
        throw error
      }
    } finally {
      stop.abort()
      await alive
    }
    await this.#write(copyDone())
    while (!streaming.isDone) {
      this.#over.signal.throwIfAborted()
      await this.#woken()
    }
    this.#streaming = undefined
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const streaming = this.#streaming as { sent: Lsn }
    for (let at = 0; at < bytes.length; at += dataBytesMax) {
      const piece = bytes.subarray(at, at + dataBytesMax)
      const { end } = this.#parts.source.newest()
      const head = walDataHead(streaming.sent, end, moment(this.#parts.clock.now()), piece.length)
      // Copied: it holds only until the next is asked for, and the socket may keep it for longer.
      await this.#write(Buffer.concat([head, piece]))
      streaming.sent = advanceLsn(streaming.sent, piece.length)
    }
  }

  #keepalive(wantsReply: boolean): Buffer {
    const { source, clock } = this.#parts
    return keepalive(source.newest().end, moment(clock.now()), wantsReply)
  }

  /** Also asks for positions, so that they are never old. */
  async #keepAlive(signal: AbortSignal): Promise<void> {
    const tick = (): Promise<boolean> =>
      this.#parts.clock.sleep(keepaliveMs, signal).then(
        () => true,
        () => false,
      )
    // Behind WAL that waits it would come late, and is not needed.
    while (await tick()) if (this.#socket.writableLength === 0) this.#socket.write(this.#keepalive(true))
  }
}

const identity: Column[] = [
  { name: 'systemid', type: 'text' },
  { name: 'timeline', type: 'int4' },
  { name: 'xlogpos', type: 'text' },
  { name: 'dbname', type: 'text' },
]
const historyColumns: Column[] = [
  { name: 'filename', type: 'text' },
  { name: 'content', type: 'text' },
]
const slotColumns: Column[] = ['slot_name', 'consistent_point', 'snapshot_name', 'output_plugin'].map((name) => ({
  name,
  type: 'text',
}))
const slotStateColumns: Column[] = [
  { name: 'slot_type', type: 'text' },
  { name: 'restart_lsn', type: 'text' },
  { name: 'restart_tli', type: 'int8' },
]
const nextColumns: Column[] = [
  { name: 'next_tli', type: 'int8' },
  { name: 'next_tli_startpos', type: 'text' },
]

const sizeText = (bytes: number): string => (bytes < 1024 ** 3 ? `${bytes / 1024 ** 2}MB` : `${bytes / 1024 ** 3}GB`)

/** A command is refused; the session goes on. */
class Refused extends Error {
  readonly sqlState: string

  constructor(sqlState: string, message: string) {
    super(message)
    this.sqlState = sqlState
  }
}

const walNotThere = (file: string): Refused =>
  new Refused('58P01', `could not open file "pg_wal/${file}": No such file or directory`)

function refusalOf(error: unknown): Refusal | undefined {
  const message = messageOf(error)
  if (error instanceof Refused) return { severity: 'ERROR', sqlState: error.sqlState, message }
  if (error instanceof Malformed) return { severity: 'ERROR', sqlState: '42601', message: `syntax error: ${message}` }
  if (isCode(error, 'database-log-gap')) return { severity: 'ERROR', sqlState: '58P01', message, hint: error.hint }
  if (error instanceof TidemarkError) return { severity: 'ERROR', sqlState: '58000', message, hint: error.hint }
  return undefined
}
