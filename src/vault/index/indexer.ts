import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { giveBackBatch } from '../../format/batch.ts'
import { lastOf } from '../../model/batch.ts'
import { beforeFirst, type Sequence, sequence } from '../../model/sequence.ts'
import type { Checkpoint, JournalReader } from '../reader.ts'
import { IndexReader } from './index-reader.ts'
import { IndexWriter } from './index-writer.ts'
import type { PackingLimits } from './runs/limits.ts'
import { removeIndex } from './schema.ts'
import { indexClosed, indexFailure, isDamage } from './sqlite-failure.ts'

export interface IndexerParts {
  /** Path of the index file, or `memoryLocation` (schema.ts). */
  readonly location: string
  readonly indexKey: KeyObject
  readonly journal: JournalReader
  readonly clock: Clock
  /** Instead of those that are measured to be good. */
  readonly packing?: Partial<PackingLimits>
  /** Told after each commit. */
  readonly indexed?: (at: Sequence) => void
  /** Told when applying failed; it is tried again after a rest. */
  readonly failed?: (failure: unknown) => void
}

/**
 * Applied changes become visible when there are no more of them, at the latest after so much time or so many changes.
 * While there are many, commits that are further apart write each page of the file less often.
 */
const commitMs = 1_000
const commitChanges = 65_536
/** SQLite's log of an index is emptied so long after a commit that filled it. */
const shrinkMs = 10_000
/** Between two turns of applying: each costs a look at the folder, a new reading and a commit. */
const restMs = 15
/** Between tries after a failure. */
const retryMs = 10_000
/** An index that is found damaged again and again is told as a failure. */
const rebuildsMax = 3

/**
 * Keeps the index of one journal as far as the journal is durable, and is the only one who writes to it. Never on the
 * path of an acknowledgement. An index that is damaged, of an older schema or of another journal's past is made anew.
 */
export class Indexer implements AsyncDisposable {
  readonly #parts: IndexerParts
  readonly #stop = new AbortController()
  readonly #queue: (() => Promise<void>)[] = []
  #writer: IndexWriter
  #rows: IndexReader
  #checked = false
  /** Undefined until it was told. */
  #durable: Sequence | undefined
  #indexed: Sequence = beforeFirst
  #running: Promise<void> | undefined
  #shrinking: Promise<void> | undefined
  #waiting: { readonly at: Sequence; readonly resolve: () => void; readonly reject: (failure: unknown) => void }[] = []

  constructor(parts: IndexerParts) {
    this.#parts = parts
    ;[this.#writer, this.#rows] = this.#open()
  }

  /** Committed, and known to be of this journal. */
  get indexed(): Sequence {
    return this.#indexed
  }

  /** For views in this thread. Another one after the index was made anew: ask each time. */
  get rows(): IndexReader {
    return this.#rows
  }

  /** Everything up to `at` is durable in the journal. */
  durable(at: Sequence): void {
    this.#durable = sequence(Math.max(at, this.#durable ?? beforeFirst))
    this.#wake()
  }

  /** Resolves once the index holds everything up to `at`; rejects when applying it fails, or with the signal's reason. */
  reached(at: Sequence, signal?: AbortSignal): Promise<void> {
    if (this.#indexed >= at) return Promise.resolve()
    if (this.#stop.signal.aborted) return Promise.reject(this.#stop.signal.reason)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((one) => one !== waiter)
        reject(signal?.reason)
      }
      const free = (): void => signal?.removeEventListener('abort', onAbort)
      const waiter = {
        at,
        resolve: () => (free(), resolve()),
        reject: (failure: unknown) => (free(), reject(failure)),
      }
      if (signal?.aborted) return reject(signal.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  /** Runs `work` on the index between two commits, alone. */
  exclusively<T>(work: (index: IndexWriter) => T | Promise<T>): Promise<T> {
    if (this.#stop.signal.aborted) return Promise.reject(this.#stop.signal.reason)
    return new Promise((resolve, reject) => {
      this.#queue.push(async () => {
        try {
          this.#stop.signal.throwIfAborted()
          resolve(await work(this.#writer))
        } catch (error) {
          reject(error)
        }
      })
      this.#wake()
    })
  }

  #wake(): void {
    if (this.#stop.signal.aborted) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      // What came while the last run was ending.
      if (this.#queue.length > 0) this.#wake()
    })
  }

  async #run(): Promise<void> {
    let rebuilds = 0
    while (!this.#stop.signal.aborted) {
      for (let work = this.#queue.shift(); work !== undefined; work = this.#queue.shift()) await work()
      const durable = this.#durable
      if (durable === undefined || (this.#checked && this.#indexed >= durable)) return
      try {
        if (!this.#checked) await this.#checkPast(durable)
        await this.#catchUp()
        rebuilds = 0
        // The first change after a pause is seen at once; what comes meanwhile is applied in one go.
        await this.#parts.clock.sleep(restMs, this.#stop.signal)
      } catch (error) {
        if (this.#stop.signal.aborted) return
        if (isDamage(error) && rebuilds++ < rebuildsMax) this.#rebuild()
        else await this.#fail(error)
      }
    }
  }

  async #catchUp(): Promise<void> {
    const { clock, journal } = this.#parts
    let sinceMs = clock.monotonicMs()
    let changes = 0
    for await (const stored of journal.batches(this.#writer.indexed, this.#stop.signal)) {
      this.#writer.apply(stored)
      changes += stored.batch.changes.length
      giveBackBatch(stored.batch)
      const isWanted = this.#queue.length > 0
      if (!isWanted && changes < commitChanges && clock.monotonicMs() - sinceMs < commitMs) continue
      this.#commit()
      if (isWanted) return
      changes = 0
      sinceMs = clock.monotonicMs()
    }
    this.#commit()
  }

  /** What the index holds must be of this journal as it is kept now; else it begins again. */
  async #checkPast(durable: Sequence): Promise<void> {
    const checkpoint = await this.#oldestCheckpoint()
    const isBehind = checkpoint !== undefined && checkpoint.at > this.#rows.kept().checkpoint
    const isOther = this.#writer.indexed > durable || isBehind || !(await this.#endsAsJournal())
    if (this.#writer.indexed > 0 && isOther) this.#rebuild()
    if (checkpoint !== undefined && this.#writer.indexed < checkpoint.at) {
      await this.#writer.load(checkpoint)
    }
    this.#checked = true
    this.#commit()
  }

  /** Damage here does not keep an index that is there from being used. */
  async #oldestCheckpoint(): Promise<Checkpoint | undefined> {
    try {
      return await this.#parts.journal.checkpoint()
    } catch (error) {
      if (this.#writer.indexed > 0 && isCode(error, 'damaged')) return undefined
      throw error
    }
  }

  /** False where another batch stands in the journal at the end of the index: one of the two was brought back. */
  async #endsAsJournal(): Promise<boolean> {
    const { indexed } = this.#writer
    const row = this.#rows.batchAt(indexed)
    if (row === undefined) return true
    try {
      const { batch, received } = await this.#parts.journal.batchOf(indexed)
      return batch.first === row.first && lastOf(batch) === row.last && received === row.received
    } catch (error) {
      if (isCode(error, 'damaged') || isCode(error, 'point-unreachable')) return true
      throw error
    }
  }

  #commit(): void {
    this.#writer.commit()
    this.#indexed = this.#writer.indexed
    this.#shrinking ??= this.#shrink()
    this.#parts.indexed?.(this.#indexed)
    const reached = this.#waiting.filter(({ at }) => at <= this.#indexed)
    this.#waiting = this.#waiting.filter(({ at }) => at > this.#indexed)
    for (const { resolve } of reached) resolve()
  }

  /** What is written once more is also kept twice until then. */
  async #shrink(): Promise<void> {
    try {
      await this.#parts.clock.sleep(shrinkMs, this.#stop.signal)
      await this.exclusively((index) => index.shrink())
    } catch (error) {
      // A full disk, or the end: SQLite goes on with the log that it has.
      if (!this.#stop.signal.aborted) this.#parts.failed?.(indexFailure(error))
    } finally {
      this.#shrinking = undefined
    }
  }

  /** Drops what was not committed, tells everyone, and rests. */
  async #fail(error: unknown): Promise<void> {
    const failure = indexFailure(error)
    this.#parts.failed?.(failure)
    const waiting = this.#waiting
    this.#waiting = []
    for (const { reject } of waiting) reject(failure)
    do await this.#parts.clock.sleep(retryMs, this.#stop.signal).catch(() => undefined)
    while (!this.#stop.signal.aborted && !this.#reopen())
  }

  /** False where the index cannot be opened now. */
  #reopen(): boolean {
    const before = this.#writer
    try {
      before.abandon()
      // While the old connection is open its shared memory is there, which a full disk could not give again.
      ;[this.#writer, this.#rows] = this.#open()
    } catch (error) {
      this.#parts.failed?.(indexFailure(error))
      return false
    }
    before[Symbol.dispose]()
    this.#checked &&= this.#writer.indexed === this.#indexed
    this.#indexed = this.#checked ? this.#indexed : beforeFirst
    return true
  }

  #rebuild(): void {
    this.#writer[Symbol.dispose]()
    removeIndex(this.#parts.location)
    ;[this.#writer, this.#rows] = this.#open()
    this.#indexed = beforeFirst
    this.#checked = false
  }

  #open(): [IndexWriter, IndexReader] {
    const writer = new IndexWriter(this.#parts.location, this.#parts.indexKey, this.#parts.packing)
    return [writer, new IndexReader(writer.database, writer.sealing)]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(indexClosed())
    await this.#running
    for (const { reject } of this.#waiting) reject(this.#stop.signal.reason)
    this.#waiting = []
    for (const work of this.#queue.splice(0)) await work()
    await this.#shrinking
    this.#writer[Symbol.dispose]()
  }
}
