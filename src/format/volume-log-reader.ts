import { assert } from '../base/assert.ts'
import { Malformed } from '../base/bytes.ts'
import { isCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Id } from '../model/source.ts'
import {
  type Decoded,
  decodeRecord,
  decodeSegmentHeader,
  formatSegmentName,
  parseSegmentName,
  recordHeaderBytes,
  recordMagic,
  type RecordNumber,
  seedOf,
  type SegmentHeader,
  segmentHeaderBytes,
  type VolumeRecord,
} from './volume-log.ts'

/** Where segments are read from. */
export interface VolumeLogFolder {
  names(): Promise<readonly string[]>
  /** Undefined where there is none of that name. */
  open(name: string): Promise<VolumeLogFile | undefined>
}

export interface VolumeLogFile {
  /** As many bytes as there are from `at` on, at most as many as fit. */
  read(into: Buffer, at: number): Promise<number>
  close(): Promise<void>
}

/** The segment is there no more, or its file is used for another one: history was given up, or acknowledged long ago. */
export class LogGone extends Error {
  override readonly name = 'LogGone'
}

const readBytesMin = 64 * 1024
const readBytesMax = 1024 ** 2

type Each = (found: Decoded, position: number) => void

/**
 * Follows a volume log from a number on, beside the one that writes it, in whatever process. One read's bytes are in memory, and
 * what the user still holds of those before.
 */
export class VolumeLogReader implements AsyncDisposable {
  readonly #folder: VolumeLogFolder
  readonly #volume: Id
  #next: RecordNumber
  #segment: SegmentReader | undefined

  constructor(folder: VolumeLogFolder, { volume, from }: { readonly volume: Id; readonly from: RecordNumber }) {
    this.#folder = folder
    this.#volume = volume
    this.#next = from
  }

  /** The record that comes next. */
  get next(): RecordNumber {
    return this.#next
  }

  /**
   * All up to and with `upTo`, which is known to be durable, in arrays of what one read held. Where the bytes before `upTo` do not verify
   * it is `damaged`; where they have been let go, a `LogGone`. `data` are views of buffers that are not used again.
   */
  async *read(upTo: RecordNumber): AsyncGenerator<VolumeRecord[]> {
    while (this.#next <= upTo) {
      this.#segment ??= await this.#open()
      const records = await this.#segment.read(this.#next, upTo)
      if (records.length > 0) {
        this.#next = (this.#next + records.length) as RecordNumber
        yield records
      } else {
        await this.#leave(this.#segment)
      }
    }
  }

  async #open(): Promise<SegmentReader> {
    const firsts = (await this.#folder.names()).map(parseSegmentName).filter((first) => first !== undefined)
    const first = firsts.filter((number) => number <= this.#next).sort((one, other) => other - one)[0]
    if (first === undefined) throw new LogGone(`record ${this.#next} is no longer in the log`)
    const gone = new LogGone(`record ${this.#next} is no longer in the log`)
    try {
      const segment = await SegmentReader.open(this.#folder, first)
      if (segment === undefined) throw gone
      if (segment.header.volume === this.#volume && segment.header.first === first) return segment
      await segment[Symbol.asyncDispose]()
      throw damagedLog(formatSegmentName(first), 0, 'its header is of another segment')
    } catch (error) {
      // Its file may have been given to another segment since its name was seen.
      const isGone = isCode(error, 'damaged') && !(await this.#folder.names()).includes(formatSegmentName(first))
      throw isGone ? gone : error
    }
  }

  /** There is no record `next` where the segment goes on: it has to begin another one. */
  async #leave(segment: SegmentReader): Promise<void> {
    const name = formatSegmentName(this.#next)
    const names = await this.#folder.names()
    const isOver = segment.header.first !== this.#next && names.includes(name)
    const isThere = names.includes(segment.name) && (await segment.isStill(this.#folder))
    await segment[Symbol.asyncDispose]()
    this.#segment = undefined
    if (isOver) return
    if (!isThere) throw new LogGone(`record ${this.#next} is no longer in the log`)
    throw segment.damaged(`record ${this.#next} does not verify`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#segment?.[Symbol.asyncDispose]()
    this.#segment = undefined
  }
}

/** The records of one segment, from its beginning on. */
export class SegmentReader implements AsyncDisposable {
  readonly name: string
  readonly header: SegmentHeader
  readonly #file: VolumeLogFile
  readonly #seed: number
  /** Where the next record is. */
  #position = segmentHeaderBytes
  /** The next record's number. */
  #number: number
  /** What is read at once: more the more of it is used. */
  #readBytes = readBytesMin
  /** Highest that a record said to be synced. */
  synced = 0

  private constructor(name: string, file: VolumeLogFile, header: SegmentHeader) {
    this.name = name
    this.header = header
    this.#file = file
    this.#seed = seedOf(header)
    this.#number = header.first
  }

  /** Undefined where there is no such segment; a header that does not verify is `damaged`. */
  static async open(folder: VolumeLogFolder, first: RecordNumber): Promise<SegmentReader | undefined> {
    const name = formatSegmentName(first)
    const file = await folder.open(name)
    if (file === undefined) return undefined
    try {
      return new SegmentReader(name, file, await readHeader(name, file))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /**
   * Records from `next` up to `upTo`, as many as one read holds, and none where no record `next` follows; those before are passed over.
   * Each is told to `each`, with its place in the segment.
   */
  async read(next: number, upTo: number, each?: Each): Promise<VolumeRecord[]> {
    for (;;) {
      const before = this.#number
      const records = await this.#readOnce(next, upTo, each)
      if (records.length > 0 || this.#number === before) return records
    }
  }

  /** Into a new buffer, since records hold views of the one before. What stands behind `upTo` may be read before it is written. */
  async #readOnce(next: number, upTo: number, each?: Each): Promise<VolumeRecord[]> {
    let bytes = await this.#bytesAhead(this.#readBytes)
    const records: VolumeRecord[] = []
    const start = this.#position
    while (this.#number <= upTo) {
      const at = this.#position - start
      const found = decodeRecord(bytes, at, this.#seed)
      if (found === 'invalid') break
      if ('needs' in found) {
        if (at > 0 || bytes.length >= found.needs || bytes.length < this.#readBytes) break
        // Those that follow are likely as long.
        this.#readBytes = Math.max(found.needs, readBytesMax)
        bytes = await this.#bytesAhead(found.needs)
        if (bytes.length < found.needs) break
        continue
      }
      if (found.record.number !== this.#number) break
      each?.(found, this.#position)
      this.synced = Math.max(this.synced, found.synced)
      this.#position += found.bytes
      this.#number++
      if (found.record.number >= next) records.push(found.record)
    }
    const used = this.#position - start
    if (used > bytes.length / 2)
      this.#readBytes = Math.max(this.#readBytes, Math.min(this.#readBytes * 2, readBytesMax))
    else if (used < bytes.length / 8) this.#readBytes = Math.max(this.#readBytes / 2, readBytesMin)
    return records
  }

  async #bytesAhead(count: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(count)
    return buffer.subarray(0, await readWhole(this.#file, buffer, this.#position))
  }

  /** Highest number up to which a record behind the present place says that the log was synced; 0 where there is none. */
  async syncedBehind(): Promise<number> {
    let synced = 0
    for await (const { found } of this.#behind()) synced = Math.max(synced, found.synced)
    return synced
  }

  /** Goes to a record behind the present place, over what does not verify. False where it is not there. */
  async find(number: RecordNumber): Promise<boolean> {
    for await (const { found, position } of this.#behind()) {
      if (found.record.number !== number) continue
      this.#position = position
      this.#number = number
      return true
    }
    return false
  }

  /** Every record that verifies behind the present place, whatever stands between them. */
  async *#behind(): AsyncGenerator<{ readonly found: Decoded; readonly position: number }> {
    const overlap = recordMagic.length - 1
    const buffer = Buffer.allocUnsafeSlow(readBytesMax)
    for (let at = this.#position; ;) {
      const bytes = await readWhole(this.#file, buffer, at)
      const window = buffer.subarray(0, bytes)
      for (let index = window.indexOf(recordMagic); index >= 0; index = window.indexOf(recordMagic, index + 1)) {
        const found = await this.#recordAt(at + index)
        if (found) yield { found, position: at + index }
      }
      if (bytes < buffer.length) return
      at += bytes - overlap
    }
  }

  async #recordAt(at: number): Promise<Decoded | undefined> {
    let bytes = Buffer.allocUnsafeSlow(recordHeaderBytes)
    for (;;) {
      const length = await readWhole(this.#file, bytes, at)
      const found = decodeRecord(bytes.subarray(0, length), 0, this.#seed)
      if (found === 'invalid') return undefined
      if (!('needs' in found)) return found
      if (length < bytes.length || found.needs <= bytes.length) return undefined
      bytes = Buffer.allocUnsafeSlow(found.needs)
    }
  }

  /** Whether the file of this name still is this segment. */
  async isStill(folder: VolumeLogFolder): Promise<boolean> {
    const now = await folder.open(this.name)
    if (now === undefined) return false
    try {
      return seedOf(await readHeader(this.name, now)) === this.#seed
    } catch (error) {
      if (error instanceof TidemarkError) return false
      throw error
    } finally {
      await now.close()
    }
  }

  damaged(what: string): TidemarkError {
    return damagedLog(this.name, this.#position, what)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

async function readHeader(name: string, file: VolumeLogFile): Promise<SegmentHeader> {
  const bytes = Buffer.alloc(segmentHeaderBytes)
  await readWhole(file, bytes, 0)
  try {
    return decodeSegmentHeader(bytes)
  } catch (error) {
    if (error instanceof Malformed) throw damagedLog(name, 0, messageOf(error))
    throw error
  }
}

async function readWhole(file: VolumeLogFile, into: Buffer, at: number): Promise<number> {
  let filled = 0
  while (filled < into.length) {
    const bytes = await file.read(into.subarray(filled), at + filled)
    assert(bytes >= 0 && bytes <= into.length - filled, 'a read gives what it was asked for, or less')
    if (bytes === 0) break
    filled += bytes
  }
  return filled
}

export const damagedLog = (name: string, at: number, what: string): TidemarkError =>
  new TidemarkError('damaged', { message: `${name} of the volume log is damaged at byte ${at}: ${what}` })
