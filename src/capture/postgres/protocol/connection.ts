import { once } from 'node:events'
import { assert } from '../../../base/assert.ts'
import { Malformed } from '../../../base/bytes.ts'
import type { Clock } from '../../../base/clock.ts'
import { messageOf, TidemarkError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import { MessageDecoder, type MessageSink } from '../../../format/postgres-wire/framing.ts'
import { Authentication } from './authentication.ts'
import { databaseError } from './database-error.ts'
import {
  type BackendKey,
  cancelRequest,
  heard,
  query as queryMessage,
  readBackendKey,
  readColumnNames,
  readParameter,
  readReport,
  readRow,
  type ServerReport,
  startup,
  terminate,
} from './messages.ts'
import type { Secret } from './secret.ts'
import { type OpenSocket, openSocket } from './socket.ts'
import { describeTarget, type PostgresTarget } from './target.ts'

export interface Connecting {
  readonly target: PostgresTarget
  /** See password.ts. */
  readonly password?: Secret | undefined
  /** `replication`: for WAL and base backups, no SQL. `database`: for SQL, in the target's database. */
  readonly purpose: 'replication' | 'database'
  /** What pg_stat_replication shows, and synchronous_standby_names matches, where the target names none. */
  readonly applicationName?: string
  readonly clock: Clock
  readonly random: Random
  /** Warnings and notices of the server, at any time. */
  readonly notice?: (report: ServerReport) => void
}

/** Until the server is ready for the first command. */
export const connectMsMax = 15_000
/** How long a server may take to close what has been said goodbye to. */
const closeMsMax = 1000
/** Of one `query`, so that a wrong one cannot take all memory. */
export const resultBytesMax = 64 * 1024 * 1024
const parametersMax = 1000
const oldestMajor = 12

export interface ResultSet {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | null)[])[]
  /** `SELECT 3`, `INSERT 0 1`, … */
  readonly tag: string
}

/**
 * What the answer to a command consists of, in the order it comes. Each is called while the bytes are read, so it must not
 * wait; what it throws ends the connection. A part that the command cannot have is left out: if it comes all the same, the
 * server has broken the protocol.
 */
export interface AnswerSink {
  columns?(names: readonly string[]): void
  /** The body of a DataRow (`readRow`), a view that holds during the call only. */
  row?(body: Buffer): void
  complete?(tag: string): void
  copyStart?(kind: 'out' | 'both'): void
  copyDataStart?(bytes: number): void
  /** The bytes hold during the call only. */
  copyData?(source: Buffer, start: number, end: number): void
  copyDataEnd?(): void
  copyDone?(): void
}

/** What is being waited for: the way in, or the end of the answer to a command. */
interface Exchange {
  readonly sink: AnswerSink
  /** Begins the sentence of an error. */
  readonly attempted: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  report: ServerReport | undefined
}

export async function connect(connecting: Connecting, signal?: AbortSignal): Promise<Connection> {
  const { clock } = connecting
  const where = describeTarget(connecting.target)
  const attempt = new AbortController()
  const abort = (): void => attempt.abort(signal?.reason)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  const settled = new AbortController()
  void clock.sleep(connectMsMax, settled.signal).then(
    () =>
      attempt.abort(
        new TidemarkError('unreachable', { message: `${where} has not let us in within ${connectMsMax / 1000} s` }),
      ),
    () => {},
  )
  try {
    return await Connection.open(connecting, attempt.signal)
  } finally {
    settled.abort()
    signal?.removeEventListener('abort', abort)
  }
}

/**
 * One connection to a server, over which one command at a time is answered. It fails as a whole: after a broken socket or
 * broken protocol every call rejects with what went wrong first. What the server refuses (`DatabaseError`) leaves it usable,
 * unless the server ends it.
 */
export class Connection implements AsyncDisposable {
  readonly #connecting: Connecting
  readonly #where: string
  readonly #parameters = new Map<string, string>()
  readonly #decoder: MessageDecoder
  #open!: OpenSocket
  #authentication: Authentication | undefined
  /** An authentication message is being answered; none may come in the meantime. */
  #isAnswering = false
  #key: BackendKey | undefined
  #exchange: Exchange | undefined
  #copying = false
  #failure: unknown

  private constructor(connecting: Connecting) {
    this.#connecting = connecting
    this.#where = describeTarget(connecting.target)
    const sink: MessageSink = {
      message: (type, body) => this.#message(type, body),
      copyDataStart: (bytes) => this.#copySink('copyDataStart')(bytes),
      copyData: (source, start, end) => this.#exchange?.sink.copyData?.(source, start, end),
      copyDataEnd: () => this.#exchange?.sink.copyDataEnd?.(),
    }
    this.#decoder = new MessageDecoder(sink)
  }

  /** See `connect`, which also limits the time. */
  static async open(connecting: Connecting, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(connecting)
    try {
      await connection.#enter(signal)
    } catch (error) {
      connection.#fail(error)
      throw connection.#failure
    }
    return connection
  }

  async #enter(signal: AbortSignal): Promise<void> {
    const { target, password, random } = this.#connecting
    this.#open = await openSocket(target, (source, length) => this.#received(source, length), signal)
    const { socket, over, certificateHash } = this.#open
    socket.on('error', (error) => this.#fail(this.#lost(error)))
    socket.on('close', () => this.#fail(this.#lost()))
    this.#authentication = new Authentication({
      user: target.user,
      password,
      over,
      channelBinding: target.channelBinding,
      certificateHash,
      random,
      target: this.#where,
    })
    const abort = (): void => this.#fail(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      signal.throwIfAborted()
      const entered = this.#expect({}, `connecting to ${this.#where}`)
      this.write(startup(this.#startupParameters()))
      await entered
    } finally {
      signal.removeEventListener('abort', abort)
    }
    this.#decoder.trust()
    if (this.serverMajor < oldestMajor) {
      throw new TidemarkError('database-precondition', {
        message: `${this.#where} is PostgreSQL ${this.#parameters.get('server_version')}`,
        hint: `version ${oldestMajor} or newer is needed`,
      })
    }
  }

  #startupParameters(): Record<string, string> {
    const { target, purpose, applicationName } = this.#connecting
    return {
      user: target.user,
      ...(purpose === 'replication' ? { replication: 'true' } : { database: target.database }),
      application_name: target.applicationName ?? applicationName ?? 'tidemark',
      client_encoding: 'UTF8',
      DateStyle: 'ISO',
    }
  }

  /** `user@host:port`, for messages. */
  get where(): string {
    return this.#where
  }

  get purpose(): 'replication' | 'database' {
    return this.#connecting.purpose
  }

  get clock(): Clock {
    return this.#connecting.clock
  }

  get over(): 'tcp' | 'tls' | 'socket' {
    return this.#open.over
  }

  /** What the server reports of itself and keeps up to date, such as `server_version`. */
  get parameters(): ReadonlyMap<string, string> {
    return this.#parameters
  }

  get serverMajor(): number {
    return Number.parseInt(this.#parameters.get('server_version') ?? '0', 10)
  }

  /** Simple query: as many result sets as the text has commands. Aborting cancels it at the server. */
  async query(text: string, signal?: AbortSignal, attempted = `asking ${this.#where}`): Promise<readonly ResultSet[]> {
    const sets: ResultSet[] = []
    let columns: readonly string[] = []
    let rows: (string | null)[][] = []
    let bytesLeft = resultBytesMax
    const sink: AnswerSink = {
      columns: (names) => {
        columns = names
      },
      row: (body) => {
        bytesLeft -= body.length
        if (bytesLeft < 0) throw new Malformed(`a result of more than ${resultBytesMax} bytes`)
        rows.push(readRow(body).map((value) => value && value.toString('utf8')))
      },
      complete: (tag) => {
        sets.push({ columns, rows, tag })
        columns = []
        rows = []
      },
    }
    signal?.throwIfAborted()
    const cancel = (): void => void this.cancel().catch((error: unknown) => this.fail(error))
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      await this.exchange(text, sink, attempted)
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    return sets
  }

  /**
   * Sends a command; `sink` is called with its answer. Resolves when the server is ready for the next command, rejects
   * with its error (then, too, it is ready), or when the connection fails.
   */
  exchange(text: string, sink: AnswerSink, attempted: string): Promise<void> {
    const message = queryMessage(text)
    const answered = this.#expect(sink, attempted)
    this.write(message)
    return answered
  }

  /** Sends bytes as they are, during an exchange that has them sent: CopyData, CopyDone. */
  write(bytes: Uint8Array): void {
    if (this.#failure === undefined) this.#open.socket.write(bytes)
  }

  /** Bytes written that the server has not taken. */
  get writeBacklog(): number {
    return this.#open.socket.writableLength
  }

  /**
   * Stops reading, so that the server has to wait. At most one more read's bytes (`readBytesMax`) come to the sink, those
   * of the read that is being handed on. Writing goes on.
   */
  pause(): void {
    this.#open.socket.pause()
  }

  resume(): void {
    this.#open.socket.resume()
  }

  /** Has the server stop the command that is running, over a connection of its own. What it then says ends the exchange. */
  async cancel(): Promise<void> {
    if (this.#key === undefined) return
    const { socket } = await openSocket(this.#connecting.target, () => {}, AbortSignal.timeout(connectMsMax))
    socket.resume()
    socket.end(cancelRequest(this.#key))
    if (!socket.closed) await once(socket, 'close')
  }

  /** Ends the connection at once; all that wait reject with `error`, unless it has failed before. */
  fail(error: unknown): void {
    this.#fail(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { socket } = this.#open
    if (socket.closed) return
    const ended = closed(socket)
    if (this.#failure === undefined && this.#exchange === undefined) {
      this.#failure = new TidemarkError('interrupted', {
        message: `the connection with ${this.#where} has been closed`,
      })
      socket.resume()
      socket.end(terminate())
      await Promise.race([ended, this.clock.sleep(closeMsMax)])
    } else {
      this.#fail(new TidemarkError('interrupted', { message: `the connection with ${this.#where} has been closed` }))
    }
    socket.destroy()
    await ended
  }

  #expect(sink: AnswerSink, attempted: string): Promise<void> {
    assert(this.#exchange === undefined, 'a connection has one command at a time')
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#exchange = { sink, attempted, resolve, reject, report: undefined }
    })
  }

  #received(source: Buffer, length: number): void {
    if (this.#failure !== undefined) return
    try {
      this.#decoder.feed(source, length)
    } catch (error) {
      this.#fail(error)
    }
  }

  #message(type: number, body: Buffer): void {
    switch (type) {
      case heard.parameterStatus: {
        const [name, value] = readParameter(body)
        if (this.#parameters.size >= parametersMax) throw new Malformed(`more than ${parametersMax} parameters`)
        this.#parameters.set(name, value)
        return
      }
      case heard.notice:
        return this.#connecting.notice?.(readReport(body))
      case heard.notification:
        return
      case heard.error:
        return this.#refusal(readReport(body))
      default:
    }
    if (this.#authentication?.isDone !== true) return this.#entering(type, body)
    switch (type) {
      case heard.backendKeyData:
        this.#key = readBackendKey(body)
        return
      case heard.negotiateProtocolVersion:
        return
      case heard.readyForQuery:
        return this.#ready()
      case heard.rowDescription:
        return this.#sink('columns')(readColumnNames(body))
      case heard.dataRow:
        return this.#sink('row')(body)
      case heard.commandComplete:
        this.#copying = false
        return this.#sink('complete')(body.toString('utf8', 0, Math.max(0, body.length - 1)))
      case heard.emptyQuery:
        return this.#sink('complete')('')
      case heard.copyOutResponse:
      case heard.copyBothResponse:
        this.#sink('copyStart')(type === heard.copyOutResponse ? 'out' : 'both')
        this.#copying = true
        return
      case heard.copyDone:
        this.#copySink('copyDone')()
        this.#copying = false
        return
      default:
        throw new Malformed(`a message of type ${type}, which nothing here asks for`)
    }
  }

  #entering(type: number, body: Buffer): void {
    if (type !== heard.authentication || this.#isAnswering)
      throw new Malformed(`a message of type ${type} on the way in`)
    // A copy, because the answer may take a moment.
    const answer = this.#authentication?.answer(Buffer.from(body))
    if (!(answer instanceof Promise)) return answer && this.write(answer)
    this.#isAnswering = true
    answer.then(
      (bytes) => {
        this.#isAnswering = false
        this.write(bytes)
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #ready(): void {
    const exchange = this.#exchange
    if (exchange === undefined) throw new Malformed('ready for a command while none was running')
    this.#exchange = undefined
    this.#copying = false
    if (exchange.report) exchange.reject(databaseError(exchange.attempted, exchange.report))
    else exchange.resolve()
  }

  #refusal(report: ServerReport): void {
    const exchange = this.#exchange
    const isLast = this.#authentication?.isDone !== true || report.severity === 'FATAL' || report.severity === 'PANIC'
    if (isLast) return this.#fail(databaseError(exchange?.attempted ?? `speaking with ${this.#where}`, report))
    if (exchange === undefined) throw new Malformed('an error while no command was running')
    exchange.report ??= report
  }

  /** The part of the sink that this message is for. */
  #sink<Part extends keyof AnswerSink>(part: Part): NonNullable<AnswerSink[Part]> {
    const sink = this.#exchange?.sink
    const called = sink?.[part]
    if (sink === undefined || called === undefined) throw new Malformed(`"${part}" in the answer to another command`)
    return called.bind(sink) as NonNullable<AnswerSink[Part]>
  }

  #copySink<Part extends keyof AnswerSink>(part: Part): NonNullable<AnswerSink[Part]> {
    if (!this.#copying) throw new Malformed(`"${part}" while nothing is being copied`)
    return this.#sink(part)
  }

  #lost(error?: Error): TidemarkError {
    return new TidemarkError('unreachable', {
      message: `the connection with ${this.#where} has been lost${error ? `: ${messageOf(error)}` : ''}`,
      hint: 'the server has stopped, was restarted or closed the connection; its log tells more',
      cause: error,
    })
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure =
      error instanceof Malformed
        ? new TidemarkError('protocol-violation', {
            message: `${this.#where} does not speak the PostgreSQL protocol: ${error.message}`,
            hint: 'check that the address is that of a PostgreSQL server',
            cause: error,
          })
        : error
    this.#open?.socket.destroy()
    this.#exchange?.reject(this.#failure)
    this.#exchange = undefined
  }
}

/** However it comes to that: an error of a socket that is being left says nothing more. */
const closed = (socket: OpenSocket['socket']): Promise<void> =>
  socket.closed ? Promise.resolve() : new Promise((done) => void socket.once('close', () => done()))
