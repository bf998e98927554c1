import type { KeyObject } from 'node:crypto'
import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { decodeBatch, giveBackBatch } from '../format/batch.ts'
import { headerBytes, noHash } from '../format/sealed-file.ts'
import { batchPayload } from '../format/segment.ts'
import { type Batch, lastOf } from '../model/batch.ts'
import type { Change, ChunkId } from '../model/change.ts'
import { moment, type Moment } from '../model/moment.ts'
import { beforeFirst, type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { damaged } from '../store/damaged.ts'
import { hashOf, type SealedReader } from '../store/sealed-reader.ts'
import { recoverSealed } from '../store/sealed-recovery.ts'
import { createSealed, type SealedWriter } from '../store/sealed-writer.ts'
import type { Store, StoreName } from '../store/store.ts'
import type { Catalogue, SyncedNote } from './catalogue.ts'
import { checkpointSequences, readCheckpoint, writeCheckpoint } from './checkpoint.ts'
import { batchIn, begunSegmentNumbers, openSegment, segmentNumbers, StoredJournal } from './journal-reader.ts'
import type { Limits } from './limits.ts'
import { checkpointName, journalFolder, numberIn, segmentName } from './names.ts'
import type { BatchPlace, Checkpoint, JournalReader, StoredBatch } from './reader.ts'

export interface JournalParts {
  readonly store: Store
  readonly random: Random
  readonly clock: Clock
  readonly source: Id
  readonly key: KeyObject
  readonly catalogue: Catalogue
  readonly limits: Limits
}

/** Where a journal ends. */
export interface JournalEnd {
  readonly durable: Sequence
  readonly cursor: Uint8Array
  /** Moment of the change at `durable`; 0 where there is none. */
  readonly moment: Moment
  readonly settled: boolean
}

/** A batch that was checked and is to be made durable. */
export interface CheckedBatch {
  readonly bytes: Uint8Array
  readonly received: Moment
  readonly first: Sequence
  readonly end: JournalEnd
}

/** A segment that grows no more. */
export interface SealedSegment {
  readonly bytes: number
  /** Its last change; it is read for it. */
  last(): Promise<Sequence>
}

const emptyEnd: JournalEnd = { durable: beforeFirst, cursor: new Uint8Array(), moment: moment(0), settled: false }

/**
 * One journal: the one who writes its segments, and its reader. What is durable only grows. Batches are checked in the
 * order they come (`check`), and written in that order (`write`), one call at a time.
 */
export class Journal implements JournalReader {
  readonly source: Id
  /** Damage of the journal's end, found while opening: nothing is appended to it. */
  readonly endDamage: TidemarkError | undefined
  readonly #parts: JournalParts
  readonly #stored: StoredJournal
  #end: JournalEnd
  /** Where the last batch that was checked ends. */
  #checked: JournalEnd
  #segment: { readonly file: SealedWriter; readonly sinceMs: number } | undefined
  #lastNumber: number
  #sealed: SyncedNote[] = []
  /** Of the last sealed segment, once it is known. */
  #chain: Buffer | undefined
  /** The last segment was left behind by a failed write, cut to what is durable. */
  #isAbandoned = false
  /** Of where the kept history starts, say of its checkpoint: appending goes on, and what needs it is refused when it is read. */
  #startDamage: TidemarkError | undefined

  private constructor(parts: JournalParts, found: Found, endDamage: TidemarkError | undefined) {
    this.#parts = parts
    this.source = parts.source
    this.endDamage = endDamage
    this.#end = found.end
    this.#checked = found.end
    this.#lastNumber = found.lastNumber
    this.#startDamage = found.startDamage
    const { store, source, key } = parts
    this.#stored = new StoredJournal({ store, source, key, durable: () => this.#end.durable })
  }

  /** Ends the last segment if it was growing. Damage does not throw: it is kept as `damage`. */
  static async open(parts: JournalParts): Promise<Journal> {
    const found: Found = { end: emptyEnd, lastNumber: 0, startDamage: undefined }
    try {
      await recover(parts, found)
      return new Journal(parts, found, undefined)
    } catch (error) {
      if (!isDamage(error)) throw error
      return new Journal(parts, found, error)
    }
  }

  /** Damage that is known of, whether or not changes can be appended in spite of it. */
  get damage(): TidemarkError | undefined {
    return this.endDamage ?? this.#startDamage
  }

  /** What is durable. */
  get end(): JournalEnd {
    return this.#end
  }

  get durable(): Sequence {
    return this.#end.durable
  }

  batches(after: Sequence, signal?: AbortSignal): AsyncIterable<StoredBatch> {
    return this.#stored.batches(after, signal)
  }

  batchOf(at: Sequence, place?: BatchPlace): Promise<StoredBatch> {
    return this.#stored.batchOf(at, place)
  }

  checkpoint(): Promise<Checkpoint | undefined> {
    return this.#stored.checkpoint()
  }

  /**
   * Decodes a batch and checks that it continues the journal and refers only to what `bytesOf` knows. One that ends at
   * or before the last one checked is durable, or on its way, already.
   */
  check(
    bytes: Uint8Array,
    bytesOf: (id: ChunkId) => number | undefined,
  ): CheckedBatch | { readonly already: Sequence } {
    if (this.endDamage) throw this.endDamage
    const batch = decoded(bytes)
    const before = this.#checked
    const last = lastOf(batch)
    if (last <= before.durable) return { already: last }
    if (batch.first !== before.durable + 1) {
      throw new TidemarkError('sequence-refused', {
        message: `a batch from change ${batch.first} on does not continue the journal, which ends at ${before.durable}`,
      })
    }
    if ((batch.changes[0]?.moment ?? 0) < before.moment) throw violation('a batch goes back in time')
    for (const { change } of batch.changes) checkChunks(change, bytesOf)
    const end = endOf(batch)
    giveBackBatch(batch, bytes)
    this.#checked = end
    return { bytes, received: moment(this.#parts.clock.now()), first: batch.first, end }
  }

  /** Gives up batches that were checked and not written: the journal goes on from what is durable. */
  forgetChecked(): void {
    this.#checked = this.#end
  }

  /**
   * Appends batches in the order they were checked; when resolved, all are durable. If it fails, `durable` tells how
   * far it came, and the rest may be given again.
   */
  async write(batches: readonly CheckedBatch[]): Promise<void> {
    await this.mend()
    try {
      for (let at = 0; at < batches.length;) {
        const { first } = batches[at] as CheckedBatch
        const segment = await this.#growing(first)
        let end = this.#end
        while (at < batches.length && segment.bytes < this.#parts.limits.segmentBytes) {
          const batch = batches[at++] as CheckedBatch
          segment.add('batch', batchPayload(batch.received, batch.bytes))
          end = batch.end
        }
        await segment.sync()
        this.#end = end
      }
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  /** The segment that takes the next batch. */
  async #growing(first: Sequence): Promise<SealedWriter> {
    const { store, clock, limits, source, key } = this.#parts
    const nowMs = clock.monotonicMs()
    const present = this.#segment
    if (present && present.file.bytes < limits.segmentBytes && nowMs - present.sinceMs < limits.segmentAgeMs) {
      return present.file
    }
    if (present) await this.#seal(present.file)
    if (this.#lastNumber > 0) this.#chain ??= await hashOf(store, segmentName(source, this.#lastNumber))
    const number = this.#lastNumber + 1
    const header = { kind: 'segment', owner: source, number, first, before: this.#chain ?? noHash } as const
    const file = await createSealed(this.#parts, segmentName(source, number), key, header)
    this.#segment = { file, sinceMs: nowMs }
    this.#lastNumber = number
    return file
  }

  async #seal(file: SealedWriter): Promise<void> {
    this.#chain = await file.seal(this.#end.durable)
    this.#sealed.push([file.name, file.synced])
    this.#segment = undefined
  }

  async #abandon(): Promise<void> {
    const segment = this.#segment
    if (!segment) return
    this.#segment = undefined
    this.#isAbandoned = true
    await segment.file[Symbol.asyncDispose]()
    // What is not durable is of no use, and without room it takes some.
    await this.#parts.store.truncate(segment.file.name, segment.file.synced)
  }

  /** Ends what a failed write left behind: needs room for a seal. */
  async mend(): Promise<void> {
    if (!this.#isAbandoned) return
    const { store, source, key } = this.#parts
    const name = segmentName(source, this.#lastNumber)
    const recovered = await recoverSealed(store, name, key, { last: () => this.#end.durable })
    // An empty segment is gone, and the chain still ends at the one before it.
    if (recovered.kind === 'removed') this.#lastNumber--
    else this.#chain = undefined
    this.#isAbandoned = false
  }

  /** Lengths that are durable: of the growing segment, and once of each that was sealed. */
  takeSynced(): SyncedNote[] {
    const growing = this.#segment?.file
    return [...this.#sealed.splice(0), ...(growing ? [[growing.name, growing.synced] as const] : [])]
  }

  /** Keeps the tree as it stands after `at`, durably; `changes` make it from nothing, and refer to chunks only. */
  async writeCheckpoint(
    at: Sequence,
    changeMoment: Moment,
    changes: AsyncIterable<Change> | Iterable<Change>,
  ): Promise<void> {
    if (at > this.durable) throw new Error(`broken invariant: a checkpoint at ${at} is after what is durable`)
    await writeCheckpoint(this.#parts, this.source, this.#parts.key, { at, moment: changeMoment, changes })
  }

  /**
   * Forgets history before the checkpoint at `at`: removes the segments that hold nothing after it, except the last
   * one, and the older checkpoints. What is gone is gone for good.
   */
  async dropBefore(at: Sequence): Promise<void> {
    const { store, source, key, catalogue } = this.#parts
    if (this.endDamage) throw this.endDamage
    const sequences = await checkpointSequences(store, source)
    if (!sequences.includes(at) || !(await readCheckpoint(store, source, key, at))) {
      throw new Error(`broken invariant: history is dropped only before a checkpoint, and there is none at ${at}`)
    }
    const numbers = await begunSegmentNumbers(store, source)
    for (const [index, number] of numbers.slice(0, -1).entries()) {
      const following = await openSegment(store, source, key, numbers[index + 1] as number)
      if (following.header.first > at + 1) break
      const name = segmentName(source, number)
      this.#sealed = this.#sealed.filter(([sealed]) => sealed !== name)
      catalogue.forgetSynced(name)
      await store.remove(name)
    }
    for (const older of sequences) if (older < at) await store.remove(checkpointName(source, older))
    // The one that is whole now stands in the place of all before it.
    this.#startDamage = undefined
  }

  /** Its segments but the one that grows, in their order. */
  async sealedSegments(): Promise<SealedSegment[]> {
    const { store, source, key } = this.#parts
    const files = (await store.list(journalFolder(source))).flatMap(({ name, bytes }) => {
      const number = numberIn(name, 'segment')
      return number === undefined || bytes <= headerBytes ? [] : [{ number, bytes }]
    })
    return files.slice(1).map(({ number: next }, index) => ({
      bytes: files[index]?.bytes ?? 0,
      last: async () => sequence((await openSegment(store, source, key, next)).header.first - 1),
    }))
  }

  /** Of all its files. */
  async storedBytes(): Promise<number> {
    const files = await this.#parts.store.list(journalFolder(this.source))
    return files.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Seals the growing segment: nothing is left to recover. */
  async close(): Promise<void> {
    await this.mend()
    if (this.#segment) await this.#seal(this.#segment.file)
  }

  /** Closes the files as they are. */
  async leave(): Promise<void> {
    await this.#segment?.file[Symbol.asyncDispose]()
  }
}

/** What recovery has found so far; it stands when recovery stops at damage. */
interface Found {
  end: JournalEnd
  lastNumber: number
  startDamage: TidemarkError | undefined
}

const isDamage = (error: unknown): error is TidemarkError =>
  isCode(error, 'damaged') || isCode(error, 'unsupported-format')

async function recover(parts: JournalParts, found: Found): Promise<void> {
  const { store, source, key } = parts
  const numbers = await segmentNumbers(store, source)
  found.lastNumber = numbers.at(-1) ?? 0
  const dropped = await checkPresence(parts, numbers)
  const before = numbers.at(-2)
  if (before !== undefined) found.end = await sealedEnd(await openSegment(store, source, key, before))
  if (found.lastNumber > 0) await endLast(parts, found)
  found.startDamage = await tidyCheckpoints(parts)
  for (const name of dropped) parts.catalogue.forgetSynced(name)
}

/**
 * Every file that is known to have been there is there, as long as it was known to be. After a power cut the catalogue
 * may know what has been removed since: a file that held nothing, or one before the oldest, which is no damage where a
 * checkpoint holds what came before. Returns the latter.
 */
async function checkPresence(
  { store, source, catalogue }: JournalParts,
  numbers: readonly number[],
): Promise<StoreName[]> {
  const first = numbers[0] ?? 1
  const dropped: StoreName[] = []
  for (const { name, bytes } of catalogue.syncedIn(journalFolder(source))) {
    const number = numberIn(name, 'segment')
    if (number !== undefined && numbers.includes(number)) {
      const size = await store.size(name)
      if (size < bytes) throw damaged(name, size, `${bytes} bytes of it were durable`)
    } else if (number !== undefined && number < first) {
      dropped.push(name)
    } else if (bytes > headerBytes) {
      throw damaged(name, 0, `${bytes} bytes of it are gone`)
    }
  }
  const gap = numbers.findIndex((number, index) => number !== first + index)
  if (gap !== -1) throw damaged(segmentName(source, first + gap), 0, 'it is gone')
  return dropped
}

async function endLast(parts: JournalParts, found: Found): Promise<void> {
  const { store, source, key, catalogue } = parts
  const name = segmentName(source, found.lastNumber)
  const after = found.lastNumber === 1 ? 0 : found.end.durable
  let first: Sequence | undefined
  const recovered = await recoverSealed(store, name, key, {
    floor: catalogue.synced(name),
    each: (frame) => {
      const { batch } = batchIn(name, frame)
      if (first !== undefined && batch.first !== found.end.durable + 1) {
        throw damaged(name, frame.at, `batch ${batch.first} follows change ${found.end.durable}`)
      }
      first ??= batch.first
      found.end = endOf(batch)
    },
    last: () => found.end.durable,
  })
  if (recovered.kind === 'removed') {
    catalogue.forgetSynced(name)
    found.lastNumber--
    return
  }
  const file = await openSegment(store, source, key, found.lastNumber)
  const starts = file.header.first
  if ((first ?? starts) !== starts || (after > 0 && starts !== after + 1)) {
    throw damaged(name, 0, `it starts at change ${starts}`)
  }
  if (!recovered.mended) found.end = await sealedEnd(file, found)
  catalogue.noteSynced([[name, await file.size()]])
}

/** The end of the last batch of a sealed segment. */
async function sealedEnd(file: SealedReader, found?: Found): Promise<JournalEnd> {
  const seal = await file.seal()
  if (!seal) throw damaged(file.name, await file.size(), 'a segment follows it, and it is not sealed')
  if (found) found.end = { ...found.end, durable: seal.last }
  const frame = await file.frame(seal.lastFrameAt, seal.bytes - seal.lastFrameAt)
  const end = endOf(batchIn(file.name, frame).batch)
  if (end.durable !== seal.last) throw damaged(file.name, frame.at, `it ends at ${end.durable}, not at ${seal.last}`)
  return end
}

/** A checkpoint that was not written to its end is removed, unless what was before it is already gone. Returns damage. */
async function tidyCheckpoints({ store, source, key }: JournalParts): Promise<TidemarkError | undefined> {
  const [oldest] = await segmentNumbers(store, source)
  const starts = oldest === undefined ? beforeFirst : (await openSegment(store, source, key, oldest)).header.first
  let covered = starts <= 1
  const unsealed: StoreName[] = []
  let damage: TidemarkError | undefined
  for (const at of await checkpointSequences(store, source)) {
    const name = checkpointName(source, at)
    try {
      if ((await store.size(name)) > headerBytes && (await readCheckpoint(store, source, key, at))) {
        covered ||= at >= starts - 1
      } else {
        unsealed.push(name)
      }
    } catch (error) {
      if (!isDamage(error)) throw error
      damage ??= error
    }
  }
  if (damage !== undefined) return damage
  if (!covered) {
    const gone = `neither the segments before change ${starts} nor a checkpoint in their place are there`
    return damaged(journalFolder(source), 0, gone)
  }
  for (const name of unsealed) await store.remove(name)
  return undefined
}

const endOf = (batch: Batch): JournalEnd => ({
  durable: lastOf(batch),
  cursor: Buffer.from(batch.cursor),
  moment: batch.changes.at(-1)?.moment ?? moment(0),
  settled: batch.settled,
})

function checkChunks(change: Change, bytesOf: (id: ChunkId) => number | undefined): void {
  const extents =
    change.kind === 'patch'
      ? change.extents
      : change.kind === 'put' && change.content.type === 'file'
        ? change.content.extents
        : []
  for (const extent of extents) {
    if (!('chunk' in extent)) continue
    const bytes = bytesOf(extent.chunk)
    const name = Buffer.from(extent.chunk, 'latin1').toString('hex')
    if (bytes === undefined) {
      throw new TidemarkError('chunk-missing', { message: `a batch refers to chunk ${name}, which was not sent` })
    }
    if (bytes !== extent.bytes) throw violation(`chunk ${name} has ${bytes} bytes, not ${extent.bytes}`)
  }
}

function decoded(bytes: Uint8Array): Batch {
  try {
    return decodeBatch(bytes)
  } catch (error) {
    if (error instanceof Malformed) throw violation(`a batch is not of its form: ${error.message}`)
    throw error
  }
}

export const violation = (message: string): TidemarkError => new TidemarkError('protocol-violation', { message })
