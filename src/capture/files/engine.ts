import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { moment } from '../../model/moment.ts'
import type { CaptureOutput } from '../capture.ts'
import type { Lane } from '../batch-builder.ts'
import { Catalog } from './catalog.ts'
import { ContentReader } from './content-reader.ts'
import { decodeCursor } from './cursor.ts'
import { LiveEngine } from './live-engine.ts'
import { takeOverManifest } from './manifest-merge.ts'
import { waitingBytes } from '../output-queue.ts'
import type { EngineRequest, ToEngine } from './messages.ts'
import { Problems } from './problems.ts'

/** Bytes handed out and not taken yet, above which nothing is read. Bulk stops earlier, so that live work has room. */
const waitingBytesMax: Record<Lane, number> = { live: 48 * 1024 * 1024, bulk: 16 * 1024 * 1024 }

export interface EngineParts {
  /** A second where it is not given. */
  readonly reportEveryMs?: number
  readonly clock: Clock
  readonly random: Random
  readonly hand: (output: CaptureOutput) => void
}

/**
 * The capture of one source, in one thread, never waiting inside a turn. A turn hears the watcher, writes what the
 * vault has answered, captures what is dirty, and only then works on comparing everything.
 *
 *   DirtyCapture ──▶ EntryCapture ──▶ TreeWriter ──▶ BatchWriter ──▶ hand
 *   Scan ──────────▶ EntryCapture ──▶ FileCapture ──▶ Offers ─(answer)─▶ TreeWriter
 *   LargeFiles ────▶ LargeFile ─────▶ Offers ─(answer)─▶ FileCapture ──▶ TreeWriter
 *
 * Everything that touches the catalog goes through the batch writer, so that both always say the same.
 */
export class Engine implements Disposable {
  readonly #request: EngineRequest
  readonly #session: string
  readonly #reportEveryMs: number
  readonly #clock: Clock
  readonly #hand: (output: CaptureOutput) => void
  readonly #waiting: Record<Lane, number> = { live: 0, bulk: 0 }
  readonly #problems = new Problems()
  readonly #messages: ToEngine[] = []
  #live: LiveEngine | undefined
  #isLineUp = false
  #isManifestWanted = false
  #nextReportMs = 0

  constructor(request: EngineRequest, { clock, random, hand, reportEveryMs = 1000 }: EngineParts) {
    this.#request = request
    this.#reportEveryMs = reportEveryMs
    this.#session = Buffer.from(random.bytes(8)).toString('hex')
    this.#clock = clock
    this.#hand = (output) => {
      if (output.kind === 'batch') this.#waiting[output.bulk ? 'bulk' : 'live'] += waitingBytes(output)
      hand(output)
    }
    mkdirSync(request.stateDirectory, { recursive: true })
  }

  /** Descriptors that become readable when there is something to do. */
  get fds(): readonly number[] {
    return this.#live?.fds ?? []
  }

  receive(message: ToEngine): void {
    this.#messages.push(message)
  }

  /** Works for a short while; returns the milliseconds until it wants to be called again, if nothing happens before. */
  async turn(): Promise<number> {
    for (const message of this.#messages.splice(0)) await this.#take(message)
    const live = this.#live ?? this.#open()
    return live === undefined ? this.#reportStarting() : live.turn()
  }

  async #take(message: ToEngine): Promise<void> {
    switch (message.kind) {
      case 'taken':
        this.#waiting[message.bulk ? 'bulk' : 'live'] -= message.bytes
        return
      case 'line':
        this.#isLineUp = message.up
        return this.#live?.lineChanged()
      case 'manifest':
        return this.#isManifestWanted ? this.#takeOver(message.path) : undefined
      case 'durable':
        return this.#live?.durable(message.sequence)
      case 'answer':
        return this.#live?.answer(message.tag, message.missing)
      case 'mark':
        return this.#live === undefined
          ? void this.#messages.push(message)
          : this.#live.mark(message.tag, message.label)
      case 'hole':
        return this.#live === undefined
          ? void this.#messages.push(message)
          : this.#live.hole(message.since, message.reason)
      case 'reconcile':
        return this.#live?.compare('request')
      case 'stop':
        return
    }
  }

  get #catalogPath(): string {
    return join(this.#request.stateDirectory, 'catalog.sqlite')
  }

  /** Undefined while the manifest is awaited. */
  #open(): LiveEngine | undefined {
    if (this.#isManifestWanted) return undefined
    const { resumeAt } = this.#request
    const resumed = Catalog.resume(this.#catalogPath, resumeAt, this.#request.cursor)
    if (resumed === undefined && resumeAt > 0) {
      this.#isManifestWanted = true
      const state = existsSync(this.#catalogPath) ? 'does not fit' : 'is not there'
      this.#hand({ kind: 'manifest-wanted', reason: `what this agent remembers of the source ${state}` })
      return undefined
    }
    if (resumed !== undefined) return this.#start(resumed)
    const empty = Catalog.create(this.#catalogPath, { at: resumeAt, cursor: this.#request.cursor })
    empty.batches.noteDrained(moment(this.#clock.now()))
    return this.#start(empty)
  }

  async #takeOver(manifest: string): Promise<void> {
    this.#isManifestWanted = false
    const building = `${this.#catalogPath}.new`
    const older = Catalog.readable(this.#catalogPath)
    const into = Catalog.create(building, { at: this.#request.resumeAt, cursor: this.#request.cursor }, older)
    const content = new ContentReader({ chunkKey: this.#request.chunkKey, fingerprintSeed: into.fingerprintSeed })
    // What an older catalog has of later batches is not in the vault's tree.
    const { moment: told } = decodeCursor(this.#request.cursor)
    into.batches.noteDrained(older !== undefined && older.batches.drained < told ? older.batches.drained : told)
    into.batches.noteGap(older?.batches.gap)
    await takeOverManifest(manifest, { into, cursor: this.#request.cursor, older, content })
    older?.[Symbol.dispose]()
    into[Symbol.dispose]()
    for (const suffix of ['-wal', '-shm']) rmSync(this.#catalogPath + suffix, { force: true })
    renameSync(building, this.#catalogPath)
    const catalog = Catalog.resume(this.#catalogPath, this.#request.resumeAt, this.#request.cursor)
    if (catalog === undefined)
      throw new Error('broken invariant: a catalog made from a manifest stands at its sequence')
    this.#start(catalog)
  }

  #start(catalog: Catalog): LiveEngine {
    this.#live = new LiveEngine(this.#request, catalog, {
      reportEveryMs: this.#reportEveryMs,
      clock: this.#clock,
      session: this.#session,
      hand: this.#hand,
      problems: this.#problems,
      flow: {
        isLineUp: () => this.#isLineUp,
        hasRoom: (lane) => this.#waiting.live + this.#waiting.bulk < waitingBytesMax[lane],
      },
    })
    return this.#live
  }

  #reportStarting(): number {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#nextReportMs) return this.#nextReportMs - nowMs
    this.#nextReportMs = nowMs + this.#reportEveryMs
    const { moment: covered } = decodeCursor(this.#request.cursor)
    const upTo = this.#request.resumeAt
    this.#hand({
      kind: 'report',
      report: { state: 'starting', covered, upTo, dirty: 0, watching: 'scanning', problems: this.#problems.list() },
    })
    return this.#reportEveryMs
  }

  [Symbol.dispose](): void {
    this.#live?.[Symbol.dispose]()
  }
}
