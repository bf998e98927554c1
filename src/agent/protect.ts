import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { KeyObject } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { isCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { TellBatch } from '../base/tell.ts'
import type { Capture, CaptureOutput, CaptureRequest } from '../capture/capture.ts'
import type { ChunkId } from '../model/change.ts'
import { moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { beforeFirst, type Sequence } from '../model/sequence.ts'
import type { SourceDefinition } from '../model/source.ts'
import { directoryStore } from '../store/directory.ts'
import type { Store } from '../store/store.ts'
import type { Link } from '../wire/link.ts'
import type { Pace } from '../wire/pace.ts'
import type { AppenderRequest } from '../wire/ports.ts'
import { type Cargo, type JournalWelcome, JournalSession, type ShippedBatch } from '../wire/ship.ts'
import { offerIdsMax } from '../wire/messages.ts'
import { together, unlessAborted } from '../base/together.ts'
import { Wake } from '../base/wake.ts'
import { Backlog, bulkBytesLimit, bulkBytesMin } from './backlog.ts'
import { Backoff } from '../base/backoff.ts'
import { Holes } from './holes.ts'
import { bringBack, chunksNotBrought } from './lost-chunks.ts'
import { Traffic, type TrafficTotals } from './traffic.ts'

export type OpenCapture = (request: CaptureRequest) => Promise<Capture>

export interface ProtectionParts {
  readonly definition: SourceDefinition
  /** A directory of this source. */
  readonly directory: string
  readonly software: string
  readonly spoolKey: KeyObject
  readonly spoolBytesMax: number
  readonly spoolFreeMin?: number | undefined
  readonly memoryBytesMax?: number | undefined
  /** Opens the disk of the spool; a simulated one in tests. */
  readonly openStore?: ((path: string) => Promise<Store>) | undefined
  readonly openCapture: OpenCapture
  /** A connection to the vault for the link. */
  readonly dial: (signal: AbortSignal) => Promise<Link>
  /** Puts the tree as the vault holds it at `at` into the file `into`. */
  readonly fetchManifest: (source: SourceDefinition, at: Sequence, into: string, signal: AbortSignal) => Promise<void>
  readonly chunkKey: ChunkKeyMemory
  readonly pace: Pace
  /** The vault has been reached, by whatever connection. */
  readonly reached?: Wake | undefined
  readonly clock: Clock
  readonly random: Random
  /** Told how long after its last byte was sent a batch was acknowledged. */
  readonly acknowledged?: ((ms: number) => void) | undefined
  readonly tellBatch?: TellBatch | undefined
}

/** The vault's chunk key, as it was last told: what a start without a line needs. */
export interface ChunkKeyMemory {
  readonly known: Uint8Array | undefined
  told(key: Uint8Array): Promise<void>
}

/** How long a start waits for the vault's word before it goes on from its own. */
export const startWithoutLineMs = 5000
const saveMs = 5000
/** Tags of offers for batches that are held; those of a capture are lower. */
const heldTagsFrom = 2 ** 52
/** A session that lived this long was no failure. */
const sessionMsGood = 10_000

export interface ProtectionStatus {
  readonly id: SourceDefinition['id']
  readonly name: string
  readonly kind: SourceDefinition['kind']
  readonly paused: boolean
  readonly line: 'up' | 'down' | 'stalled'
  readonly capture: CaptureReport | undefined
  /** Up to where the vault has acknowledged, and up to where has been captured. */
  readonly acknowledged: Sequence
  readonly captured: Sequence
  readonly memoryBytes: number
  readonly spoolBytes: number
  readonly spoolBytesMax: number
  readonly spoolFull: boolean
  /** Age of the newest moment up to which everything is known to be at the vault; absent before the first. */
  readonly lagMs: number | undefined
  /** Lag above which the source counts as late. */
  readonly lagMsMax: number
  /** How far the vault's clock is ahead. */
  readonly clockAheadMs: number | undefined
  /** The shortest of this session, there and back. */
  readonly roundTripMs: number | undefined
  readonly totals: TrafficTotals
  readonly lastError: { readonly code: string; readonly message: string; readonly hint?: string } | undefined
}

/** What is on disk of one source until the vault has it. */
interface Kept {
  readonly backlog: Backlog
  readonly holes: Holes
}

/**
 * The protection of one source: its capture fills the backlog, sessions with the vault empty it. Each goes on without the
 * other. Where the vault's journal is not what the backlog continues, the vault is right: the backlog is dropped, the
 * capture is opened anew at the vault's end, and what could not be kept one by one is recorded as a hole.
 */
export class Protection {
  readonly #parts: ProtectionParts
  #definition: SourceDefinition
  #backlog: Backlog | undefined
  #capture: Capture | undefined
  /** What it has been told, or where it was opened: of what was durable before it has nothing to forget. */
  #toldDurable = beforeFirst
  #session: JournalSession | undefined
  #isStalled = false
  /** The backlog's end as a former process or the vault left it: nothing more was taken while they are the same. */
  #takenFrom: Sequence | undefined
  /** The vault has been asked, or the wait for it is over: the capture may be opened. */
  #mayStart = false
  /** Why the backlog must not be shipped again, though sequence and cursor fit. */
  #distrust: string | undefined
  /** The vault lacked a chunk: what is held up to there is shipped with all that the vault lacks by now. */
  #completeUpTo: Sequence | undefined
  readonly #heldOffers = new Map<number, (missing: readonly boolean[]) => void>()
  #heldTag = heldTagsFrom
  #reopen = new AbortController()
  readonly #changed = new Wake()
  readonly #offers = new Map<number, readonly ChunkId[]>()
  #marks: { readonly tag: number; readonly sequence: Sequence }[] = []
  #report: CaptureReport | undefined
  #manifestWanted = false
  readonly #traffic: Traffic
  #lastError: TidemarkError | undefined

  constructor(parts: ProtectionParts) {
    this.#parts = parts
    this.#definition = parts.definition
    this.#traffic = new Traffic({ ...parts, source: parts.definition.id })
  }

  /** In what does not touch the capture. */
  redefined(definition: SourceDefinition): void {
    this.#definition = definition
  }

  status(): ProtectionStatus {
    const { id, name, kind, paused, policy } = this.#definition
    const error = this.#lastError
    return {
      id,
      name,
      kind,
      paused,
      line: this.#session ? (this.#isStalled ? 'stalled' : 'up') : 'down',
      capture: this.#report,
      acknowledged: this.#backlog?.acknowledgedUpTo ?? beforeFirst,
      captured: this.#backlog?.end ?? beforeFirst,
      memoryBytes: this.#backlog?.memoryBytes ?? 0,
      spoolBytes: this.#backlog?.spoolBytes ?? 0,
      spoolBytesMax: this.#parts.spoolBytesMax,
      spoolFull: this.#backlog?.isFull ?? false,
      lagMs: this.#lagMs(),
      lagMsMax: policy.lagMsMax,
      clockAheadMs: this.#session?.clockOffset?.aheadMs,
      roundTripMs: this.#session?.clockOffset?.roundTripMs,
      totals: this.#traffic.totals,
      lastError: error && {
        code: error.code,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      },
    }
  }

  /** Protects until `signal` aborts; resolves then. Rejects when the spool fails; it may be called again. */
  async run(signal: AbortSignal): Promise<void> {
    const { directory, definition, clock, random, spoolKey, spoolBytesMax, spoolFreeMin, memoryBytesMax } = this.#parts
    const { openStore = directoryStore } = this.#parts
    await mkdir(this.#captureDirectory, { recursive: true, mode: 0o700 })
    const store = await openStore(join(directory, 'spool'))
    const spool = { store, random, clock, key: spoolKey, source: definition.id, bytesMax: spoolBytesMax }
    const holes = await Holes.open(store, clock)
    await using backlog = await Backlog.open({ ...spool, holes, freeMin: spoolFreeMin, memoryBytesMax })
    this.#backlog = backlog
    this.#takenFrom = backlog.end
    this.#mayStart = false
    if (backlog.damage !== undefined) {
      this.failed(new TidemarkError('damaged', { message: `a part of the spool was lost: ${backlog.damage}` }))
    }
    await together(signal, [
      (inside) => backlog.failing(inside),
      (inside) => holes.forgetting(inside),
      (inside) => this.#ship({ backlog, holes }, inside),
      (inside) => this.#watch({ backlog, holes }, inside),
      (inside) => this.#fetchManifests(backlog, inside),
      async (inside) => {
        await clock.sleep(startWithoutLineMs, inside)
        this.#start()
        for (;;) {
          await clock.sleep(saveMs, inside)
          await backlog.save()
          await holes.save()
          this.#tellDurable(backlog)
        }
      },
    ]).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }

  // The capture's side

  async #watch({ backlog, holes }: Kept, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#parts.clock, this.#parts.random)
    for (;;) {
      const chunkKey = await this.#changed.until(
        () => (this.#mayStart && backlog.isKnown ? this.#parts.chunkKey.known : undefined),
        signal,
      )
      this.#reopen = new AbortController()
      const inside = AbortSignal.any([signal, this.#reopen.signal])
      try {
        await this.#capturing({ backlog, holes }, chunkKey, inside)
      } catch (error) {
        if (!inside.aborted) this.failed(error)
      } finally {
        this.#capture = undefined
        this.#offers.clear()
        this.#manifestWanted = false
        this.#changed.wake()
      }
      if (!inside.aborted) await backoff.wait(signal)
      signal.throwIfAborted()
    }
  }

  async #capturing({ backlog, holes }: Kept, chunkKey: Uint8Array, signal: AbortSignal): Promise<void> {
    const { openCapture } = this.#parts
    await backlog.keepAll()
    const resumeAt = backlog.end
    const cursor = await backlog.endCursor()
    await using capture = await openCapture({
      source: this.#definition,
      stateDirectory: this.#captureDirectory,
      resumeAt,
      cursor,
      chunkKey,
    })
    signal.throwIfAborted()
    this.#capture = capture
    this.#toldDurable = resumeAt
    await holes.opened(capture, resumeAt)
    capture.line(this.#session !== undefined)
    capture.acknowledged?.(backlog.acknowledgedUpTo)
    const outputs = capture.outputs[Symbol.asyncIterator]()
    for (;;) {
      await backlog.wantsMore(signal)
      const { value, done } = await unlessAborted(outputs.next(), signal)
      if (done === true) throw new TidemarkError('interrupted', { message: 'the capture ended; it is opened again' })
      await this.#take(value, capture, { backlog, holes }, signal)
    }
  }

  async #take(output: CaptureOutput, capture: Capture, { backlog, holes }: Kept, signal: AbortSignal): Promise<void> {
    switch (output.kind) {
      case 'batch': {
        const { stoppedSince } = await backlog.add(output, signal)
        this.#traffic.captured(output)
        this.#marks.push(...output.marks)
        holes.taken(output)
        if (stoppedSince !== undefined) {
          await holes.happened(capture, { since: stoppedSince, reason: 'the spool was full' })
        }
        return
      }
      case 'offer':
        if (!this.#session) return capture.answer(output.tag, allMissing(output.ids))
        this.#offers.set(output.tag, output.ids)
        // A session that is gone by now answers by its end.
        return this.#session.offer(output.tag, output.ids).catch(() => undefined)
      case 'manifest-wanted':
        this.#manifestWanted = true
        return this.#changed.wake()
      case 'report':
        this.#report = withBacklog(output.report, backlog.memoryBytes + backlog.spoolBytes)
        return this.#session?.report(this.#report)
    }
  }

  /** The manifest is of where all that the capture has said is at the vault: then it describes what the capture left. */
  async #fetchManifests(backlog: Backlog, signal: AbortSignal): Promise<void> {
    const { directory, fetchManifest, clock, random } = this.#parts
    const backoff = new Backoff(clock, random)
    for (let count = 0; ; count++) {
      const { capture, at } = await this.#changed.until(() => {
        const isReady = this.#manifestWanted && this.#session && backlog.isEmpty
        return isReady && this.#capture ? { capture: this.#capture, at: backlog.acknowledgedUpTo } : undefined
      }, signal)
      const path = join(directory, `manifest-${count % 2}`)
      try {
        await fetchManifest(this.#definition, at, path, signal)
        if (capture !== this.#capture) continue
        this.#manifestWanted = false
        capture.manifest(path, at)
        backoff.succeeded()
      } catch (error) {
        signal.throwIfAborted()
        this.failed(error)
        await backoff.wait(signal)
      }
    }
  }

  // The line's side

  async #ship({ backlog, holes }: Kept, signal: AbortSignal): Promise<void> {
    const { dial, definition, software, clock, random, pace, reached } = this.#parts
    const backoff = new Backoff(clock, random, reached)
    for (;;) {
      let startedAt: number | undefined
      try {
        const link = await dial(signal)
        const session = await JournalSession.open(link, { source: definition.id, software }, clock, signal)
        startedAt = clock.monotonicMs()
        await this.#adopt({ backlog, holes }, session.journal, signal)
        this.#lineUp(backlog, session)
        await session.run(this.#cargo({ backlog, holes }, session), pace, signal)
      } catch (error) {
        signal.throwIfAborted()
        this.failed(error)
        if (isCode(error, 'chunk-missing') && this.#completeUpTo === undefined) this.#completeUpTo = backlog.end
        else if (isCode(error, 'chunk-missing') || isCode(error, 'sequence-refused') || isCode(error, 'damaged')) {
          this.#distrust = error.message
        }
      } finally {
        this.#lineDown(backlog)
      }
      signal.throwIfAborted()
      if (startedAt !== undefined && clock.monotonicMs() - startedAt > sessionMsGood) backoff.succeeded()
      await backoff.wait(signal)
    }
  }

  /** Makes backlog and capture go on from where the vault's journal ends. */
  async #adopt(
    { backlog, holes }: Kept,
    { durable, cursor, chunkKey }: JournalWelcome,
    signal: AbortSignal,
  ): Promise<void> {
    const isOtherKey =
      this.#parts.chunkKey.known !== undefined && Buffer.compare(this.#parts.chunkKey.known, chunkKey) !== 0
    await this.#parts.chunkKey.told(chunkKey)
    const fits = this.#distrust === undefined && !isOtherKey && (await backlog.continues(durable, cursor))
    if (!fits) {
      const since = backlog.acknowledgedMoment ?? backlog.endMoment ?? moment(this.#parts.clock.now())
      const reason = this.#distrust ?? `the vault's journal ends at ${durable}, which is not what was sent`
      await this.#closeCapture(signal)
      // A process that died may have shipped more than it left behind: then nothing is lost, as long as nothing else was taken.
      const isBehind = this.#distrust === undefined && durable >= backlog.end && backlog.end === this.#takenFrom
      await holes.rewound()
      if (!isBehind) await holes.add({ since, reason })
      await backlog.restart(durable, cursor)
      this.#takenFrom = durable
      this.#distrust = undefined
      this.#completeUpTo = undefined
    }
    this.#start()
  }

  #start(): void {
    this.#mayStart = true
    this.#changed.wake()
  }

  async #closeCapture(signal: AbortSignal): Promise<void> {
    this.#mayStart = false
    this.#reopen.abort(new TidemarkError('interrupted', { message: 'the capture is opened anew' }))
    await this.#changed.until(() => (this.#capture === undefined ? true : undefined), signal)
  }

  #lineUp(backlog: Backlog, session: JournalSession): void {
    this.#session = session
    this.#traffic.began()
    this.#lastError = undefined
    this.#isStalled = false
    backlog.line(true)
    this.#capture?.line(true)
    this.#capture?.acknowledged?.(backlog.acknowledgedUpTo)
    if (this.#report) session.report(this.#report)
    this.#changed.wake()
  }

  /** Only what is noted: a start without a line goes on from the note, and the capture must be able to go back there. */
  #tellDurable(backlog: Backlog): void {
    if (!this.#capture || backlog.notedUpTo <= this.#toldDurable) return
    this.#toldDurable = backlog.notedUpTo
    this.#capture.durable(this.#toldDurable)
  }

  #lineDown(backlog: Backlog): void {
    if (!this.#session) return
    this.#session = undefined
    backlog.line(false)
    this.#capture?.line(false)
    for (const [tag, ids] of this.#offers) this.#capture?.answer(tag, allMissing(ids))
    this.#offers.clear()
    this.#heldOffers.clear()
  }

  #cargo({ backlog, holes }: Kept, session: JournalSession): Cargo {
    return {
      next: async (first, signal): Promise<ShippedBatch> => {
        const batch = await backlog.next(first, signal)
        const isInDoubt = this.#completeUpTo !== undefined && batch.last <= this.#completeUpTo
        return isInDoubt ? this.#complete(batch, backlog, session, signal) : batch
      },
      sent: (batch) => this.#traffic.sent(batch),
      unanswered: () => Array.from(this.#offers, ([tag, ids]) => ({ tag, ids })),
      acknowledged: (durable) => {
        this.#traffic.acknowledged(durable)
        backlog.acknowledged(durable)
        holes.acknowledged(durable)
        if (this.#completeUpTo !== undefined && durable >= this.#completeUpTo) this.#completeUpTo = undefined
        this.#capture?.acknowledged?.(durable)
        backlog.bulkBytesMax = Math.min(bulkBytesLimit, Math.max(bulkBytesMin, 2 * session.bulkBytesMax))
        const done = this.#marks.filter((mark) => mark.sequence <= durable)
        this.#marks = this.#marks.filter((mark) => mark.sequence > durable)
        // A session that is gone by now is asked again by whoever waits for the mark.
        for (const { tag, sequence } of done) session.marked(tag, sequence).catch(() => undefined)
        this.#changed.wake()
      },
      answered: (tag, missing) => {
        this.#heldOffers.get(tag)?.(missing)
        if (this.#offers.get(tag)?.length !== missing.length) return
        this.#offers.delete(tag)
        this.#capture?.answer(tag, missing)
      },
      requested: (request: AppenderRequest) => {
        if (request.kind === 'mark') this.#capture?.mark(request.tag, request.label)
        else this.#capture?.reconcile()
      },
      stalled: (isStalled) => {
        this.#isStalled = isStalled
      },
    }
  }

  /** The batch with all chunks that the vault lacks; `chunk-missing` where one is nowhere on this machine any more. */
  async #complete(
    batch: ShippedBatch,
    backlog: Backlog,
    session: JournalSession,
    signal: AbortSignal,
  ): Promise<ShippedBatch> {
    const lacking = await this.#lacking(chunksNotBrought(batch), session, signal)
    const { known } = this.#parts.chunkKey
    if (lacking.length === 0 || known === undefined) return batch
    const { blocks, missing } = await bringBack(lacking, backlog.heldFrom(batch.first), known)
    if (missing.size > 0) {
      throw new TidemarkError('chunk-missing', {
        message: `the vault lacks ${missing.size} chunks of changes ${batch.first} to ${batch.last}, which are not on this machine any more`,
      })
    }
    return { ...batch, blocks: [...batch.blocks, ...blocks] }
  }

  async #lacking(ids: readonly ChunkId[], session: JournalSession, signal: AbortSignal): Promise<ChunkId[]> {
    const lacking: ChunkId[] = []
    for (let at = 0; at < ids.length; at += offerIdsMax) {
      const some = ids.slice(at, at + offerIdsMax)
      const tag = this.#heldTag++
      const answer = new Promise<readonly boolean[]>((resolve) => this.#heldOffers.set(tag, resolve))
      await unlessAborted(session.offer(tag, some), signal)
      const missing = await unlessAborted(answer, signal)
      this.#heldOffers.delete(tag)
      lacking.push(...some.filter((_, index) => missing[index] !== false))
    }
    return lacking
  }

  #lagMs(): number | undefined {
    const backlog = this.#backlog
    if (!backlog) return undefined
    const since = backlog.isEmpty && this.#report?.covered ? this.#report.covered : backlog.acknowledgedMoment
    return since === undefined ? undefined : Math.max(0, (this.#parts.clock.now() - since) / 1000)
  }

  /** What is wrong, for the status. */
  failed(error: unknown): void {
    this.#lastError =
      error instanceof TidemarkError
        ? error
        : new TidemarkError('interrupted', { message: messageOf(error), cause: error })
  }

  get #captureDirectory(): string {
    return join(this.#parts.directory, 'capture')
  }
}

const allMissing = (ids: readonly ChunkId[]): boolean[] => ids.map(() => true)

/** What the source keeps until the vault has it is there beside what is on its way. */
function withBacklog(report: CaptureReport, backlogBytes: number): CaptureReport {
  const { uncapturedBytes } = report
  if (uncapturedBytes === undefined) return { ...report, backlogBytes }
  return { ...report, backlogBytes, uncapturedBytes: Math.max(0, uncapturedBytes - backlogBytes) }
}
