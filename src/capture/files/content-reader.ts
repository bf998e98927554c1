import { readSync } from 'node:fs'
import { type ChunkSizes, Chunker } from '../../base/chunker/chunker.ts'
import { Fingerprinter } from '../../base/chunker/fingerprint.ts'
import { ScanMemory } from '../../base/chunker/scan-memory.ts'
import { dataRanges, type DataRange } from '../../base/syscalls/sparse.ts'
import type { ChunkId, Range } from '../../model/change.ts'
import { ChunkIds } from '../chunk-ids.ts'
import {
  entriesOf,
  entryAt,
  entryBytes,
  entryPrint,
  type Signature,
  SignatureBuilder,
  signatureEntryBytes,
} from './signature.ts'

const kibibyte = 1024
const usualSizes: ChunkSizes = { min: 16 * kibibyte, average: 64 * kibibyte, max: 256 * kibibyte }
const largeSizes: ChunkSizes = { min: 64 * kibibyte, average: 256 * kibibyte, max: 1024 * kibibyte }
const largeSizesFrom = 256 * kibibyte * kibibyte
const memoryBytes = 4 * kibibyte * kibibyte
/** Up to this length, what was appended to a file travels as it is, without the chunk it makes larger. */
const appendInlineBytesMax = 4096

/** A chunk of a file that was not there before. */
export interface NewChunk {
  readonly at: number
  readonly bytes: number
  readonly id: ChunkId
  /** Undefined where the same bytes are in an earlier chunk of this reading. */
  readonly data: Buffer
}

/** What makes chunks and their names: the memory files are read into, and the keys. */
export class ContentReader {
  readonly #ids: ChunkIds
  readonly #memory = new ScanMemory(memoryBytes)
  readonly #usual = new Chunker(usualSizes, this.#memory)
  readonly #large = new Chunker(largeSizes, this.#memory)
  readonly #fingerprinter: Fingerprinter

  constructor(keys: { chunkKey: Uint8Array; fingerprintSeed: bigint }) {
    this.#ids = new ChunkIds(keys.chunkKey)
    this.#fingerprinter = new Fingerprinter(keys.fingerprintSeed, this.#memory)
  }

  get memory(): Uint8Array {
    return this.#memory.bytes
  }

  idOf(bytes: Uint8Array): ChunkId {
    return this.#ids.of(bytes)
  }

  printOf(start: number, end: number): bigint {
    return this.#fingerprinter.of(start, end)
  }

  cut(start: number, end: number, final: boolean, fileBytes: number): number {
    return this.#chunkerFor(fileBytes).cut(start, end, final)
  }

  /** As many bytes as a decision where to cut may need. */
  chunkBytesMax(fileBytes: number): number {
    return this.#chunkerFor(fileBytes).sizes.max
  }

  #chunkerFor(fileBytes: number): Chunker {
    return fileBytes < largeSizesFrom ? this.#usual : this.#large
  }

  /**
   * Begins to compare a file of `bytes` bytes with what was known of it, up to the entry of this index taking it as known
   * without reading. Steps of several readings may take turns.
   */
  read(bytes: number, isSparse: boolean, known: Signature, from = 0): Reading {
    return new Reading(this, bytes, isSparse, known, from)
  }
}

/**
 * One pass over a file: which of its chunks are as known, which are new. Known chunks are compared by fingerprint where
 * they stood; from the first difference on, the content is cut anew until a cut meets the start of a known chunk again.
 */
export class Reading {
  /** Chunks that are new where they are, since the last `takeNew`. */
  #new: NewChunk[] = []
  #newBytes = 0
  /** Holes that had been data. */
  readonly zeros: Range[] = []
  /** Set where all that is new is a short tail: the file has grown from here, and is as known before. */
  appendedFrom: number | undefined
  /** What of the known signature is not the beginning of a chunk any more, or has other content. */
  dropped = 0

  readonly #reader: ContentReader
  readonly #bytes: number
  readonly #isSparse: boolean
  readonly #known: Signature
  readonly #built = new SignatureBuilder()
  // Of the step under way.
  #fd = -1
  #range: DataRange | undefined
  #index = 0
  #at = 0
  // The memory holds the file from #windowAt on.
  #windowAt = 0
  #windowBytes = 0

  constructor(reader: ContentReader, bytes: number, isSparse: boolean, known: Signature, from: number) {
    this.#reader = reader
    this.#bytes = bytes
    this.#isSparse = isSparse
    this.#known = known
    for (; this.#index < from; this.#index++) this.#built.copy(known, this.#index)
    if (from > 0) this.#at = entryAt(known, from - 1) + entryBytes(known, from - 1)
  }

  /**
   * Reads on from the open file until the end, until `isTime` says so, or until new chunks of `newBytesMax` are waiting
   * to be taken. Nothing stays in the memory between two steps. 'torn': the file is shorter than it was.
   */
  step(fd: number, newBytesMax: number, isTime: () => boolean): 'done' | 'more' | 'torn' {
    this.#fd = fd
    this.#windowBytes = 0
    const ranges = this.#isSparse ? dataRanges(fd, this.#bytes) : [{ start: 0, end: this.#bytes }]
    for (const range of ranges) {
      if (range.end <= this.#at) continue
      this.#range = range
      this.#hole(this.#at, range.start)
      this.#at = Math.max(this.#at, range.start)
      while (this.#at < range.end) {
        if (!this.#chunk(range.end)) return 'torn'
        if (this.#newBytes >= newBytesMax || isTime()) return 'more'
      }
    }
    this.#hole(this.#at, this.#bytes)
    this.#at = this.#bytes
    return 'done'
  }

  takeNew(): NewChunk[] {
    const taken = this.#new
    this.#new = []
    this.#newBytes = 0
    return taken
  }

  /** After 'done'. */
  get signature(): Signature {
    return this.#built.build()
  }

  /** Waiting to be taken. */
  get newBytes(): number {
    return this.#newBytes
  }

  get newChunks(): number {
    return this.#new.length
  }

  /** The short tail of `appendedFrom`, if all else is as it was. */
  appended(fd: number): Buffer | undefined {
    const from = this.appendedFrom
    if (from === undefined || this.zeros.length > 0 || this.#bytes - from > appendInlineBytesMax) return undefined
    const data = Buffer.allocUnsafe(this.#bytes - from)
    return readSync(fd, data, 0, data.length, from) === data.length ? data : undefined
  }

  /** Handles one chunk at #at; false where the file has fewer bytes than it had. */
  #chunk(rangeEnd: number): boolean {
    const at = this.#at
    while (this.#index < entriesOf(this.#known) && entryAt(this.#known, this.#index) < at) this.#index++
    const known = this.#index
    const knownBytes =
      known < entriesOf(this.#known) && entryAt(this.#known, known) === at ? entryBytes(this.#known, known) : 0
    if (knownBytes > 0 && at + knownBytes <= rangeEnd) {
      if (!this.#load(at, knownBytes)) return false
      const start = at - this.#windowAt
      if (this.#reader.printOf(start, start + knownBytes) === entryPrint(this.#known, known)) {
        if (at + knownBytes === rangeEnd || !this.#endsRange(known)) {
          this.#built.copy(this.#known, known)
          this.#at = at + knownBytes
          return true
        }
        // It ended where the data ended, and more has come: one short chunk after another would be the result.
        const isLast = known === entriesOf(this.#known) - 1
        if (isLast && this.#new.length === 0 && this.dropped === 0) this.appendedFrom = at + knownBytes
      } else {
        this.dropped++
      }
    } else if (knownBytes > 0) {
      this.dropped++
    }
    return this.#cutNew(at, rangeEnd, known)
  }

  #cutNew(at: number, rangeEnd: number, known: number): boolean {
    const want = Math.min(this.#reader.chunkBytesMax(this.#bytes), rangeEnd - at)
    if (!this.#load(at, want)) return false
    const start = at - this.#windowAt
    const end = this.#reader.cut(start, start + want, at + want === rangeEnd, this.#bytes)
    const bytes = end - start
    const view = this.#reader.memory.subarray(start, end)
    const id = this.#reader.idOf(view)
    const print = this.#reader.printOf(start, end)
    this.#built.add({ at, bytes, id, print })
    this.#at = at + bytes
    if (this.#isKnown(known, at, bytes, id)) return true
    this.#new.push({ at, bytes, id, data: Buffer.from(view) })
    this.#newBytes += bytes
    return true
  }

  /** Of a signature without fingerprints, from a manifest. */
  #isKnown(index: number, at: number, bytes: number, id: ChunkId): boolean {
    if (index >= entriesOf(this.#known) || entryAt(this.#known, index) !== at) return false
    if (entryBytes(this.#known, index) !== bytes) return false
    const start = index * signatureEntryBytes + 12
    return this.#known.toString('latin1', start, start + 32) === id
  }

  #endsRange(index: number): boolean {
    if (index === entriesOf(this.#known) - 1) return true
    return entryAt(this.#known, index + 1) !== entryAt(this.#known, index) + entryBytes(this.#known, index)
  }

  #hole(from: number, to: number): void {
    if (from >= to) return
    while (this.#index < entriesOf(this.#known) && entryAt(this.#known, this.#index) < to) {
      const start = entryAt(this.#known, this.#index)
      if (start + entryBytes(this.#known, this.#index) > from) {
        const zeroFrom = Math.max(start, from)
        const zeroTo = Math.min(start + entryBytes(this.#known, this.#index), to)
        this.zeros.push({ at: zeroFrom, bytes: zeroTo - zeroFrom })
      }
      if (start + entryBytes(this.#known, this.#index) > to) return
      this.#index++
    }
  }

  /** Makes `count` bytes from `at` on stand in the memory. */
  #load(at: number, count: number): boolean {
    const held = this.#windowAt + this.#windowBytes - at
    if (this.#windowBytes > 0 && at >= this.#windowAt && held >= count) return true
    const memory = this.#reader.memory
    let kept = 0
    if (this.#windowBytes > 0 && at >= this.#windowAt && held > 0) {
      memory.copyWithin(0, at - this.#windowAt, this.#windowBytes)
      kept = held
    }
    this.#windowAt = at
    this.#windowBytes = kept
    // Not past the end of the data range: what is beyond may be a hole.
    const wanted = Math.min(memory.length, (this.#range?.end ?? this.#bytes) - at)
    while (this.#windowBytes < wanted) {
      const read = readSync(this.#fd, memory, this.#windowBytes, wanted - this.#windowBytes, at + this.#windowBytes)
      if (read === 0) break
      this.#windowBytes += read
    }
    return this.#windowBytes >= count
  }
}
