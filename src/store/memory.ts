import { TidemarkError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import { checkName, type GrowingFile, type Store, type StoredFile, type StoreName } from './store.ts'

export interface MemoryDiskParts {
  /** Decides what a power cut leaves of bytes that were not synced. */
  readonly random: Random
  readonly capacityBytes?: number
  /** How long an operation takes; without it, as long as a turn of the event loop. */
  readonly latency?: { readonly clock: Clock; readonly ms: () => number }
}

interface DiskFile {
  bytes: Buffer
  length: number
  /** Bytes from the start that survive a power cut. */
  durable: number
  /** Whether its existence does. */
  named: boolean
}

const sectorBytes = 512
const endless = 2 ** 50

/**
 * A simulated disk. It outlives the programs that work on it: each opens it with `store()`. After a `powerCut` or `kill`
 * the operations of programs that had it open never end, as if the programs were gone, and the next one finds what such
 * an end leaves: of bytes not synced some, all or none, with sectors in between torn; of names not synced some.
 */
export class MemoryDisk {
  readonly #random: Random
  readonly #latency: MemoryDiskParts['latency']
  readonly #files = new Map<StoreName, DiskFile>()
  capacityBytes: number
  /** Operations begun since the disk was made. */
  operations = 0
  #session = 0
  #cut: { readonly at: number; readonly how: 'power' | 'process'; readonly ended: () => void } | undefined

  constructor({ random, capacityBytes = endless, latency }: MemoryDiskParts) {
    this.#random = random
    this.#latency = latency
    this.capacityBytes = capacityBytes
  }

  /** Opens the disk for the one program that works on it from now on. */
  store(): Store {
    const session = ++this.#session
    const run = <T>(work: () => T): Promise<T> => this.#operation(session, work)
    return new MemoryStore(this, run)
  }

  /** All programs end, and what was not synced is at the mercy of the disk. */
  powerCut(): void {
    this.#session++
    for (const [name, file] of this.#files) {
      if (!file.named && this.#random.fraction() < 0.5) this.#files.delete(name)
      else this.#tear(file)
    }
  }

  /** All programs end; what they wrote is still in the memory of the system, synced or not. */
  kill(): void {
    this.#session++
  }

  /** Ends all programs in the middle of the operation that comes after `operations` more; then calls `ended`. */
  endAfter(operations: number, how: 'power' | 'process', ended: () => void): void {
    this.#cut = { at: this.operations + operations, how, ended }
  }

  async #operation<T>(session: number, work: () => T): Promise<T> {
    this.operations++
    if (session !== this.#session) return never()
    if (this.#latency) await this.#latency.clock.sleep(this.#latency.ms())
    else await undefined
    if (session !== this.#session) return never()
    if (this.#cut && this.operations > this.#cut.at) {
      const { how, ended } = this.#cut
      this.#cut = undefined
      if (this.#random.fraction() < 0.5) work()
      if (how === 'power') this.powerCut()
      else this.kill()
      ended()
      return never()
    }
    return work()
  }

  #tear(file: DiskFile): void {
    file.named = true
    const fate = this.#random.fraction()
    if (fate < 0.3) file.length = file.durable
    else if (fate < 0.8) {
      // The length may be on the disk before the bytes are.
      const left = fate < 0.65 ? this.#random.fraction() : 1
      file.length = file.durable + Math.floor(left * (file.length - file.durable + (left < 1 ? 1 : 0)))
      for (let at = file.durable; at < file.length; at += sectorBytes - (at % sectorBytes)) {
        const end = Math.min(file.length, at + sectorBytes - (at % sectorBytes))
        const sector = this.#random.fraction()
        if (sector < 0.1) file.bytes.fill(0, at, end)
        else if (sector < 0.15) file.bytes.set(this.#random.bytes(end - at), at)
      }
    }
    file.durable = file.length
  }

  get usedBytes(): number {
    return [...this.#files.values()].reduce((sum, { length }) => sum + length, 0)
  }

  get names(): StoreName[] {
    return [...this.#files.keys()].sort()
  }

  file(name: StoreName): DiskFile {
    const file = this.#files.get(name)
    if (!file) throw new TidemarkError('not-found', { message: `there is no ${name}` })
    return file
  }

  has(name: StoreName): boolean {
    return this.#files.has(name)
  }

  put(name: StoreName, file: DiskFile): void {
    this.#files.set(name, file)
  }

  delete(name: StoreName): void {
    this.#files.delete(name)
  }

  contents(name: StoreName): Buffer {
    const { bytes, length } = this.file(name)
    return Buffer.from(bytes.subarray(0, length))
  }

  /** Makes a file hold these bytes, as someone else who meddles with the disk would. */
  overwrite(name: StoreName, bytes: Uint8Array): void {
    this.put(name, { bytes: Buffer.from(bytes), length: bytes.length, durable: bytes.length, named: true })
  }

  /** Grows the file as far as there is room; what fits is there even if not all does. */
  grow(name: StoreName, file: DiskFile, parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      const fits = Math.min(part.length, Math.max(0, this.capacityBytes - this.usedBytes))
      if (file.bytes.length < file.length + fits) {
        const larger = Buffer.alloc(Math.max(file.length + fits, file.bytes.length * 2, 1024))
        file.bytes.copy(larger, 0, 0, file.length)
        file.bytes = larger
      }
      file.bytes.set(part.subarray(0, fits), file.length)
      file.length += fits
      if (fits < part.length) throw full(name)
    }
  }
}

class MemoryStore implements Store {
  readonly #disk: MemoryDisk
  readonly #run: <T>(work: () => T) => Promise<T>

  constructor(disk: MemoryDisk, run: <T>(work: () => T) => Promise<T>) {
    this.#disk = disk
    this.#run = run
  }

  create(name: StoreName): Promise<GrowingFile> {
    checkName(name)
    return this.#run(() => {
      if (this.#disk.has(name)) {
        throw new TidemarkError('already-exists', { message: `${name} is there already` })
      }
      const file = { bytes: Buffer.alloc(0), length: 0, durable: 0, named: false }
      this.#disk.put(name, file)
      return new MemoryFile(this.#disk, name, file, this.#run)
    })
  }

  extend(name: StoreName): Promise<GrowingFile> {
    checkName(name)
    return this.#run(() => new MemoryFile(this.#disk, name, this.#disk.file(name), this.#run))
  }

  read(name: StoreName, at: number, bytes: number): Promise<Buffer> {
    checkName(name)
    return this.#run(() => {
      const file = this.#disk.file(name)
      return Buffer.from(file.bytes.subarray(Math.min(at, file.length), Math.min(at + bytes, file.length)))
    })
  }

  size(name: StoreName): Promise<number> {
    checkName(name)
    return this.#run(() => this.#disk.file(name).length)
  }

  list(folder: string): Promise<StoredFile[]> {
    if (folder !== '') checkName(folder)
    return this.#run(() =>
      this.#disk.names
        .filter((name) => folder === '' || name.startsWith(`${folder}/`))
        .map((name) => ({ name, bytes: this.#disk.file(name).length })),
    )
  }

  truncate(name: StoreName, bytes: number): Promise<void> {
    checkName(name)
    return this.#run(() => {
      const file = this.#disk.file(name)
      file.length = Math.min(file.length, bytes)
      file.durable = file.length
    })
  }

  replace(name: StoreName, bytes: Uint8Array): Promise<void> {
    checkName(name)
    const kept = Buffer.from(bytes)
    return this.#run(() => {
      if (this.#disk.usedBytes + kept.length > this.#disk.capacityBytes) throw full(name)
      this.#disk.overwrite(name, kept)
    })
  }

  remove(name: StoreName): Promise<void> {
    checkName(name)
    return this.#run(() => this.#disk.delete(name))
  }

  free(): Promise<number> {
    return this.#run(() => Math.max(0, this.#disk.capacityBytes - this.#disk.usedBytes))
  }

  capacity(): Promise<number> {
    return this.#run(() => this.#disk.capacityBytes)
  }
}

class MemoryFile implements GrowingFile {
  readonly name: StoreName
  readonly #disk: MemoryDisk
  readonly #file: DiskFile
  readonly #run: <T>(work: () => T) => Promise<T>
  #bytes: number
  #last: Promise<unknown> = Promise.resolve()

  constructor(disk: MemoryDisk, name: StoreName, file: DiskFile, run: <T>(work: () => T) => Promise<T>) {
    this.name = name
    this.#disk = disk
    this.#file = file
    this.#run = run
    this.#bytes = file.length
  }

  get bytes(): number {
    return this.#bytes
  }

  append(parts: readonly Uint8Array[]): Promise<void> {
    this.#bytes += parts.reduce((sum, part) => sum + part.length, 0)
    return this.#next(() => this.#disk.grow(this.name, this.#file, parts))
  }

  sync(): Promise<void> {
    return this.#next(() => {
      this.#file.durable = this.#file.length
      this.#file.named = true
    })
  }

  #next(work: () => void): Promise<void> {
    const done = this.#last.then(() => this.#run(work))
    this.#last = done.catch(() => undefined)
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last
  }
}

const never = (): Promise<never> => new Promise(() => {})

const full = (name: StoreName): TidemarkError =>
  new TidemarkError('vault-full', { message: `no room for ${name}`, hint: 'Make room; work goes on by itself.' })
