import type { Extent, Range } from '../../model/change.ts'
import { changeExtentsMax } from '../../model/batch.ts'
import { attributesAt } from './attributes.ts'
import type { NewChunk, Reading } from './content-reader.ts'
import type { Look } from './filesystems.ts'
import { extentOf, type FileReader, type FileVersion, isStill } from './read-file.ts'
import { emptySignature, entriesOf, entryAt, entryId, type Signature, signatureEntryBytes } from './signature.ts'
import { type AbsolutePath, isSameNode, sizeOf } from './stat.ts'

/** Up to this length a whole file stands in the change itself. */
const fileInlineBytesMax = 512
/** Tries to read the end of a growing file between two writes. */
const tailTriesMax = 5

/**
 * Finds a state that a file really had, and how it differs from what was known of it.
 *
 * 1. All of it is read. If nothing has changed since before the first byte was read, this is it.
 * 2. If it has only become longer, its end is read, in a moment in which nothing is written: the state of that moment.
 *    What is before its end was read before that moment.
 * 3. That is read once more. Where it is the same before and after, it was so at the moment between.
 * So a file that is appended to all the time can be captured, and one that is written elsewhere meanwhile is torn.
 */
export class FileComparison {
  readonly #path: AbsolutePath
  readonly #reader: FileReader
  readonly #isSparse: boolean
  #look: Look
  #reading: Reading
  #writes: number
  #phase: 'reading' | 'verifying' = 'reading'
  /** What is new up to where the tail begins, then also of the tail. */
  #new: NewChunk[] = []
  #zeros: Range[] = []
  #signature: Signature = emptySignature

  constructor(path: AbsolutePath, look: Look, known: Signature, reader: FileReader) {
    this.#path = path
    this.#look = look
    this.#reader = reader
    this.#isSparse = look.isSparse
    this.#writes = reader.writes()
    this.#reading = reader.content.read(sizeOf(look.stat), look.isSparse, known)
  }

  /** Reads on from the open file until `isTime` says so. 'much': more than `newBytesMax` are new, it is better built. */
  step(fd: number, newBytesMax: number, isTime: () => boolean): FileVersion | 'more' | 'much' | 'torn' {
    const progress = this.#reading.step(fd, newBytesMax, isTime)
    if (progress === 'torn') return 'torn'
    if (this.#reading.newBytes >= newBytesMax || this.#reading.newChunks > changeExtentsMax) return 'much'
    if (progress === 'more') return 'more'
    return this.#phase === 'reading' ? this.#wasRead(fd) : this.#wasVerified()
  }

  #wasRead(fd: number): FileVersion | 'more' | 'torn' {
    const reading = this.#reading
    const { stat } = this.#look
    const appended = reading.appended(fd)
    const attributes = attributesAt(this.#path, stat)
    this.#signature = reading.signature
    this.#zeros = [...reading.zeros]
    if (isStill(fd, this.#path, stat, this.#reader, this.#writes)) {
      const from = reading.appendedFrom
      if (appended !== undefined && from !== undefined) {
        const changed: Extent[] = [{ at: from, bytes: appended.length, data: appended }]
        return { ...attributes, stat, ...this.#facts(), changed, chunks: [] }
      }
      this.#new = reading.takeNew()
      return { ...attributes, stat, ...this.#facts(), ...this.#changes() }
    }
    this.#new = reading.takeNew()
    return this.#readTail(fd)
  }

  #readTail(fd: number): 'more' | 'torn' {
    const last = entriesOf(this.#signature) - 1
    if (last < 0) return 'torn'
    const tailAt = entryAt(this.#signature, last)
    const before = this.#signature.subarray(0, last * signatureEntryBytes) as Signature
    for (let tries = 0; tries < tailTriesMax; tries++) {
      const writes = this.#reader.writes()
      const look = this.#reader.filesystems.look(this.#path)
      if (look === undefined || !isSameNode(look.stat, this.#look.stat)) return 'torn'
      const bytes = sizeOf(look.stat)
      if (bytes < sizeOf(this.#look.stat) || bytes - tailAt > tailBytesMax) return 'torn'
      const tail = this.#reader.content.read(bytes, this.#isSparse, this.#signature, last)
      if (tail.step(fd, Infinity, () => false) !== 'done') return 'torn'
      if (!isStill(fd, this.#path, look.stat, this.#reader, writes)) continue
      const zeros = [...this.#zeros, ...tail.zeros]
      if (zeros.some(({ at, bytes: count }) => at + count > tailAt)) return 'torn'
      this.#signature = Buffer.from(tail.signature) as Signature
      // What was new in the first reading and is as it was then in the second is new all the same.
      this.#new = stillThere([...this.#new, ...tail.takeNew()], this.#signature)
      this.#look = look
      this.#phase = 'verifying'
      this.#reading = this.#reader.content.read(tailAt, this.#isSparse, before)
      return 'more'
    }
    return 'torn'
  }

  #wasVerified(): FileVersion | 'torn' {
    if (this.#reading.newChunks > 0 || this.#reading.zeros.length > 0) return 'torn'
    const { stat } = this.#look
    return { ...attributesAt(this.#path, stat), stat, ...this.#facts(), ...this.#changes() }
  }

  #facts(): Pick<FileVersion, 'bytes' | 'signature' | 'zeros'> {
    return { bytes: sizeOf(this.#look.stat), signature: this.#signature, zeros: this.#zeros }
  }

  #changes(): Pick<FileVersion, 'changed' | 'chunks'> {
    const fresh = this.#new
    if (sizeOf(this.#look.stat) > fileInlineBytesMax) return { changed: fresh.map(extentOf), chunks: fresh }
    return { changed: fresh.map(({ at, bytes, data }) => ({ at, bytes, data })), chunks: [] }
  }
}

/** Those of the chunks of which the file still consists, ascending. */
function stillThere(chunks: readonly NewChunk[], signature: Signature): NewChunk[] {
  const byPlace = new Map(chunks.map((chunk) => [chunk.at, chunk]))
  const found: NewChunk[] = []
  for (let index = 0; index < entriesOf(signature); index++) {
    const chunk = byPlace.get(entryAt(signature, index))
    if (chunk !== undefined && chunk.id === entryId(signature, index)) found.push(chunk)
  }
  return found
}

/** More than that is not read in a moment. */
const tailBytesMax = 8 * 1024 * 1024
