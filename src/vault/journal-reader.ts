import type { KeyObject } from 'node:crypto'
import { isCode, TidemarkError } from '../base/errors.ts'
import { giveBack } from '../base/give-back.ts'
import { headerBytes } from '../format/sealed-file.ts'
import { readBatchPayload } from '../format/segment.ts'
import { lastOf } from '../model/batch.ts'
import { sequence, type Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { damaged, readStored } from '../store/damaged.ts'
import { type Frame, openSealed, type ScanStart, type SealedReader } from '../store/sealed-reader.ts'
import type { Store } from '../store/store.ts'
import { Cache } from './cache.ts'
import { checkpointSequences, readCheckpoint } from './checkpoint.ts'
import { journalFolder, numberIn, segmentName } from './names.ts'
import type { BatchPlace, Checkpoint, JournalReader, StoredBatch } from './reader.ts'

export interface JournalReaderParts {
  readonly store: Store
  readonly source: Id
  /** The journal's own key. */
  readonly key: KeyObject
  /** The last durable sequence; asked again as reading comes near it. Nothing after it is given out. */
  readonly durable: () => Sequence
}

/** Numbers of the segments of a journal that are longer than `longerThan`, ascending. */
export async function segmentNumbers(store: Store, source: Id, longerThan = -1): Promise<number[]> {
  const files = await store.list(journalFolder(source))
  return files
    .filter(({ bytes }) => bytes > longerThan)
    .map(({ name }) => numberIn(name, 'segment'))
    .filter((number) => number !== undefined)
}

/** As the writer goes on, the newest segment may only just be made: until it is longer than its header it holds nothing. */
export const begunSegmentNumbers = (store: Store, source: Id): Promise<number[]> =>
  segmentNumbers(store, source, headerBytes)

/** Opens a segment and checks that it is the one its name says. */
export async function openSegment(store: Store, source: Id, key: KeyObject, number: number): Promise<SealedReader> {
  const file = await openSealed(store, segmentName(source, number), key)
  const { header } = file
  if (header.kind !== 'segment' || header.owner !== source || header.number !== number) {
    throw damaged(file.name, 0, `it is ${header.kind} ${header.number} of ${header.owner}`)
  }
  return file
}

/** Reads a journal from its files, beside its one writer and from any thread. */
export class StoredJournal implements JournalReader {
  readonly #parts: JournalReaderParts
  readonly #segments = new Cache<number, Segment>(openSegmentsMax)
  /** Readings that stand behind a batch that was asked for, each to be gone on with by one. */
  #courses: { readonly next: number; readonly batches: AsyncGenerator<StoredBatch> }[] = []

  constructor(parts: JournalReaderParts) {
    this.#parts = parts
  }

  async *batches(after: Sequence, signal?: AbortSignal): AsyncGenerator<StoredBatch> {
    let next = after + 1
    if (next > this.#parts.durable()) return
    let segment = await this.#holding(sequence(next))
    let before: Buffer | undefined
    for (;;) {
      const name = segment.file.name
      if (before && !before.equals(segment.file.header.before)) {
        throw damaged(name, 0, 'it does not follow the segment before it')
      }
      const scan = segment.file.scan(segment.startFor(next))
      for (let frame = await scan.next(); frame; frame = await scan.next()) {
        signal?.throwIfAborted()
        const stored = { ...batchIn(name, frame), place: placeOf(segment, frame) }
        const { first } = stored.batch
        const last = lastOf(stored.batch)
        segment.saw(first, frame)
        if (last < next) continue
        if (first > next) throw damaged(name, frame.at, `batch ${first} follows change ${next - 1}`)
        if (last > this.#parts.durable()) return
        next = last + 1
        yield stored
        if (next > this.#parts.durable()) return
      }
      before = scan.end?.kind === 'sealed' ? scan.end.chain : undefined
      const following = await this.#segmentAfter(segment.number)
      if (!following) throw damaged(name, await this.#parts.store.size(name), `change ${next} is not there`)
      segment = following
    }
  }

  async batchOf(at: Sequence, place?: BatchPlace): Promise<StoredBatch> {
    if (at < 1 || at > this.#parts.durable()) throw unreachablePoint(at, 'it has not happened')
    const there = place && (await this.#batchAt(place))
    if (there !== undefined && there.batch.first <= at && at <= lastOf(there.batch)) return there
    const near = this.#courses.findIndex(({ next }) => next <= at && at - next <= stepsMax)
    const [course] = near === -1 ? [] : this.#courses.splice(near, 1)
    const found = course && (await this.#goOn(course.batches, at))
    const stored = found ?? (await this.#along(this.batches(sequence(at - 1)), at))
    if (stored !== undefined) return stored
    throw unreachablePoint(at, 'it has not happened')
  }

  /** Undefined where the segment is gone. */
  async #batchAt(place: BatchPlace): Promise<StoredBatch | undefined> {
    try {
      const { file } = await this.#segment(place.segment)
      return { ...batchIn(file.name, await file.frame(place.at, place.bytes)), place }
    } catch (error) {
      if (!isCode(error, 'not-found')) throw error
      this.#segments.delete(place.segment)
      return undefined
    }
  }

  /** Undefined where the course ends before, as one does in a segment that retention has dropped since. */
  async #goOn(course: AsyncGenerator<StoredBatch>, at: Sequence): Promise<StoredBatch | undefined> {
    try {
      return await this.#along(course, at)
    } catch (error) {
      if (isCode(error, 'not-found')) return undefined
      throw error
    }
  }

  /** The batch that holds `at`; the course stands behind it then, to be gone on with. */
  async #along(course: AsyncGenerator<StoredBatch>, at: Sequence): Promise<StoredBatch | undefined> {
    for (let step = await course.next(); !step.done; step = await course.next()) {
      const last = lastOf(step.value.batch)
      if (last < at) continue
      this.#courses.push({ next: last + 1, batches: course })
      if (this.#courses.length > coursesMax) this.#courses.shift()
      return step.value
    }
    return undefined
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    const { store, source, key } = this.#parts
    for (;;) {
      const [oldest] = await begunSegmentNumbers(store, source)
      if (oldest === undefined) return undefined
      try {
        const { first } = await this.#segment(oldest)
        if (first === 1) return undefined
        for (const at of await checkpointSequences(store, source)) {
          const found = at >= first - 1 ? await readCheckpoint(store, source, key, at) : undefined
          if (found) return found
        }
        throw damaged(segmentName(source, oldest), 0, `the checkpoint at or after change ${first - 1} is gone`)
      } catch (error) {
        // Retention may drop segments and checkpoints while they are looked at.
        if (!isCode(error, 'not-found')) throw error
        this.#segments.delete(oldest)
      }
    }
  }

  /** The segment that holds `at`, found by the first sequences in the headers. */
  async #holding(at: Sequence): Promise<Segment> {
    const { store, source } = this.#parts
    const numbers = await begunSegmentNumbers(store, source)
    let low = 0
    let high = numbers.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      const { first } = await this.#segment(numbers[middle] as number)
      if (first <= at) low = middle
      else high = middle - 1
    }
    const number = numbers[low]
    if (number === undefined) throw damaged(journalFolder(source), 0, 'it has no segments')
    const segment = await this.#segment(number)
    if (segment.first > at) throw unreachablePoint(at, `history is kept from change ${segment.first} on`)
    return segment
  }

  async #segmentAfter(number: number): Promise<Segment | undefined> {
    try {
      return await this.#segment(number + 1)
    } catch (error) {
      if (isCode(error, 'not-found')) return undefined
      throw error
    }
  }

  async #segment(number: number): Promise<Segment> {
    const kept = this.#segments.get(number)
    if (kept) return kept
    const { store, source, key } = this.#parts
    const segment = new Segment(number, await openSegment(store, source, key, number))
    // One that holds nothing durable yet may be given up and begun again as another file.
    if (segment.first <= this.#parts.durable()) this.#segments.set(number, segment, 1)
    return segment
  }
}

const openSegmentsMax = 256
const coursesMax = 8
/** Changes that are read past rather than looked up anew: about as many small batches as stand between two places. */
const stepsMax = 512
/** Places are remembered this far apart. */
const placeEveryBytes = 64 * 1024

/** An open segment, and where batches met so far stand in it. */
class Segment {
  readonly number: number
  readonly file: SealedReader
  readonly #places: (ScanStart & { readonly first: Sequence })[] = []

  constructor(number: number, file: SealedReader) {
    this.number = number
    this.file = file
  }

  get first(): Sequence {
    return this.file.header.first
  }

  saw(first: Sequence, { at, ordinal }: Frame): void {
    const before = this.#places.at(-1)
    if (!before || at >= before.at + placeEveryBytes) this.#places.push({ first, at, ordinal })
  }

  /** The last known place at or before `next`; undefined is the first frame. */
  startFor(next: number): ScanStart | undefined {
    return this.#places.findLast(({ first }) => first <= next)
  }
}

export const batchIn = (name: string, { type, at, payload }: Frame): StoredBatch =>
  readStored(name, at, () => {
    if (type !== 'batch') throw damaged(name, at, `a ${type} stands in a segment`)
    const stored = readBatchPayload(payload)
    // One that was compressed stands elsewhere now.
    if (stored.batch.cursor.buffer !== payload.buffer) giveBack(payload)
    return stored
  })

const placeOf = ({ number }: Segment, { at, bytes }: Frame): BatchPlace => ({ segment: number, at, bytes })

const unreachablePoint = (at: Sequence, why: string): TidemarkError =>
  new TidemarkError('point-unreachable', { message: `change ${at} cannot be read: ${why}` })
