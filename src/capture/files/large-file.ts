import { closeSync, fstatSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import { changeExtentsMax } from '../../model/batch.ts'
import type { Range } from '../../model/change.ts'
import { attributesAt } from './attributes.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { Catalog } from './catalog.ts'
import type { NewChunk, Reading } from './content-reader.ts'
import { type EntryCapture, largeFileBytes, type Outcome, type Place } from './entry-capture.ts'
import type { Look } from './filesystems.ts'
import { offerBytesWanted, type Offers } from './offers.ts'
import { absolute } from './protected-paths.ts'
import { extentOf, type FileReader, isStill, openFile } from './read-file.ts'
import { emptySignature, type Signature } from './signature.ts'
import type { Staging, StagingPlace } from './staging.ts'
import { inodeOf, sizeOf, typeOf, unprovenStat } from './stat.ts'

/** Times a file that is being built is compared again because it changed meanwhile; each pass reads only, and is quick. */
const passesMax = 8

export interface LargeFileParts {
  readonly catalog: Catalog
  readonly writer: BatchWriter
  readonly offers: Offers
  readonly staging: Staging
  readonly entries: EntryCapture
  readonly reader: FileReader
  /** What was noticed of the file until now is about to be read. */
  beginPass(): void
}

/**
 * Captures a file too large to be read at once, a slice at a time. First it is compared with what is known of it: where
 * little has changed, the result is one patch. Otherwise it is built at a staging place by patches, compared again until
 * nothing changed during a whole pass, and then takes its place by one rename. The file is open only during a slice.
 */
export class LargeFile {
  readonly place: Place
  /** Time spent so far. */
  costMs = 0
  readonly #parts: LargeFileParts
  #look: Look
  #known: Signature
  #reading: Reading
  #staged: StagingPlace | undefined
  #offered = 0
  #isRead = false
  #passes = 0

  constructor(place: Place, parts: LargeFileParts) {
    this.place = place
    this.#parts = parts
    this.#look = place.look
    this.#known = place.known === undefined ? emptySignature : parts.catalog.signature(place.known)
    this.#reading = this.#beginPass()
    if (place.known === undefined) this.#build()
  }

  /** Until the vault answers there is nothing to do. */
  get isWaiting(): boolean {
    if (this.#isRead) return this.#offered > 0
    return this.#staged !== undefined && !this.#parts.offers.hasRoom(this.place.lane)
  }

  /** 'waiting': for the vault's answers. */
  step(isTime: () => boolean): 'more' | 'waiting' | Outcome {
    const { offers } = this.#parts
    if (this.#isRead && this.#offered > 0) {
      offers.flush(this.place.lane)
      return 'waiting'
    }
    if (this.#staged !== undefined && !offers.hasRoom(this.place.lane)) return 'waiting'
    let fd: number
    try {
      fd = openFile(absolute(this.place.path))
    } catch (error) {
      if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EACCES', 'EIO')) return this.#fail()
      throw error
    }
    try {
      if (fstatSync(fd, { bigint: true }).ino !== inodeOf(this.#look.stat)) return this.#fail()
      if (this.#isRead) return this.#finish(fd)
      return this.#staged === undefined ? this.#compare(fd, isTime) : this.#readOn(fd, isTime)
    } finally {
      closeSync(fd)
    }
  }

  /** Gives up; what was built so far goes. */
  cancel(): void {
    const staged = this.#staged
    if (staged === undefined || this.#parts.catalog.child(staged.parent, staged.name) === undefined) return
    this.#parts.writer.write(this.place.lane, { kind: 'remove', path: staged.path })
    this.#parts.catalog.remove(staged.parent, staged.name)
  }

  #fail(): Outcome {
    this.cancel()
    return 'torn'
  }

  #beginPass(): Reading {
    this.#parts.beginPass()
    this.#passes++
    this.#isRead = false
    return this.#parts.reader.content.read(sizeOf(this.#look.stat), this.#look.isSparse, this.#known)
  }

  #compare(fd: number, isTime: () => boolean): 'more' | Outcome {
    const reading = this.#reading
    const progress = reading.step(fd, largeFileBytes, isTime)
    if (progress === 'torn') return 'torn'
    if (reading.newBytes >= largeFileBytes || reading.newChunks > changeExtentsMax) {
      this.#known = emptySignature
      this.#reading = this.#beginPass()
      this.#build()
      return 'more'
    }
    if (progress === 'more') return 'more'
    const { stat } = this.#look
    const path = absolute(this.place.path)
    const appended = reading.appended(fd)
    const known = attributesAt(path, stat)
    if (!isStill(fd, path, stat, this.#parts.reader)) return 'torn'
    const facts = { ...known, stat, bytes: sizeOf(stat), signature: reading.signature, zeros: reading.zeros }
    if (appended !== undefined && reading.appendedFrom !== undefined) {
      const extent = { at: reading.appendedFrom, bytes: appended.length, data: appended }
      return this.#parts.entries.writeVersion(this.place, { ...facts, changed: [extent], chunks: [] })
    }
    const fresh = reading.takeNew()
    return this.#parts.entries.writeVersion(this.place, { ...facts, changed: fresh.map(extentOf), chunks: fresh })
  }

  #build(): void {
    const { staging, writer, catalog } = this.#parts
    const { lane, path, look } = this.place
    const staged = staging.place(lane)
    const { attributes } = attributesAt(absolute(path), look.stat)
    writer.write(lane, { kind: 'put', path: staged.path, attributes, content: { type: 'file', bytes: 0, extents: [] } })
    const stat = unprovenStat({ ...attributes, type: typeOf(look.stat), size: 0 })
    catalog.add(staged.parent, staged.name, { stat, xattrs: undefined, content: Buffer.alloc(0) })
    this.#staged = staged
  }

  #readOn(fd: number, isTime: () => boolean): 'more' | 'waiting' | Outcome {
    const progress = this.#reading.step(fd, offerBytesWanted, isTime)
    if (progress === 'torn') return this.#again(fd)
    const fresh = this.#reading.takeNew()
    if (fresh.length > 0) this.#offer(fresh, [])
    if (progress === 'more') return 'more'
    if (this.#reading.zeros.length > 0) this.#offer([], this.#reading.zeros)
    this.#isRead = true
    return 'more'
  }

  #offer(chunks: readonly NewChunk[], zeros: readonly Range[], bytes = sizeOf(this.#look.stat)): void {
    const { offers, writer, catalog } = this.#parts
    const { lane, path } = this.place
    const staged = this.#staged
    if (staged === undefined) return
    const { attributes } = attributesAt(absolute(path), this.#look.stat)
    const patch = { kind: 'patch' as const, path: staged.path, attributes, bytes, zeros: [...zeros] }
    this.#offered++
    offers.add(lane, {
      chunks,
      write: (missing) => {
        this.#offered--
        if (catalog.child(staged.parent, staged.name) === undefined) return
        writer.write(lane, { ...patch, extents: chunks.map(extentOf) }, missing)
      },
    })
  }

  #finish(fd: number): 'more' | Outcome {
    const { entries, writer, reader } = this.#parts
    const { lane, path } = this.place
    const staged = this.#staged
    const { stat } = this.#look
    const known = attributesAt(absolute(path), stat)
    if (staged === undefined || !isStill(fd, absolute(path), stat, reader)) return this.#again(fd)
    const bytes = sizeOf(stat)
    writer.write(lane, { kind: 'patch', path: staged.path, attributes: known.attributes, bytes, extents: [], zeros: [] })
    const signature = this.#reading.signature
    const version = { ...known, stat, bytes, signature, changed: [], zeros: [], chunks: [] }
    return entries.placeStaged(this.place, version, staged) ? 'done' : this.#fail()
  }

  /** It changed while it was read: what has been built is compared with what it is now. */
  #again(fd: number): 'more' | Outcome {
    const look = this.#parts.reader.filesystems.look(absolute(this.place.path))
    if (look === undefined || this.#passes >= passesMax) return this.#fail()
    if (fstatSync(fd, { bigint: true }).ino !== inodeOf(look.stat)) return this.#fail()
    if (!this.#isRead) this.#offer([], [], 0)
    this.#known = this.#isRead ? this.#reading.signature : emptySignature
    this.#look = look
    this.#reading = this.#beginPass()
    return 'more'
  }
}
