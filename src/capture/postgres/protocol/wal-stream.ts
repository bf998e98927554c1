import { ByteReader, ByteWriter, Malformed } from '../../../base/bytes.ts'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import { copyDataType } from '../../../format/postgres-wire/framing.ts'
import {
  advanceLsn,
  formatLsn,
  type Lsn,
  lsn,
  noLsn,
  parseLsn,
  parseTimeline,
  type Timeline,
} from '../../../model/lsn.ts'
import { type Moment, moment } from '../../../model/moment.ts'
import { Arrivals } from './arrivals.ts'
import type { AnswerSink, Connection } from './connection.ts'
import { DatabaseError, hasSqlState } from './database-error.ts'
import { copyDone, readRow } from './messages.ts'
import { quotedSlot, show } from './replication.ts'

/**
 * The WAL of a server, as it is written. Within CopyBoth each message is (all big-endian, times in microseconds since 2000):
 *   w  WAL data            u64 start, u64 end of WAL at the server, i64 sent, bytes
 *   k  keepalive           u64 end of WAL at the server, i64 sent, u8 reply at once
 *   r  our status          u64 written, u64 flushed, u64 applied, i64 sent, u8 reply at once
 * (https://www.postgresql.org/docs/current/protocol-replication.html)
 */
export interface WalRequest {
  /** Keeps the WAL from `flushed` on at the server, and limits what the server may forget. */
  readonly slot?: string
  readonly start: Lsn
  readonly timeline: Timeline
  /** Of each of the two blocks that WAL waits in. */
  readonly blockBytes?: number
  /** A server that says nothing for so long, though asked to, is taken for lost. */
  readonly silenceMsMax?: number
}

export type WalItem =
  /** One stretch without gaps, right after the one before; `bytes` hold until the next item is asked for. */
  | { readonly kind: 'wal'; readonly start: Lsn; readonly bytes: Buffer }
  /** The server's history leaves this timeline at `switchAt`. The last item. */
  | { readonly kind: 'timeline-end'; readonly next: Timeline; readonly switchAt: Lsn }
  /** The server shuts down and has sent everything. The last item; the connection is gone. */
  | { readonly kind: 'shutdown' }

/** Positions of the next byte: everything before is written, durable, replayed. */
export interface WalPositions {
  readonly written: Lsn
  /** What a synchronous commit waits for, and what the slot may forget: move it only when the vault has it durably. */
  readonly flushed: Lsn
  readonly applied?: Lsn
}

const blockBytesUsual = 4 * 1024 * 1024
const statusMsMax = 10_000
const statusMsMin = 50
const silenceMsUsual = 60_000
const statusBacklogBytesMax = 64 * 1024
const stopMsMax = 5000
const dataHeaderBytes = 25
const keepaliveBytes = 18
const epoch2000Us = 946_684_800_000_000

/**
 * Starts to stream. Resolves when the server has agreed. A position that it cannot serve is `database-log-gap`: the WAL is
 * gone, is not of its history, or lies ahead of it; most of this it finds only after it has agreed, so it comes out here or
 * when the first item is asked for. While the stream lasts, the connection is its own.
 */
export async function startPhysical(connection: Connection, request: WalRequest): Promise<WalStream> {
  const statusMs = statusInterval(await show(connection, 'wal_sender_timeout'))
  const stream = new WalStream(connection, request, statusMs)
  await stream.started
  return stream
}

/** A server drops a receiver that it has not heard from for `wal_sender_timeout`. */
function statusInterval(timeout: string): number {
  const parts = /^(\d+)(ms|s|min|h|d)?$/.exec(timeout)
  const units: Record<string, number> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }
  const ms = parts ? Number(parts[1]) * (units[parts[2] ?? 'ms'] as number) : 0
  return ms === 0 ? statusMsMax : Math.min(statusMsMax, Math.max(statusMsMin, Math.floor(ms / 4)))
}

/**
 * Iterate it once, for its items. What happens meanwhile:
 *
 * - WAL is read ahead of the consumer into two blocks of `blockBytes`. An item is everything that came since the last one, up
 *   to a block, so a consumer that syncs each item does group commit.
 * - When both are full, reading pauses until the consumer asks for the next item. It may take as long as it likes: the
 *   server counts what it hears from us, and a status goes out unasked several times per `wal_sender_timeout`. Keepalives of the
 *   server wait behind the WAL meanwhile, and need no answer then.
 * - A keepalive that wants an answer gets it while it is read, with the positions last told, whatever the consumer does.
 * - All this needs the event loop: a thread that blocks for longer than `wal_sender_timeout` is dropped by the server.
 * - `sendStatus` may be called at any time, also while an item is being waited for.
 * - At the end of a timeline the server is only released when the consumer asks for the item after the last WAL, so the
 *   status of that WAL still reaches it.
 *
 * Leaving the loop, or disposing, ends the stream and leaves the connection ready for the next command. An error ends it
 * after what had arrived has been handed out.
 */
export class WalStream implements AsyncIterable<WalItem>, AsyncDisposable {
  /** Settles when the server has agreed to stream, or refused. */
  readonly started: Promise<void>
  readonly #connection: Connection
  readonly #arrivals: Arrivals<'timeline-end' | 'shutdown'>
  readonly #answered: Promise<void>
  readonly #ended = new AbortController()
  readonly #statusMs: number
  readonly #silenceMsMax: number
  readonly #header = Buffer.alloc(dataHeaderBytes)
  #headerLength = 0
  #received: Lsn
  #taken: Lsn
  #serverEnd: Lsn = noLsn
  #sentAt: Moment | undefined
  #positions: Required<WalPositions> = { written: noLsn, flushed: noLsn, applied: noLsn }
  #isPaused = false
  #heard = false
  #isOver = false
  #isStreaming = false
  #isStopping = false
  #saidDone = false
  #isDoneByServer = false
  #switched: Extract<WalItem, { kind: 'timeline-end' }> | undefined

  /** Use `startPhysical`. */
  constructor(connection: Connection, { slot, start, timeline, ...limits }: WalRequest, statusMs: number) {
    this.#connection = connection
    this.#received = start
    this.#taken = start
    this.#statusMs = statusMs
    this.#silenceMsMax = limits.silenceMsMax ?? silenceMsUsual
    this.#arrivals = new Arrivals(limits.blockBytes ?? blockBytesUsual, {
      pause: () => this.#pause(true),
      resume: () => this.#pause(false),
    })
    const agreed = Promise.withResolvers<void>()
    this.started = agreed.promise
    const command = `START_REPLICATION ${slot === undefined ? '' : `SLOT ${quotedSlot(slot)} `}PHYSICAL ${formatLsn(start)} TIMELINE ${timeline}`
    const attempted = `streaming from ${formatLsn(start)} on timeline ${timeline} of ${connection.where}`
    this.#answered = connection.exchange(command, this.#sink(agreed.resolve), attempted).then(
      () => this.#end(),
      (error: unknown) => {
        this.#end(error)
        throw error
      },
    )
    this.#answered.then(agreed.resolve, (error: unknown) => agreed.reject(asLogGap(error)))
    void this.#keepAlive()
  }

  /** End of WAL at the server, as far as it has said. */
  get serverEnd(): Lsn {
    return this.#serverEnd
  }

  /** When, by the server's clock, it last said something. */
  get sentAt(): Moment | undefined {
    return this.#sentAt
  }

  /** End of what has arrived here. */
  get received(): Lsn {
    return this.#received
  }

  /**
   * Tells the server how far things are, at once. Positions only grow: a lower one than before is not told. Before the first
   * call nothing is claimed: the slot stays where it is, and no commit waits for us. After the end it does nothing.
   */
  sendStatus({ written, flushed, applied = noLsn }: WalPositions): void {
    const before = this.#positions
    this.#positions = {
      written: lsn(Math.max(before.written, written)),
      flushed: lsn(Math.max(before.flushed, flushed)),
      applied: lsn(Math.max(before.applied, applied)),
    }
    this.#writeStatus(false)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WalItem, void, void> {
    try {
      for (let arrival = await this.#arrivals.take(); arrival; arrival = await this.#arrivals.take()) {
        if (arrival.kind === 'bytes') {
          const start = this.#taken
          this.#taken = advanceLsn(start, arrival.bytes.length)
          yield { kind: 'wal', start, bytes: arrival.bytes }
        } else if (arrival.event === 'shutdown') {
          yield { kind: 'shutdown' }
          return
        } else {
          this.#sayDone()
        }
      }
      if (this.#switched) yield this.#switched
      else if (!this.#isStopping) throw this.#endedEarly()
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#arrivals.end()
    this.#isStopping = true
    if (!this.#isOver) {
      this.#sayDone()
      // What is still on its way is read and dropped, up to the server's own CopyDone.
      this.#connection.resume()
      const tooLong = new AbortController()
      void this.#connection.clock.sleep(stopMsMax, tooLong.signal).then(
        () =>
          this.#connection.fail(
            new TidemarkError('unreachable', { message: `${this.#connection.where} goes on streaming` }),
          ),
        () => {},
      )
      // Whoever uses the connection next is told how it failed.
      await this.#answered.catch(() => {})
      tooLong.abort()
    }
  }

  #sink(agreed: () => void): AnswerSink {
    return {
      columns: () => {},
      row: (body) => {
        const [next, switchAt] = readRow(body).map((value) => value?.toString('latin1') ?? '')
        this.#switched = { kind: 'timeline-end', next: parseTimeline(next ?? ''), switchAt: parseLsn(switchAt ?? '') }
      },
      copyStart: (kind) => {
        if (kind !== 'both') throw new Malformed('a stream of WAL that is not one')
        this.#isStreaming = true
        agreed()
      },
      copyDataStart: (bytes) => {
        if (bytes === 0) throw new Malformed('an empty message in a stream of WAL')
        this.#headerLength = 0
        this.#heard = true
      },
      copyData: (source, start, end) => this.#copyData(source, start, end),
      copyDataEnd: () => this.#copyDataEnd(),
      copyDone: () => {
        if (!this.#saidDone) this.#arrivals.event('timeline-end')
        this.#isDoneByServer = true
      },
      complete: () => {
        // A server that shuts down ends the command without CopyDone, and then the connection.
        if (this.#isStreaming && !this.#isDoneByServer && !this.#saidDone) this.#arrivals.event('shutdown')
      },
    }
  }

  #copyData(source: Buffer, start: number, end: number): void {
    this.#heard = true
    let at = start
    const wanted = this.#headerWanted(this.#headerLength === 0 ? source[start] : this.#header[0])
    if (this.#headerLength < wanted) {
      const taken = Math.min(wanted - this.#headerLength, end - start)
      source.copy(this.#header, this.#headerLength, start, start + taken)
      this.#headerLength += taken
      at += taken
      if (this.#headerLength === dataHeaderBytes) this.#beginData()
    }
    if (at === end) return
    if (wanted !== dataHeaderBytes) throw new Malformed('a keepalive that is too long')
    this.#received = advanceLsn(this.#received, end - at)
    if (!this.#isStopping) this.#arrivals.bytes(source, at, end)
  }

  #headerWanted(kind: number | undefined): number {
    if (kind === 0x77) return dataHeaderBytes
    if (kind === 0x6b) return keepaliveBytes
    throw new Malformed(`a message of kind ${kind} in a stream of WAL`)
  }

  #beginData(): void {
    const reader = new ByteReader(this.#header, 1)
    const start = lsn(reader.u64())
    this.#serverSays(reader)
    if (start === this.#received) return
    throw new TidemarkError('database-log-gap', {
      message: `${this.#connection.where} sent WAL at ${formatLsn(start)} where ${formatLsn(this.#received)} comes next`,
      hint: 'it is streamed again from the last durable position',
    })
  }

  #serverSays(reader: ByteReader): void {
    // A keepalive tells only what has been sent.
    this.#serverEnd = lsn(Math.max(this.#serverEnd, reader.u64()))
    this.#sentAt = moment(Number(reader.i64()) + epoch2000Us)
  }

  #copyDataEnd(): void {
    if (this.#headerLength !== this.#headerWanted(this.#header[0]))
      throw new Malformed('a message of WAL that is too short')
    if (this.#headerLength === dataHeaderBytes) return
    this.#serverSays(new ByteReader(this.#header, 1, keepaliveBytes))
    if (this.#header[keepaliveBytes - 1] !== 0) this.#writeStatus(false)
  }

  #writeStatus(wantsReply: boolean): void {
    // A server that takes nothing gets the newest positions when it does: the next status has them.
    if (this.#isOver || this.#saidDone || this.#connection.writeBacklog > statusBacklogBytesMax) return
    const { written, flushed, applied } = this.#positions
    const now = this.#connection.clock.now()
    const sent = BigInt(now - epoch2000Us)
    this.#connection.write(
      new ByteWriter(39)
        .u8(copyDataType)
        .u32(38)
        .u8(0x72)
        .u64(written)
        .u64(flushed)
        .u64(applied)
        .i64(sent)
        .u8(wantsReply ? 1 : 0)
        .finish(),
    )
  }

  async #keepAlive(): Promise<void> {
    const tick = (): Promise<boolean> =>
      this.#connection.clock.sleep(this.#statusMs, this.#ended.signal).then(
        () => true,
        () => false,
      )
    for (let silentMs = 0; await tick();) {
      silentMs = this.#heard || this.#isPaused ? 0 : silentMs + this.#statusMs
      this.#heard = false
      if (silentMs > this.#silenceMsMax) {
        const message = `${this.#connection.where} has been silent for ${Math.round(silentMs / 1000)} s`
        return this.#connection.fail(new TidemarkError('unreachable', { message }))
      }
      this.#writeStatus(silentMs > 0)
    }
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    if (isPaused) this.#connection.pause()
    else this.#connection.resume()
  }

  #sayDone(): void {
    if (this.#saidDone) return
    this.#saidDone = true
    this.#connection.write(copyDone())
  }

  #end(error?: unknown): void {
    this.#isOver = true
    this.#ended.abort()
    this.#arrivals.end(error === undefined ? {} : { error: asLogGap(error) })
  }

  #endedEarly(): TidemarkError {
    return new TidemarkError('protocol-violation', {
      message: `${this.#connection.where} ended its stream of WAL without saying where its history goes on`,
    })
  }
}

/**
 * 58P01: the WAL was removed. XX000: the position is ahead of the server, or its history left the timeline before. 55000:
 * the slot was invalidated, because it kept too much. The words may be in any language, so they do not decide.
 */
function asLogGap(error: unknown): unknown {
  if (isCode(error, 'database-log-gap') || !hasSqlState(error, '58P01', 'XX000', '55000')) return error
  return new DatabaseError(
    'database-log-gap',
    {
      message: error.message,
      hint: 'the server no longer has this log, or has another history; after a failover the fork is in its timeline history, else a new baseline is needed',
    },
    error.report,
  )
}
