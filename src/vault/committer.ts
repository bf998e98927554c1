import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { PackItem } from '../format/pack.ts'
import type { Moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { Store } from '../store/store.ts'
import type { Catalogue } from './catalogue.ts'
import type { CheckedBatch, Journal } from './journal.ts'
import type { Limits } from './limits.ts'
import type { Packs } from './packs.ts'
import { Room } from './room.ts'

export interface CommitterParts {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly catalogue: Catalogue
  readonly packs: Packs
  readonly limits: Limits
  /** Told whenever a journal has grown, after it is durable. */
  readonly grown: (growth: Growth) => void
  /** Told of each write that was synced. */
  readonly wrote?: ((wrote: Wrote) => void) | undefined
}

export interface Wrote {
  readonly file: 'journal' | 'packs'
  /** To write and sync what had gathered. */
  readonly ms: number
}

export interface Growth {
  readonly source: Id
  readonly durable: Sequence
  /** Moment of the change at `durable`, by the agent's clock. */
  readonly moment: Moment
  /** When the batch that ends there was received, by the vault's clock. */
  readonly received: Moment
  readonly settled: boolean
}

interface Waiting {
  readonly last: Sequence
  /** Undefined for one that only waits for a batch given before. */
  readonly batch: CheckedBatch | undefined
  /** Place in the order of pack items before which all have to be durable. */
  readonly needs: number
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

interface TakenItem {
  readonly item: PackItem
  readonly bytes: number
  readonly durable: () => void
}

interface Lane {
  waiting: Waiting[]
  /** Writing, or waiting for room to write. */
  writing: Promise<void> | undefined
  /** The write under way; settles without throwing. */
  inFlight: Promise<unknown> | undefined
  /** Set once writing failed for another reason than want of room: where the file stands is unknown. */
  failed: unknown
}

/** Of pack items written and synced at once. */
const itemBytesPerRound = 8 * 1024 * 1024
/** What a frame takes beside its content, with its share of headers, indexes and seals. */
const besideBytes = 256
const noteEveryMs = 200

/**
 * Group commit. Pack items go to the packs in the order they came; batches go to their journals once all items that
 * came before them from the same agent are durable. Whatever gathers during a sync goes with the next one. Nothing is
 * acknowledged before it is durable.
 *
 * Where there is no room everything waits, in order, and is tried again until there is; any other failure to write
 * packs ends the vault's work, of a segment that journal's, until it is opened anew: then `failed` rejects.
 */
export class Committer {
  readonly #parts: CommitterParts
  readonly #room: Room
  readonly #lanes = new Map<Journal, Lane>()
  readonly #stop = new AbortController()
  #items: TakenItem[] = []
  /** Items taken, and items durable, since the beginning. */
  #taken = 0
  #durable = 0
  readonly #lastTakenOf = new Map<number, number>()
  #packing: Promise<void> | undefined
  #packsFailed: unknown
  readonly #failure = Promise.withResolvers<never>()
  #hasFailed = false
  #noting: Promise<void> | undefined

  constructor(parts: CommitterParts) {
    this.#parts = parts
    this.#room = new Room(parts, this.#stop.signal)
  }

  /** Rejects, with the reason, once some appends cannot go on; never resolves. */
  get failed(): Promise<never> {
    return this.#failure.promise
  }

  get hasFailed(): boolean {
    return this.#hasFailed
  }

  #fail(error: unknown): void {
    this.#hasFailed = true
    this.#failure.reject(error)
  }

  /** True from the first write that found no room until one succeeds. */
  get stalled(): boolean {
    return this.#room.stalled
  }

  /** Takes an item; `durable` is called once it is. */
  item(item: PackItem, bytes: number, durable: () => void): void {
    this.#checkUsable()
    this.#items.push({ item, bytes, durable })
    this.#lastTakenOf.set(item.holder, ++this.#taken)
    this.#drivePacks()
  }

  /** Resolves once the batch is durable; it was checked by the journal after all batches given before. */
  batch(journal: Journal, holder: number, batch: CheckedBatch): Promise<void> {
    return this.#wait(journal, batch.end.durable, batch, this.#lastTakenOf.get(holder) ?? 0)
  }

  /** Resolves once the journal is durable up to `last`, which was given before. */
  reached(journal: Journal, last: Sequence): Promise<void> {
    return this.#wait(journal, last, undefined, 0)
  }

  /** Rejects what waits for a journal, and returns once nothing of it is being written. */
  async giveUp(journal: Journal, reason: TidemarkError): Promise<void> {
    const lane = this.#lanes.get(journal)
    if (!lane) return
    await lane.inFlight
    for (const { reject } of lane.waiting.splice(0)) reject(reason)
  }

  /** The journal is no longer there. */
  forget(journal: Journal): void {
    this.#lanes.delete(journal)
  }

  #wait(journal: Journal, last: Sequence, batch: CheckedBatch | undefined, needs: number): Promise<void> {
    this.#checkUsable()
    const lane = this.#lane(journal)
    if (lane.failed !== undefined) throw lane.failed
    return new Promise((resolve, reject) => {
      lane.waiting.push({ last, batch, needs, resolve, reject })
      this.#drive(journal, lane)
    })
  }

  #lane(journal: Journal): Lane {
    const lane = this.#lanes.get(journal) ?? { waiting: [], writing: undefined, inFlight: undefined, failed: undefined }
    this.#lanes.set(journal, lane)
    return lane
  }

  #checkUsable(): void {
    if (this.#packsFailed !== undefined) throw this.#packsFailed
    this.#stop.signal.throwIfAborted()
  }

  #drivePacks(): void {
    if (this.#packing || this.#items.length === 0 || this.#stop.signal.aborted) return
    this.#packing = this.#pack().finally(() => {
      this.#packing = undefined
      this.#drivePacks()
    })
  }

  async #pack(): Promise<void> {
    const { packs } = this.#parts
    // Lets whatever arrives in the same turn go along.
    await undefined
    try {
      while (this.#items.length > 0) {
        const round = this.#firstItems()
        const bytes = round.reduce((sum, one) => sum + one.bytes + besideBytes, 0)
        await this.#onceThereIsRoom(bytes, () => this.#timed('packs', () => packs.write(round.map(({ item }) => item))))
        await this.#onceThereIsRoom(0, async () => packs.record())
        this.#items = this.#items.slice(round.length)
        this.#durable += round.length
        for (const { durable } of round) durable()
        this.#noteSoon()
        for (const [journal, lane] of this.#lanes) this.#drive(journal, lane)
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#failPacks(error)
    }
  }

  async #onceThereIsRoom(bytes: number, work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await this.#room.whenRoom(bytes)
        await work()
        return this.#room.found()
      } catch (error) {
        if (!this.#room.stalls(error)) throw error
      }
    }
  }

  #firstItems(): TakenItem[] {
    let bytes = 0
    const past = this.#items.findIndex((one) => (bytes += one.bytes) > itemBytesPerRound)
    return this.#items.slice(0, past === -1 ? undefined : Math.max(past, 1))
  }

  #failPacks(error: unknown): void {
    this.#packsFailed = error
    this.#fail(error)
    for (const lane of this.#lanes.values()) {
      for (const { reject } of lane.waiting.splice(0)) reject(error)
    }
    for (const { durable } of this.#items.splice(0)) durable()
  }

  #drive(journal: Journal, lane: Lane): void {
    if (lane.writing || !this.#isReady(lane)) return
    lane.writing = this.#writeAll(journal, lane).finally(() => {
      lane.writing = undefined
      this.#drive(journal, lane)
    })
  }

  #isReady(lane: Lane): boolean {
    const [first] = lane.waiting
    return first !== undefined && first.needs <= this.#durable && !this.#stop.signal.aborted
  }

  async #writeAll(journal: Journal, lane: Lane): Promise<void> {
    await undefined
    try {
      while (this.#isReady(lane)) {
        const bytes = readyBatches(lane, this.#durable).reduce(
          (sum, batch) => sum + batch.bytes.length + besideBytes,
          0,
        )
        await this.#onceThereIsRoom(bytes, async () => {
          // What was ready may have been given up, or have become durable before the room ended.
          const batches = readyBatches(lane, this.#durable).filter(({ end }) => end.durable > journal.durable)
          const write = this.#write(journal, batches)
          lane.inFlight = Promise.allSettled([write])
          await write
        })
        while (lane.waiting[0] && lane.waiting[0].last <= journal.durable) lane.waiting.shift()?.resolve()
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return
      lane.failed = error
      // A source that was removed meanwhile needs no more.
      if (this.#lanes.get(journal) === lane) this.#fail(error)
      for (const { reject } of lane.waiting.splice(0)) reject(error)
    }
  }

  async #write(journal: Journal, batches: readonly CheckedBatch[]): Promise<void> {
    const before = journal.durable
    try {
      await this.#timed('journal', () => journal.write(batches))
    } finally {
      const batch = batches.findLast(({ end }) => end.durable <= journal.durable)
      if (batch && journal.durable > before) {
        const { durable, moment, settled } = batch.end
        this.#noteSoon()
        this.#parts.grown({ source: journal.source, durable, moment, received: batch.received, settled })
      }
    }
  }

  async #timed(file: Wrote['file'], write: () => Promise<void>): Promise<void> {
    const { clock, wrote } = this.#parts
    const startedMs = clock.monotonicMs()
    await write()
    wrote?.({ file, ms: clock.monotonicMs() - startedMs })
  }

  /** Notes from time to time how long the growing files are, durably. */
  #noteSoon(): void {
    this.#noting ??= this.#parts.clock
      .sleep(noteEveryMs, this.#stop.signal)
      .then(() => this.note())
      // A note is only an aid, and there will be another one: a catalogue that cannot be written fails `record` too.
      .catch(() => undefined)
      .finally(() => (this.#noting = undefined))
  }

  note(): void {
    const journals = [...this.#lanes.keys()].flatMap((journal) => journal.takeSynced())
    this.#parts.catalogue.noteSynced([...this.#parts.packs.synced, ...journals])
  }

  /** Writes what waits, unless there is no room for it; rejects the rest. Nothing is taken afterwards. */
  async close(): Promise<void> {
    while (!this.stalled && (this.#packing || [...this.#lanes.values()].some(({ writing }) => writing))) {
      await Promise.race([
        this.#room.stalling,
        Promise.all([this.#packing, ...[...this.#lanes.values()].map(({ writing }) => writing)]),
      ])
    }
    const reason = new TidemarkError('interrupted', { message: 'the vault is closing' })
    this.#stop.abort(reason)
    await Promise.all([this.#packing, this.#noting, ...[...this.#lanes.values()].map(({ writing }) => writing)])
    for (const lane of this.#lanes.values()) for (const { reject } of lane.waiting.splice(0)) reject(reason)
    for (const { durable } of this.#items.splice(0)) durable()
  }
}

const readyBatches = (lane: Lane, durable: number): CheckedBatch[] => {
  const held = lane.waiting.findIndex(({ needs }) => needs > durable)
  const ready = held === -1 ? lane.waiting : lane.waiting.slice(0, held)
  return ready.map(({ batch }) => batch).filter((batch) => batch !== undefined)
}
