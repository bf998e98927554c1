import { crc32 } from 'node:zlib'
import { assert } from '../../../base/assert.ts'
import type { LogFile, LogFolder } from './files.ts'
import { orNoRoom, writeWhole } from './room.ts'

/**
 * The regions written while no history could be kept: the file `touched`, pages of 4096 bytes. A page is the CRC-32 of its bits, then a bit
 * for each of 32736 regions, the lowest bit of a byte first; a page of zeros alone has none. Pages are written in place: one that does not
 * verify, as a power cut may leave it, counts as touched all over, which costs reading and no data.
 */
const touchedName = 'touched'
const replacingName = 'touched.new'
const pageBytes = 4096
const checksumBytes = 4
const bitsBytes = pageBytes - checksumBytes
const regionsOfPage = bitsBytes * 8

export class TouchedRegions {
  readonly #folder: LogFolder
  #file: LogFile
  #regions: number
  /** Pages with a bit set; others have none. */
  readonly #pages = new Map<number, Buffer>()
  readonly #unsaved = new Set<number>()
  #saving: Promise<unknown> = Promise.resolve()
  #isNameSynced = true

  private constructor(folder: LogFolder, file: LogFile, regions: number) {
    this.#folder = folder
    this.#file = file
    this.#regions = regions
  }

  /** With room set aside for a volume of so many regions, which may be more than it had. */
  static async open(folder: LogFolder, regions: number): Promise<TouchedRegions> {
    const present = await folder.open(touchedName)
    const file = present ?? (await createFile(folder, fileBytes(regions)))
    const touched = new TouchedRegions(folder, file, regions)
    if (present === undefined) {
      await touched.#named()
      await touched.save()
      return touched
    }
    await touched.#load(present)
    await touched.grow(regions)
    return touched
  }

  /** Room is set aside for so many regions once it resolves; after `no-space` it is as it was. */
  grow(regions: number): Promise<void> {
    return this.#inTurn(async () => {
      if (fileBytes(regions) > this.#file.bytes) await this.#replace(await createFile(this.#folder, fileBytes(regions)))
      await this.#saveNow()
      this.#regions = Math.max(this.#regions, regions)
    })
  }

  async #replace(file: LogFile): Promise<void> {
    const before = this.#file
    this.#file = file
    for (const page of this.#pages.keys()) this.#unsaved.add(page)
    try {
      await this.#saveNow()
      await this.#named()
    } catch (error) {
      this.#file = before
      await file.close()
      throw error
    }
    await before.close()
  }

  /** Its name is durable with the next save. */
  #named(): Promise<void> {
    return orNoRoom(async () => {
      this.#folder.rename(replacingName, touchedName)
      this.#isNameSynced = false
    })
  }

  get isEmpty(): boolean {
    return this.#pages.size === 0
  }

  /** From `first` to `last`, both included. */
  add(first: number, last: number): void {
    for (let region = first; region <= Math.min(last, this.#regions - 1); region++) {
      const page = Math.floor(region / regionsOfPage)
      const bit = region - page * regionsOfPage
      let bits = this.#pages.get(page)
      if (bits === undefined) this.#pages.set(page, (bits = Buffer.alloc(bitsBytes)))
      bits[bit >>> 3] = (bits[bit >>> 3] as number) | (1 << (bit & 7))
      this.#unsaved.add(page)
    }
  }

  addAll(): void {
    this.add(0, this.#regions - 1)
  }

  remove(region: number): void {
    const page = Math.floor(region / regionsOfPage)
    const bits = this.#pages.get(page)
    if (bits === undefined) return
    const bit = region - page * regionsOfPage
    bits[bit >>> 3] = (bits[bit >>> 3] as number) & ~(1 << (bit & 7))
    this.#unsaved.add(page)
    if (bits.every((byte) => byte === 0)) this.#pages.delete(page)
  }

  /** From the region `from` on, at most `max` of them; `next` where there are more. */
  list(from: number, max: number): { readonly regions: number[]; readonly next?: number } {
    const regions: number[] = []
    for (const [page, bits] of [...this.#pages].sort(([one], [other]) => one - other)) {
      const start = page * regionsOfPage
      for (let bit = Math.max(0, from - start); bit < regionsOfPage; bit++) {
        const byte = bits[bit >>> 3] as number
        if (byte === 0) bit |= 7
        else if ((byte & (1 << (bit & 7))) !== 0) {
          if (regions.length === max) return { regions, next: start + bit }
          regions.push(start + bit)
        }
      }
    }
    return { regions }
  }

  /** What was added and removed before the call is durable once this resolves. After `no-space` the next call writes it, too. */
  save(): Promise<void> {
    return this.#inTurn(() => this.#saveNow())
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#saving.then(work)
    this.#saving = done.catch(() => undefined)
    return done
  }

  async #saveNow(): Promise<void> {
    const pages = [...this.#unsaved]
    this.#unsaved.clear()
    try {
      for (const page of pages) {
        const bits = this.#pages.get(page)
        writeWhole(this.#file, bits === undefined ? Buffer.alloc(pageBytes) : withChecksum(bits), page * pageBytes)
      }
      await orNoRoom(() => this.#file.sync())
      if (!this.#isNameSynced) await orNoRoom(() => this.#folder.syncNames())
      this.#isNameSynced = true
    } catch (error) {
      for (const page of pages) this.#unsaved.add(page)
      throw error
    }
  }

  async #load(file: LogFile): Promise<void> {
    const page = Buffer.alloc(pageBytes)
    for (let index = 0; index * pageBytes < file.bytes; index++) {
      for (let at = 0; at < pageBytes;) {
        const count = await file.read(page.subarray(at), index * pageBytes + at)
        assert(count > 0, 'a file has the bytes it was made with')
        at += count
      }
      if (page.every((byte) => byte === 0)) continue
      const bits = Buffer.from(page.subarray(checksumBytes))
      if (page.readUInt32BE(0) === crc32(bits)) this.#pages.set(index, bits)
      else this.add(index * regionsOfPage, (index + 1) * regionsOfPage - 1)
    }
  }

  async close(): Promise<void> {
    await this.#saving
    await this.#file.close()
  }
}

const fileBytes = (regions: number): number => Math.ceil(regions / regionsOfPage) * pageBytes

const createFile = (folder: LogFolder, bytes: number): Promise<LogFile> =>
  orNoRoom(async () => {
    await folder.remove(replacingName)
    const file = await folder.create(replacingName, bytes)
    for (let at = 0; at < bytes; at += pageBytes) writeWhole(file, Buffer.alloc(pageBytes), at)
    return file
  })

function withChecksum(bits: Buffer): Buffer {
  const page = Buffer.allocUnsafe(pageBytes)
  page.writeUInt32BE(crc32(bits), 0)
  bits.copy(page, checksumBytes)
  return page
}
