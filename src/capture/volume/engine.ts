import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { together, untilAborted } from '../../base/together.ts'
import { Wake } from '../../base/wake.ts'
import type { VolumeRecord } from '../../format/volume-log.ts'
import { inlineBytesMax } from '../../model/batch.ts'
import { moment } from '../../model/moment.ts'
import type { VolumeSettings } from '../../model/source.ts'
import type { MirrorLeg } from '../../nbd/mirror-leg.ts'
import type { Lane } from '../batch-builder.ts'
import type { CapturedBatch, CaptureOutput } from '../capture.ts'
import { ChunkIds } from '../chunk-ids.ts'
import { problemOf, Problems } from '../problems.ts'
import type { ToEngine } from '../thread-messages.ts'
import { AskedMarks } from './asked-marks.ts'
import { compareOnSchedule } from './comparisons.ts'
import { Conversation } from './conversation.ts'
import { Copier } from './copier.ts'
import { Coverage } from './coverage.ts'
import { decodeCursor } from './cursor.ts'
import { Flights } from './flights.ts'
import { Journal } from './journal.ts'
import type { EngineRequest } from './messages.ts'
import { Outgoing } from './outgoing.ts'
import { MirrorWatch } from './mirror-watch.ts'
import { Reports } from './reports.ts'
import type { OpenServer, ServerLink } from './server-link.ts'
import { TakenReads } from './taken-reads.ts'
import { isOfAnotherPast, takingUp, whyGap } from './state.ts'

export interface EngineParts {
  readonly clock: Clock
  readonly random: Random
  readonly hand: (output: CaptureOutput) => void
  readonly openServer: OpenServer
  /** How the volume does as a leg of a mirror. */
  readonly lookAtLeg: () => MirrorLeg
}

/** What becomes durable within so long after a batch goes together. */
const togetherMs = 20
/** How often the server is asked where it is: usually, and after records that are not known to be all. */
const beatMs = { usual: 500, busy: 100 }
const retryMs = { min: 200, max: 5000 }

/**
 * Ships the log of a volume into its journal, and copies the volume beside it while it is written to. All that must not be
 * forgotten is in the cursor; a conversation with the server that ends is followed by another, at the journal's end.
 *
 * **Why a copy is right.** C(k) is the volume after record k. The capture takes records in their order, only durable ones,
 * and writes nothing else; L is the last one whose changes are in the journal (or have been begun: its remaining pieces
 * follow, or are all written again). For each byte of the disk in the journal it is claimed: *from the change on that copies
 * its part, it is that of C(L)*. So the disk is C(L) once all parts have been copied, and stays so.
 *
 *  1. A flight begins at L = s: from now on it is told of each record before that is written, and puts it over what it has.
 *  2. Then the part is read. The server shows each write to readers from before it is told as durable, so every byte read is
 *     that of C(m), for some m >= s that may differ from byte to byte.
 *  3. When the read has ended the server is asked for its last record, p. So m <= p.
 *  4. The part is offered to the vault when L >= p, and written still later, at L = n. A byte that a record in (s, n] has
 *     touched was overwritten by the last of these: it is that of C(n). One that none has touched is that of C(m) with
 *     s <= m <= p <= n, and did not change between s and n: that of C(n) too.
 *  5. Each further record is applied to the journal as it was to the volume.
 *
 * Step 4 also keeps out what never was: a record that had been read but was lost with the server's machine is beyond
 * what it had synced, so L did not reach p in that conversation, and with the conversation its flights are dropped.
 *
 * Zeros need not be written onto a disk of zeros: a byte that no record touched is zero in the journal, and zero in C(n) if it
 * was read so; one that a record did touch is in the journal by that.
 *
 * After a *gap* (the log gave up history: another epoch) the journal holds C(k), the next record is f > k + 1, and what the
 * records in between touched is what the server has noted as touched. The rest is that of C(f - 1) already; the touched is
 * copied as above. Until then the journal is suspect. A journal that is behind what the server knows to be acknowledged is an
 * old copy of the journal, for which nothing is noted: everything is copied.
 */
export class Engine {
  readonly #settings: VolumeSettings
  readonly #reconcileMs: number
  readonly #parts: EngineParts
  readonly #journal: Journal
  readonly #flights = new Flights()
  readonly #ids: ChunkIds
  readonly #coverage = new Coverage()
  readonly #problems = new Problems()
  readonly #stop = new AbortController()
  readonly #changed = new Wake()
  readonly #marks = new AskedMarks()
  readonly #mirror: MirrorWatch
  readonly #reports: Reports
  #link: ServerLink | undefined
  /** Whether the log of the link is known to be the one that the journal goes on with: before, nothing of its records may be said. */
  #isTakenUp = false
  #conversation: Conversation | undefined
  #copier: Copier | undefined
  readonly #wanted = { isEverything: false }
  #line = false
  readonly #outgoing = new Outgoing()
  readonly #reads = new TakenReads()
  #offerTag = 0

  constructor(request: EngineRequest, parts: EngineParts) {
    const settings = request.source.volume
    if (settings === undefined) throw new TidemarkError('bad-request', { message: 'a source without its settings' })
    this.#settings = settings
    this.#reconcileMs = request.source.policy.reconcileMs
    this.#parts = parts
    this.#mirror = new MirrorWatch(parts.lookAtLeg)
    this.#ids = new ChunkIds(request.chunkKey)
    this.#journal = new Journal({
      cursor: decodeCursor(request.cursor),
      sequence: request.resumeAt,
      session: Buffer.from(parts.random.bytes(4)).readUInt32BE(),
      clock: parts.clock,
      hand: (batch) => this.#hand(batch),
    })
    this.#reports = new Reports({
      clock: parts.clock,
      journal: this.#journal,
      coverage: this.#coverage,
      problems: this.#problems,
      conversation: () => this.#conversation,
      hand: (report) => parts.hand({ kind: 'report', report }),
    })
  }

  receive(message: ToEngine): void {
    switch (message.kind) {
      case 'acknowledged':
        this.#acknowledged(message)
        break
      case 'answer':
        this.#copier?.answer(message.tag, message.missing)
        break
      case 'line':
        this.#setLine(message.up)
        break
      case 'mark':
        this.#marks.ask(message)
        this.#link?.tell({ kind: 'mark', tag: message.tag, label: message.label })
        break
      case 'reconcile':
        this.#wanted.isEverything = true
        this.#mirror.trust()
        break
      case 'hole':
        this.#journal.hole(message.since, message.reason)
        break
      case 'taken':
        this.#outgoing.taken(message.bytes)
        break
      case 'stop':
        this.#stop.abort(new TidemarkError('interrupted', { message: 'the capture is closed' }))
        break
    }
    this.#changed.wake()
  }

  /** Until it is told to stop. */
  async run(): Promise<void> {
    const { signal } = this.#stop
    this.#reports.tell()
    try {
      await together(signal, [(inside) => this.#follow(inside), (inside) => this.#reports.run(inside)])
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** One conversation with the server after the other. */
  async #follow(signal: AbortSignal): Promise<void> {
    for (let retry = retryMs.min; ;) {
      const before = this.#journal.sequence
      try {
        await this.#converse(signal)
      } catch (error) {
        signal.throwIfAborted()
        this.#reports.isAway = true
        this.#problems.set('server', problemOf(error))
      }
      this.#reports.tell()
      retry = this.#journal.sequence === before ? Math.min(retryMs.max, retry * 2) : retryMs.min
      await this.#parts.clock.sleep(retry, signal)
    }
  }

  async #converse(signal: AbortSignal): Promise<void> {
    await using link = await this.#parts.openServer(signal)
    const conversation = new Conversation(link, this.#changed, (tag) => this.#marks.inLog(tag))
    this.#link = link
    this.#conversation = conversation
    this.#coverage.restart()
    try {
      await together(signal, [
        () => conversation.listen(),
        (inside) => this.#work(link, conversation, inside),
        // Ends the conversation, and with it the listening.
        (inside) => untilAborted(inside).finally(() => link[Symbol.asyncDispose]()),
      ])
    } finally {
      this.#link = undefined
      this.#isTakenUp = false
      this.#conversation = undefined
      this.#copier = undefined
      this.#flights.clear()
      this.#journal.interrupted()
    }
  }

  async #work(link: ServerLink, conversation: Conversation, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    this.#introduce(link)
    await this.#changed.until(() => (this.#line ? true : undefined), signal)
    await this.#takeUp(link, conversation, signal)
    this.#journal.healing.forget()
    this.#isTakenUp = true
    this.#tellAcknowledged()
    this.#reports.isAway = false
    this.#problems.clear('server')
    this.#reports.tell()
    await together(signal, [
      (inside) => this.#live(link, conversation, inside),
      (inside) => this.#copy(link, conversation, inside),
      (inside) =>
        compareOnSchedule(
          { journal: this.#journal, clock, everyMs: this.#reconcileMs, wanted: this.#wanted, changed: this.#changed },
          inside,
        ),
      (inside) => this.#look(conversation, inside),
    ])
  }

  #introduce(link: ServerLink): void {
    link.tell({ kind: 'settings', settings: this.#settings })
    link.tell({ kind: 'line', up: this.#line })
    for (const mark of this.#marks.untold()) link.tell({ kind: 'mark', ...mark })
  }

  /** Goes on at the journal's end, or over a gap. */
  async #takeUp(link: ServerLink, conversation: Conversation, signal: AbortSignal): Promise<void> {
    const journal = this.#journal
    const facts = link.volume
    const last = await conversation.place()
    const before = { epoch: facts.epoch, number: facts.first - 1 }
    if (!journal.hasBegun) return journal.begin(before, facts.bytes)
    let how = takingUp(journal.place, facts, last)
    if (how === 'goes-on' && journal.place.number >= facts.first) {
      await this.#changed.until(() => (conversation.durable >= journal.place.number ? true : undefined), signal)
      if (await isOfAnotherPast(link, journal.place)) how = 'all-in-doubt'
      signal.throwIfAborted()
    }
    // What the vault acknowledges of another past says nothing of this log's records.
    if (how === 'all-in-doubt') journal.acknowledgements.beginAnew()
    if (how !== 'goes-on') {
      const since = this.#coverage.covered || journal.moment
      journal.gap(before, { since, why: whyGap[how], isAllInDoubt: how === 'all-in-doubt' })
    }
    journal.grownTo(facts.bytes)
  }

  // The log

  async #live(link: ServerLink, conversation: Conversation, signal: AbortSignal): Promise<void> {
    const journal = this.#journal
    for (;;) {
      await this.#changed.until(
        () => (this.#line && conversation.durable > journal.place.number ? true : undefined),
        signal,
      )
      const upTo = conversation.durable
      for await (const records of link.records(journal.place.number, upTo)) {
        for (const record of records) {
          if (!this.#hasRoom('live')) await this.#room('live', signal)
          signal.throwIfAborted()
          const rest = this.#take(record, signal)
          if (rest) await rest
          // The volume is as large as it was when the conversation began.
          if (record.kind === 'resize') return journal.close(false)
        }
        this.#reads.add(records)
        this.#progressed()
      }
      const isAll = journal.place.number === conversation.durable
      journal.close(isAll)
      this.#progressed()
      // A batch costs both ends the same, be it a write or a hundred: where no flush waits for the vault, they go together.
      if (isAll && this.#settings.zeroLoss === undefined) await this.#parts.clock.sleep(togetherMs, signal)
    }
  }

  #take(record: VolumeRecord, signal: AbortSignal): Promise<void> | undefined {
    this.#flights.touch(record)
    if (record.kind === 'write' && record.data.length > inlineBytesMax) return this.#takeInPieces(record, signal)
    this.#journal.take(record, record.kind === 'mark' && this.#marks.answer(record))
    return undefined
  }

  async #takeInPieces(record: Extract<VolumeRecord, { kind: 'write' }>, signal: AbortSignal): Promise<void> {
    for (const _ of this.#journal.pieces(record)) {
      if (!this.#hasRoom('live')) await this.#room('live', signal)
    }
    signal.throwIfAborted()
    this.#journal.take(record)
  }

  #progressed(): void {
    const journal = this.#journal
    const { number, awaySince } = journal.place
    if (!(awaySince !== 0 && journal.isWithinRecord) && this.#coverage.reached(number)) {
      const { covered } = this.#coverage
      journal.covered(covered)
      // Only of a leg that is whole something is heard.
      if (awaySince !== 0) journal.legCame(covered, number === this.#conversation?.durable)
    }
    this.#changed.wake()
  }

  /** Asks the server where it is, so that what is captured is known to be all there is. */
  async #look(conversation: Conversation, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    for (;;) {
      const at = moment(clock.now())
      const isWhole = this.#lookAtMirror()
      const number = await conversation.place()
      if (isWhole) this.#coverage.heard(at, number)
      else this.#coverage.restart()
      this.#progressed()
      await this.#changed.until(() => (this.#coverage.isWaiting ? undefined : true), signal)
      await clock.sleep(this.#reports.isBusy ? beatMs.busy : beatMs.usual, signal)
    }
  }

  /** Whether what the volume holds is all that was written. */
  #lookAtMirror(): boolean {
    const journal = this.#journal
    const { awaySince } = journal.place
    const { isWhole, wasAway, problems } = this.#mirror.look(awaySince)
    this.#problems.set('mirror', ...problems)
    if (awaySince === 0 && (wasAway || !isWhole)) journal.legWent(this.#coverage.covered || journal.moment)
    return isWhole
  }

  // Copies

  async #copy(link: ServerLink, conversation: Conversation, signal: AbortSignal): Promise<void> {
    this.#copier = new Copier({
      journal: this.#journal,
      flights: this.#flights,
      link,
      conversation,
      ids: this.#ids,
      hand: (offer) => this.#parts.hand(offer),
      nextTag: () => ++this.#offerTag,
      wanted: this.#wanted,
      room: () => this.#roomToCopy(signal),
      changed: this.#changed,
      signal,
    })
    await this.#copier.run()
  }

  async #roomToCopy(signal: AbortSignal): Promise<void> {
    // What has come meanwhile, records above all, comes between two parts.
    await new Promise((resolve) => setImmediate(resolve))
    await this.#room('bulk', signal)
  }

  // The agent's side

  #acknowledged({ sequence }: Extract<ToEngine, { kind: 'acknowledged' }>): void {
    const { acknowledgements, healing } = this.#journal
    this.#outgoing.acknowledged(sequence)
    if (acknowledgements.upTo(sequence)) this.#tellAcknowledged()
    const healed = healing.upTo(sequence)
    if (!this.#isTakenUp) return
    for (const { regions, number } of healed) this.#link?.tell({ kind: 'healed', regions, number })
  }

  #tellAcknowledged(): void {
    const { acknowledged } = this.#journal.acknowledgements
    if (acknowledged && this.#isTakenUp) this.#link?.tell({ kind: 'acknowledged', ...acknowledged })
  }

  #setLine(up: boolean): void {
    if (up === this.#line) return
    this.#line = up
    this.#link?.tell({ kind: 'line', up })
    if (up) this.#copier?.askAgain()
  }

  #hand(batch: CapturedBatch): void {
    this.#outgoing.handed(batch)
    this.#reads.batched()
    this.#parts.hand(batch)
  }

  #hasRoom(lane: Lane): boolean {
    return this.#line && this.#outgoing.hasRoom(lane)
  }

  async #room(lane: Lane, signal: AbortSignal): Promise<void> {
    await this.#changed.until(() => (this.#hasRoom(lane) ? true : undefined), signal)
  }
}
