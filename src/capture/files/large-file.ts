import { closeSync, fstatSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import type { Change, Range } from '../../model/change.ts'
import { attributesAt } from './attributes.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogTree } from './catalog-tree.ts'
import type { NewChunk, Reading } from './content-reader.ts'
import type { FileCapture } from './file-capture.ts'
import { FileComparison } from './file-comparison.ts'
import type { Look } from './filesystems.ts'
import { offerBytesWanted, type Offers } from './offers.ts'
import { absolute } from './protected-paths.ts'
import { extentOf, type FileReader, type FileVersion, isStill, openFile } from './read-file.ts'
import { emptySignature, type Signature } from './signature.ts'
import type { Staging, StagingPlace } from './staging.ts'
import { inodeOf, sizeOf, typeOf, unprovenStat } from './stat.ts'
import type { Outcome, Place } from './subject.ts'

/** Larger files are read in steps. */
export const largeFileBytes = 16 * 1024 * 1024
/** Times a file is compared with what has been built of it, because it changed meanwhile. */
const passesMax = 8

export interface LargeFileParts {
  readonly tree: CatalogTree
  readonly writer: BatchWriter
  readonly offers: Offers
  readonly staging: Staging
  readonly files: FileCapture
  readonly reader: FileReader
  /** What was noticed of the file until now is about to be read. */
  beginPass(): void
}

/**
 * Captures a file too large to be read at once, a slice at a time. It is compared with what is known of it; where little
 * has changed, the result is one patch. Otherwise it is built at a staging place by patches, compared with what has been
 * built until that is a state it really had, and takes its place by one rename. It is open only during a slice.
 */
export class LargeFile {
  readonly place: Place
  /** Time spent so far. */
  costMs = 0
  readonly #parts: LargeFileParts
  #look: Look
  #known: Signature
  #comparison: FileComparison | undefined
  #building: Reading | undefined
  #staged: StagingPlace | undefined
  #offered = 0
  #passes = 0
  #writes = 0
  #outcome: Outcome | undefined

  constructor(place: Place, parts: LargeFileParts) {
    this.place = place
    this.#parts = parts
    this.#look = place.look
    this.#known = place.known === undefined ? emptySignature : parts.tree.signature(place.known)
    if (place.known === undefined) this.#build()
    else this.#compare()
  }

  /** Until the vault answers there is nothing to do. */
  get isWaiting(): boolean {
    if (this.#outcome !== undefined) return false
    const isRead = this.#building === undefined && this.#comparison === undefined
    if (isRead) return this.#offered > 0
    return this.#building !== undefined && !this.#parts.offers.hasRoom(this.place.lane)
  }

  /** 'waiting': for the vault's answers. */
  step(isTime: () => boolean): 'more' | 'waiting' | Outcome {
    if (this.#outcome !== undefined) return this.#outcome
    if (this.isWaiting) {
      this.#parts.offers.flush(this.place.lane)
      return 'waiting'
    }
    let fd: number
    try {
      fd = openFile(absolute(this.place.path))
    } catch (error) {
      if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EACCES', 'EIO')) return this.#fail()
      throw error
    }
    try {
      if (fstatSync(fd, { bigint: true }).ino !== inodeOf(this.#look.stat)) return this.#fail()
      if (this.#building !== undefined) return this.#readOn(this.#building, fd, isTime)
      return this.#comparison === undefined ? this.#fail() : this.#compareOn(this.#comparison, fd, isTime)
    } finally {
      closeSync(fd)
    }
  }

  /** Gives up; what was built so far goes. */
  cancel(): void {
    const staged = this.#staged
    if (staged === undefined || !this.#isStaged(staged)) return
    this.#parts.writer.write(this.place.lane, { kind: 'remove', path: staged.path })
    this.#parts.tree.remove(staged.directory, staged.name)
  }

  #fail(): Outcome {
    this.cancel()
    return 'torn'
  }

  // --- comparing, with what was known or with what has been built

  #compare(): 'more' | Outcome {
    const look = this.#lookAgain()
    if (look === undefined || this.#passes++ >= passesMax) return this.#fail()
    this.#building = undefined
    this.#comparison = new FileComparison(absolute(this.place.path), look, this.#known, this.#parts.reader)
    return 'more'
  }

  #compareOn(comparison: FileComparison, fd: number, isTime: () => boolean): 'more' | Outcome {
    const result = comparison.step(fd, largeFileBytes, isTime)
    if (result === 'more') return 'more'
    if (result === 'torn') return this.#staged === undefined ? 'torn' : this.#compare()
    if (result === 'much') return this.#build()
    if (this.#staged === undefined) return this.#parts.files.write(this.place, result)
    this.#comparison = undefined
    this.#finish(this.#staged, result)
    return 'more'
  }

  #lookAgain(): Look | undefined {
    this.#parts.beginPass()
    const look = this.#parts.reader.filesystems.look(absolute(this.place.path))
    if (look === undefined || typeOf(look.stat) !== 'file' || inodeOf(look.stat) !== inodeOf(this.#look.stat))
      return undefined
    this.#look = look
    this.#writes = this.#parts.reader.writes()
    return look
  }

  // --- building

  #build(): 'more' | Outcome {
    const look = this.#lookAgain()
    if (look === undefined || this.#passes++ >= passesMax) return this.#fail()
    this.#comparison = undefined
    if (this.#staged === undefined) {
      this.#known = emptySignature
      this.#staged = this.#stage(look)
    }
    this.#building = this.#parts.reader.content.read(sizeOf(look.stat), look.isSparse, this.#known)
    return 'more'
  }

  #stage(look: Look): StagingPlace {
    const { staging, writer, tree } = this.#parts
    const { lane, path } = this.place
    const staged = staging.place(lane)
    const { attributes } = attributesAt(absolute(path), look.stat)
    writer.write(lane, { kind: 'put', path: staged.path, attributes, content: { type: 'file', bytes: 0, extents: [] } })
    const stat = unprovenStat({ ...attributes, type: 'file', size: 0 })
    tree.addFile(staged.directory, staged.name, { stat, xattrs: undefined }, emptySignature)
    return staged
  }

  #readOn(reading: Reading, fd: number, isTime: () => boolean): 'more' | Outcome {
    const progress = reading.step(fd, offerBytesWanted, isTime)
    const bytes = sizeOf(this.#look.stat)
    if (progress === 'torn') {
      // Shorter than it was: what has been built is of no use as a beginning.
      this.#patch([], [], 0)
      this.#known = emptySignature
      return this.#build()
    }
    const fresh = reading.takeNew()
    if (fresh.length > 0) this.#patch(fresh, [], bytes)
    if (progress === 'more') return 'more'
    if (reading.zeros.length > 0) this.#patch([], reading.zeros, bytes)
    this.#known = Buffer.from(reading.signature) as Signature
    this.#building = undefined
    const { stat } = this.#look
    const attributes = attributesAt(absolute(this.place.path), stat)
    const staged = this.#staged
    if (staged === undefined || !isStill(fd, absolute(this.place.path), stat, this.#parts.reader, this.#writes))
      return this.#compare()
    const facts = { stat, bytes, signature: this.#known, changed: [], zeros: [], chunks: [] }
    this.#finish(staged, { ...attributes, ...facts })
    return 'more'
  }

  #patch(chunks: readonly NewChunk[], zeros: readonly Range[], bytes: number): void {
    const staged = this.#staged
    if (staged === undefined) return
    const { attributes } = attributesAt(absolute(this.place.path), this.#look.stat)
    this.#offer(chunks, (missing) => {
      const patch: Change = {
        kind: 'patch',
        path: staged.path,
        attributes,
        bytes,
        extents: chunks.map(extentOf),
        zeros: [...zeros],
      }
      if (this.#isStaged(staged)) this.#parts.writer.write(this.place.lane, patch, missing)
    })
  }

  #finish(staged: StagingPlace, version: FileVersion): void {
    const { files, writer } = this.#parts
    const { attributes, bytes, changed, zeros } = version
    this.#offer(version.chunks, (missing) => {
      if (!this.#isStaged(staged)) return void (this.#outcome = 'torn')
      const patch: Change = {
        kind: 'patch',
        path: staged.path,
        attributes,
        bytes,
        extents: [...changed],
        zeros: [...zeros],
      }
      writer.write(this.place.lane, patch, missing)
      this.#outcome = files.placeStaged(this.place, version, staged) ? 'done' : this.#fail()
    })
  }

  #offer(chunks: FileVersion['chunks'], write: (missing: FileVersion['chunks']) => void): void {
    this.#offered++
    this.#parts.offers.add(this.place.lane, {
      chunks,
      write: (missing) => {
        this.#offered--
        write(missing)
      },
    })
  }

  #isStaged(staged: StagingPlace): boolean {
    return this.#parts.tree.child(staged.directory, staged.name) !== undefined
  }
}
