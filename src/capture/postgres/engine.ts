import { EventEmitter } from 'node:events'
import type { Clock } from '../../base/clock.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { together } from '../../base/together.ts'
import { formatLsn, type Lsn, noLsn, type Timeline, walSegmentStart } from '../../model/lsn.ts'
import { isoMoment, type Moment, moment } from '../../model/moment.ts'
import { type CaptureReport, type CaptureState, problemsMax } from '../../model/report.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { PostgresSettings } from '../../model/source.ts'
import type { CaptureOutput } from '../capture.ts'
import { Baselines } from './baselines.ts'
import { Coverage } from './coverage.ts'
import { decodeCursor } from './cursor.ts'
import { FlushedPosition } from './flushed.ts'
import { Journal } from './journal.ts'
import { waitingBytes } from '../output-queue.ts'
import type { EngineRequest } from './messages.ts'
import type { ToEngine } from '../thread-messages.ts'
import { checkServer } from './preconditions.ts'
import { PendingMarks } from './pending-marks.ts'
import { problemOf, Problems } from '../problems.ts'
import { timelineHistory } from './protocol/replication.ts'
import { startPhysical, type WalItem, type WalStream } from './protocol/wal-stream.ts'
import { openServer, type Server, type ServerRequest } from './server.ts'
import { keepSlotWithin } from './slot-limit.ts'
import { ensureSlot, slotOf } from './slot.ts'
import { historyOf, placeInHistory, timelineAtServer } from './timelines.ts'
import { changeWithin, changed, untilSo } from './waiting.ts'
import { WalGathering } from './wal-gathering.ts'
import { type UnprotectedSpan, ZeroLossKeeper } from './zero-loss.ts'

export interface EngineParts {
  readonly clock: Clock
  readonly random: Random
  readonly hand: (output: CaptureOutput) => void
}

/** Bytes of batches that nobody has taken; the server waits until there are fewer. */
const waitingBytesMax = 4 * 1024 * 1024
/** How often the server is asked where it is: usually, after WAL that is not known to be all, and while a mark waits. */
const beatMs = { usual: 500, busy: 100, mark: 25 }
const reportMs = { usual: 1000, busy: 100 }
/** Of log that is not acknowledged. */
const caughtUpBytes = 64 * 1024
/** What comes within so long after a batch goes together, unless commits wait for it. */
const togetherMs = 20
const retryMs = { min: 200, max: 5000 }

/**
 * Streams the log of a cluster into its journal, and has baselines copied beside it. What can go wrong leaves the session
 * with the server; the next one goes on at the journal's end. So everything that must not be forgotten is in the journal.
 *
 *   the line is up   connect, find the place in the server's history, stream; end of a timeline: the next one
 *   log is gone      once more with the slot made anew, then a hole, and on from where the slot keeps the log
 *   the line is down nothing; the slot keeps the log
 */
export class Engine {
  readonly #request: EngineRequest
  readonly #settings: PostgresSettings
  readonly #parts: EngineParts
  readonly #slot: string
  readonly #journal: Journal
  readonly #baselines: Baselines
  readonly #coverage = new Coverage()
  readonly #keeper: ZeroLossKeeper
  readonly #problems = new Problems()
  readonly #stop = new AbortController()
  readonly #changed = new EventEmitter()
  #line = false
  #lineDown = new AbortController()
  #stream: WalStream | undefined
  /** Where the slot keeps the log from, as it was when the session began. */
  #keptFrom: Lsn = noLsn
  /** In this session the server has sent log from the journal's end on. */
  #isServed = false
  #flushed: FlushedPosition | undefined
  #isVanished = false
  #hasStreamed = false
  #waitingBytes = 0
  readonly #marks = new PendingMarks()
  /** When WAL was last put into the journal. */
  #takenAt = moment(0)
  #reportedAtMs = 0
  #reportedUpTo: Sequence | undefined
  #reportedCovered = 0
  /** Where the server lacked the log that comes next. */
  #gapAt: Lsn | undefined
  #startsAnew = false

  constructor(request: EngineRequest, parts: EngineParts) {
    const settings = request.source.postgres
    if (settings === undefined) throw new TidemarkError('bad-request', { message: 'a source without its settings' })
    this.#request = request
    this.#settings = settings
    this.#parts = parts
    this.#slot = slotOf(request.source)
    this.#changed.setMaxListeners(0)
    const cursor = decodeCursor(request.cursor)
    this.#journal = new Journal({
      cursor,
      sequence: request.resumeAt,
      session: Buffer.from(parts.random.bytes(4)).readUInt32BE(),
      clock: parts.clock,
      hand: (batch) => this.#hand(batch),
    })
    this.#keeper = new ZeroLossKeeper({
      server: this.#serverRequest,
      zeroLoss: settings.zeroLoss,
      capturedAt: this.#journal.moment > 0 ? this.#journal.moment : undefined,
      clock: parts.clock,
      unprotected: (span) => this.#journal.note(describeUnprotected(span)),
    })
    this.#baselines = new Baselines({
      journal: this.#journal,
      request: this.#serverRequest,
      settings,
      chunkKey: request.chunkKey,
      clock: parts.clock,
      hand: (offer) => parts.hand(offer),
      room: (signal) => this.#room(signal),
      problems: this.#problems,
    })
  }

  receive(message: ToEngine): void {
    switch (message.kind) {
      case 'acknowledged':
        if (!this.#journal.acknowledgements.upTo(message.sequence)) break
        this.#tellServer()
        this.#keeper.acknowledged()
        this.#tellKeeper()
        break
      case 'answer':
        this.#baselines.answer(message.tag, message.missing)
        break
      case 'line':
        this.#setLine(message.up)
        break
      case 'mark':
        this.#marks.add({ tag: message.tag, label: message.label, asked: this.#now })
        this.#flushed?.ask()
        break
      case 'reconcile':
        this.#baselines.request()
        break
      case 'hole':
        this.#journal.hole(message.since, message.reason)
        break
      case 'taken':
        this.#waitingBytes -= message.bytes
        break
      case 'stop':
        this.#stop.abort(new TidemarkError('interrupted', { message: 'the capture is closed' }))
        break
    }
    this.#changed.emit(changed)
  }

  /** Until it is told to stop. */
  async run(): Promise<void> {
    const { signal } = this.#stop
    this.#report()
    try {
      await together(signal, [
        (inside) => this.#follow(inside),
        (inside) => this.#beat(inside),
        (inside) => this.#baselines.run(inside),
        (inside) => this.#watchSlot(inside),
        (inside) => this.#keeper.run(inside),
      ])
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** One session with the server after the other, while there is a line. */
  async #follow(signal: AbortSignal): Promise<void> {
    for (let retry = retryMs.min; ;) {
      await this.#until(() => this.#line, signal)
      const lineDown = this.#lineDown.signal
      const before = this.#journal.position
      try {
        await this.#session(AbortSignal.any([signal, lineDown]))
        this.#problems.clear('server')
      } catch (error) {
        signal.throwIfAborted()
        if (!lineDown.aborted) this.#failed(error)
      }
      this.#report()
      retry = this.#journal.position === before ? Math.min(retryMs.max, retry * 2) : retryMs.min
      if (!lineDown.aborted) await this.#parts.clock.sleep(retry, signal)
    }
  }

  // A session with the server

  async #session(signal: AbortSignal): Promise<void> {
    await using server = await openServer(this.#serverRequest, signal)
    this.#requireSameCluster(server)
    await this.#check(server, signal)
    const restart = await ensureSlot(server, this.#slot, this.#gapAt)
    this.#keptFrom = restart
    if (this.#journal.log === undefined) await this.#begin(server, restart)
    else if (this.#startsAnew) await this.#beginAnew(server, restart)
    else await this.#goOn(server)
    this.#isVanished = false
    for (;;) {
      const end = await this.#streamTimeline(server, signal)
      if (end?.kind !== 'timeline-end') return
      await this.#switchTimeline(server, end.next, end.switchAt)
    }
  }

  #requireSameCluster({ identity, replication, segmentBytes }: Server): void {
    const { log } = this.#journal
    if (log === undefined || (BigInt(identity.systemId) === log.systemId && segmentBytes === log.segmentBytes)) return
    this.#isVanished = true
    throw new TidemarkError('source-vanished', {
      message: `${replication.where} is another cluster (system identifier ${identity.systemId}) than the one that is protected (${log.systemId})`,
      hint: 'nothing of it is taken; bring back the protected cluster, or protect the new one as a source of its own',
    })
  }

  async #begin(server: Server, restart: Lsn): Promise<void> {
    const { identity, segmentBytes, version } = server
    const start = walSegmentStart(restart, segmentBytes)
    const on = await timelineAtServer(server, start)
    const history = await historyOf(server, on)
    this.#journal.begin({ systemId: BigInt(identity.systemId), segmentBytes, version }, on, start, history)
  }

  async #beginAnew(server: Server, restart: Lsn): Promise<void> {
    const start = walSegmentStart(restart, server.segmentBytes)
    const on = await timelineAtServer(server, start)
    this.#journal.beginStretch(on, start, start, await historyOf(server, on))
    this.#startsAnew = false
    this.#gapAt = undefined
  }

  /** At the journal's end, or where the server's history has left what the journal holds. */
  async #goOn(server: Server): Promise<void> {
    const { identity, replication } = server
    const log = this.#journal.log
    if (log === undefined) return
    const history = await historyOf(server, identity.timeline)
    const place = placeInHistory(log, identity.timeline, history)
    switch (place.kind) {
      case 'same':
        return
      case 'forked':
        return await this.#switchTimeline(server, place.next, place.at)
      case 'older':
        this.#isVanished = true
        throw new TidemarkError('source-vanished', {
          message: `${replication.where} is on timeline ${identity.timeline}, and the protected cluster has gone on to timeline ${this.#journal.timeline}`,
          hint: 'this looks like an old primary that came back: nothing of it is taken; rebuild it as a standby of the new one',
        })
      case 'foreign':
        throw new TidemarkError('database-log-gap', {
          message: `the history of ${replication.where} does not go through what the journal holds: ${place.why}`,
        })
    }
  }

  async #switchTimeline(server: Server, next: Timeline, at: Lsn): Promise<void> {
    const { position = noLsn, timeline } = this.#journal
    const history = await timelineHistory(server.replication, next)
    this.#baselines.interrupt(`the cluster has gone on to timeline ${next}`)
    this.#journal.note(`timeline ${next} from ${formatLsn(at)}`)
    if (position > at) {
      this.#problems.set('fork', {
        code: 'database-log-gap',
        message: `the cluster went on to timeline ${next} at ${formatLsn(at)}, before ${formatLsn(position)}, up to where the vault has timeline ${timeline}`,
        hint: 'what was committed in between is not in the cluster any more, and can be recovered from the vault',
      })
    }
    this.#journal.beginStretch(next, walSegmentStart(at, server.segmentBytes), at, history)
  }

  /** Resolves with what ended the stream of one timeline. */
  async #streamTimeline(server: Server, signal: AbortSignal): Promise<WalItem | undefined> {
    const { position: start, timeline } = this.#journal
    if (start === undefined || timeline === undefined) return undefined
    signal.throwIfAborted()
    await using stream = await startPhysical(server.replication, { slot: this.#slot, start, timeline })
    const leave = (): void => void stream[Symbol.asyncDispose]()
    let failure: { readonly error: unknown } | undefined
    const flushed = new FlushedPosition(server.sql, this.#parts.clock, (error) => {
      failure = { error }
      leave()
    })
    signal.addEventListener('abort', leave, { once: true })
    this.#stream = stream
    this.#flushed = flushed
    this.#coverage.restart()
    this.#isServed = false
    this.#tellServer()
    this.#baselines.logGrew()
    try {
      if (signal.aborted) return undefined
      const gathering = new WalGathering()
      for await (const item of stream) {
        const pieces = item.kind === 'wal' ? gathering.pieces(item, stream.serverEnd) : gathering.rest()
        for (const piece of pieces) this.#take(piece, stream)
        if (item.kind !== 'wal') return item
        await this.#room(signal)
        if (stream.received >= stream.serverEnd) await this.#together(signal)
      }
      if (failure !== undefined && !signal.aborted) throw failure.error
      return undefined
    } finally {
      this.#stream = undefined
      this.#flushed = undefined
      this.#tellKeeper()
      signal.removeEventListener('abort', leave)
    }
  }

  /**
   * Each batch costs both ends the same, be it a commit or a hundred. Where no commit waits, what the server sends within a
   * moment is left in the stream, and comes as one.
   */
  async #together(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const endsAt = clock.monotonicMs() + togetherMs
    for (let left: number = togetherMs; left > 0; left = endsAt - clock.monotonicMs()) {
      if (this.#keeper.isOn || !this.#marks.isEmpty) return
      await changeWithin(this.#changed, clock, left, signal)
    }
  }

  #take(bytes: Buffer, stream: WalStream): void {
    this.#journal.append(bytes, (position) => position >= stream.serverEnd)
    if (!this.#isServed) {
      this.#isServed = true
      this.#tellServer()
    }
    if (!this.#hasStreamed) {
      this.#hasStreamed = true
      this.#report()
    }
    this.#takenAt = this.#now
    this.#changed.emit(changed)
    this.#gapAt = undefined
    this.#problems.clear('server')
    const { damage } = this.#journal
    if (damage !== undefined) this.#problems.set('commits', { code: 'damaged', message: damage })
    this.#baselines.logGrew()
  }

  #failed(error: unknown): void {
    if (isCode(error, 'database-log-gap')) this.#gap(error)
    this.#problems.set('server', problemOf(error))
  }

  /** Once more with a slot that is whole; then what is missing is missing. */
  #gap(error: TidemarkError): void {
    const { position, log } = this.#journal
    if (log === undefined || this.#startsAnew) return
    if (this.#gapAt !== position) {
      this.#gapAt = position
      return
    }
    this.#baselines.interrupt('the log has a gap')
    this.#journal.gap(this.#coverage.covered || this.#journal.moment, error.message)
    this.#problems.set('gap', { code: error.code, message: error.message, hint: 'a new baseline is being taken' })
    this.#startsAnew = true
    this.#baselines.request()
  }

  /**
   * Never more than is acknowledged. A slot goes back to where it is told to, also to log that is gone, and is of no use then:
   * so one that has gone on without us is told only once the server has sent what comes next.
   */
  #tellServer(): void {
    const { acknowledged } = this.#journal.acknowledgements
    if (acknowledged === undefined || (acknowledged < this.#keptFrom && !this.#isServed)) return
    this.#stream?.sendStatus({ written: acknowledged, flushed: acknowledged, applied: acknowledged })
  }

  async #watchSlot(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const { walKeptBytesMax } = this.#settings
    const request = { server: this.#serverRequest, slot: this.#slot, walKeptBytesMax, clock }
    await keepSlotWithin(request, (problems) => this.#problems.set('slot', ...problems), signal)
  }

  /** What stands in the way of protecting this server, or of restoring all of it. */
  async #check({ target }: Server, signal: AbortSignal): Promise<void> {
    const settings = this.#settings
    const { findings } = await checkServer({ ...this.#serverRequest, target, settings, slot: this.#slot }, signal)
    this.#problems.set('check', ...findings.map(({ code, message, hint }) => ({ code, message, hint })))
  }

  /** Commits may wait for the vault while it lacks next to nothing. */
  #tellKeeper(): void {
    const { acknowledged } = this.#journal.acknowledgements
    const end = this.#stream?.serverEnd ?? noLsn
    this.#keeper.caughtUp(acknowledged !== undefined && end > noLsn && end - acknowledged < caughtUpBytes)
  }

  // The agent's side

  #setLine(up: boolean): void {
    if (up === this.#line) return
    this.#line = up
    this.#baselines.line(up)
    this.#keeper.line(up)
    if (up) this.#lineDown = new AbortController()
    else this.#lineDown.abort(new TidemarkError('interrupted', { message: 'the vault cannot be reached' }))
  }

  #hand(output: CaptureOutput): void {
    this.#waitingBytes += waitingBytes(output)
    this.#parts.hand(output)
  }

  #room(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#waitingBytes < waitingBytesMax, signal)
  }

  /**
   * Asks the server where it is, so that what is captured is known to be all there is; reports follow at once what has come
   * to be known, and go out now and then anyway.
   */
  async #beat(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#nextBeat(signal)
      this.#coverage.heard(this.#flushed?.known, this.#journal.position)
      this.#flushed?.ask()
      this.#writeMarks()
      this.#tellKeeper()
      const isFurther = this.#coverage.covered > this.#reportedCovered
      const hasNews = isFurther && this.#reportedUpTo !== this.#journal.sequence
      const sinceMs = this.#parts.clock.monotonicMs() - this.#reportedAtMs
      if (sinceMs >= (hasNews ? reportMs.busy : reportMs.usual)) this.#report()
    }
  }

  async #nextBeat(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const endsAt = clock.monotonicMs() + beatMs.usual
    for (let left: number = beatMs.usual; left > 0; left = endsAt - clock.monotonicMs()) {
      if (!this.#marks.isEmpty) return await clock.sleep(beatMs.mark, signal)
      if (this.#isBusy) return await clock.sleep(beatMs.busy, signal)
      await changeWithin(this.#changed, clock, left, signal)
    }
  }

  /** WAL has come that is not known to be all there was. */
  get #isBusy(): boolean {
    return this.#stream !== undefined && this.#takenAt > this.#coverage.covered
  }

  #writeMarks(): void {
    const { covered } = this.#coverage
    for (const { tag, label } of this.#marks.due({ covered, now: this.#now, isHeard: this.#stream !== undefined })) {
      this.#journal.userMark(tag, label)
    }
  }

  #report(): void {
    this.#reportedAtMs = this.#parts.clock.monotonicMs()
    this.#reportedUpTo = this.#journal.sequence
    this.#reportedCovered = this.#coverage.covered
    const { progress } = this.#baselines
    const { completedAt } = this.#journal.baselines
    const report: CaptureReport = {
      state: this.#state,
      covered: this.#coverage.covered,
      upTo: this.#journal.sequence,
      dirty: 0,
      ...(completedAt > 0 ? { compared: completedAt } : {}),
      ...(progress ? { progress } : {}),
      watching: 'replication',
      problems: [...this.#problems.list(), ...this.#keeper.problems()].slice(-problemsMax),
    }
    this.#parts.hand({ kind: 'report', report })
  }

  get #state(): CaptureState {
    if (this.#isVanished) return 'vanished'
    if (!this.#hasStreamed && this.#journal.log === undefined) return 'starting'
    return this.#journal.isRestorable ? 'live' : 'baseline'
  }

  get #now(): Moment {
    return moment(this.#parts.clock.now())
  }

  get #serverRequest(): ServerRequest {
    const { clock, random } = this.#parts
    return { url: this.#settings.url, account: this.#request.account, applicationName: this.#slot, clock, random }
  }

  #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    return untilSo(this.#changed, isSo, signal)
  }
}

const describeUnprotected = ({ since, until }: UnprotectedSpan): string =>
  until === undefined
    ? `commits do not wait for the vault from ${isoMoment(since)} on`
    : `commits wait for the vault; from ${isoMoment(since)} to ${isoMoment(until)} they did not`
