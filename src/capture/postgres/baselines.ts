import { EventEmitter } from 'node:events'
import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { CaptureReport } from '../../model/report.ts'
import type { PostgresSettings } from '../../model/source.ts'
import { BulkOffers } from '../bulk-offers.ts'
import type { CaptureOutput } from '../capture.ts'
import { type BaselineResult, copyBaseline } from './baseline.ts'
import type { Journal } from './journal.ts'
import { problemOf, type Problems } from '../problems.ts'
import { openServer, type ServerRequest } from './server.ts'
import { serverProperties } from './server-properties.ts'
import { changed, changeWithin, untilSo } from './waiting.ts'

export interface BaselinesParts {
  readonly journal: Journal
  readonly request: ServerRequest
  readonly settings: PostgresSettings
  readonly chunkKey: Uint8Array
  readonly clock: Clock
  readonly hand: (offer: Extract<CaptureOutput, { kind: 'offer' }>) => void
  /** Resolves when another bulk change may be written. */
  readonly room: (signal: AbortSignal) => Promise<void>
  readonly problems: Problems
}

const retryMs = { min: 1000, max: 60_000 }
const dueLookMs = 10_000

/** Has a baseline taken whenever one is due: at first, after a gap, on request, and from time to time. */
export class Baselines {
  readonly #parts: BaselinesParts
  readonly #changed = new EventEmitter()
  #offers: BulkOffers | undefined
  #tag = 0
  #line = false
  #hasLog = false
  #isRequested = false
  #interruption: AbortController | undefined
  #progress: CaptureReport['progress'] | undefined

  constructor(parts: BaselinesParts) {
    this.#parts = parts
    this.#changed.setMaxListeners(0)
  }

  get progress(): CaptureReport['progress'] | undefined {
    return this.#progress
  }

  get isUnderWay(): boolean {
    return this.#interruption !== undefined
  }

  /** As soon as it can be. */
  request(): void {
    this.#isRequested = true
    this.#changed.emit(changed)
  }

  /** WAL has arrived in this session: a baseline finds what it needs in the journal. */
  logGrew(): void {
    const isNews = !this.#hasLog || this.isUnderWay
    this.#hasLog = true
    if (isNews) this.#changed.emit(changed)
  }

  line(up: boolean): void {
    this.#line = up
    if (up) this.#offers?.askAgain()
    this.#changed.emit(changed)
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#offers?.answer(tag, missing)
  }

  /** The one under way cannot become complete any more. */
  interrupt(why: string): void {
    this.#hasLog = false
    this.#interruption?.abort(new TidemarkError('interrupted', { message: `the baseline was given up: ${why}` }))
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, problems } = this.#parts
    for (let retry = retryMs.min; ;) {
      await this.#due(signal)
      const interruption = new AbortController()
      this.#interruption = interruption
      try {
        await this.#take(AbortSignal.any([signal, interruption.signal]))
        problems.clear('baseline')
        retry = retryMs.min
      } catch (error) {
        signal.throwIfAborted()
        this.#isRequested = true
        problems.set('baseline', problemOf(error))
        await clock.sleep(retry, signal)
        retry = Math.min(retryMs.max, 2 * retry)
      } finally {
        this.#interruption = undefined
        this.#offers = undefined
        this.#progress = undefined
      }
    }
  }

  /** Resolves when a baseline is wanted and can be taken. */
  async #due(signal: AbortSignal): Promise<void> {
    const { clock, journal, settings } = this.#parts
    for (;;) {
      const isOld = clock.now() - journal.baselines.completedAt > settings.baselineMs * 1000
      if (this.#line && this.#hasLog && (this.#isRequested || !journal.isRestorable || isOld)) return
      if (this.#line && journal.tidy()) await this.#parts.room(signal)
      else await changeWithin(this.#changed, clock, dueLookMs, signal)
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    const { journal, request, settings, chunkKey, hand, room, clock } = this.#parts
    await using server = await openServer(request, signal)
    const number = journal.beginBaseline()
    this.#isRequested = false
    let progress = { files: 0, filesTotal: 0, bytes: 0, bytesTotal: 0 }
    this.#progress = progress
    const offers = new BulkOffers({
      hand,
      write: (change, missing) => journal.bulk(change, missing),
      room: () => this.#mayWrite(signal, room),
      nextTag: () => ++this.#tag,
      signal,
    })
    this.#offers = offers
    const sink = {
      write: offers.write.bind(offers),
      flush: async () => {
        await offers.flush()
        journal.closeBatch()
      },
    }
    const properties = await serverProperties(server.sql)
    const result = await copyBaseline(
      server.replication,
      {
        number,
        chunkKey,
        bytesPerSecondMax: settings.baselineBytesPerSecond,
        label: `tidemark baseline ${number} of ${request.applicationName} at ${Math.floor(clock.now() / 1_000_000)}`,
        checkpoint: 'fast',
        signal,
        progress: (bytes, bytesTotal, files) => {
          progress = { files, filesTotal: 0, bytes, bytesTotal }
          this.#progress = progress
        },
      },
      sink,
    )
    await sink.flush()
    await this.#logUpTo(result, signal)
    this.#complete(result, properties)
  }

  #complete({ damage, ...result }: BaselineResult, properties: Record<string, string>): void {
    const { journal, problems } = this.#parts
    const { timeline, start, end, files, bytes, tablespaces } = result
    journal.completeBaseline({ timeline, start, end, files, bytes, tablespaces: [...tablespaces], properties })
    for (const topic of ['fork', 'gap', 'commits']) problems.clear(topic)
    if (damage === undefined) problems.clear('pages')
    else problems.set('pages', { code: 'damaged', message: `the server's own files: ${damage}` })
  }

  async #mayWrite(signal: AbortSignal, room: (signal: AbortSignal) => Promise<void>): Promise<void> {
    await untilSo(this.#changed, () => this.#line, signal)
    // What arrived meanwhile, live WAL above all, comes between two bulk changes.
    await new Promise((resolve) => setImmediate(resolve))
    await room(signal)
  }

  async #logUpTo({ end, timeline }: BaselineResult, signal: AbortSignal): Promise<void> {
    const { journal } = this.#parts
    const isThere = (): boolean => journal.timeline === timeline && (journal.position ?? 0) >= end
    await untilSo(this.#changed, isThere, signal)
  }
}
