import { TidemarkError } from '../../src/base/errors.ts'
import type { GrowingFile, Store, StoredFile, StoreName } from '../../src/store/store.ts'
import { type Life, never, type SimulatedTime } from './clock.ts'
import type { Seeded } from './random.ts'
import type { Trace } from './trace.ts'

/** How long the disk takes, in milliseconds; each is a least and a most. */
export interface Speed {
  readonly accessMs: readonly [number, number]
  readonly syncMs: readonly [number, number]
}

export const quick: Speed = { accessMs: [0, 0.3], syncMs: [0.5, 6] }
export const slow: Speed = { accessMs: [1, 60], syncMs: [100, 3000] }

interface DiskFile {
  /** As programs see it. */
  bytes: Buffer
  length: number
  /** What of it a power cut does not touch. */
  synced: number
  nameSynced: boolean
  /** Under `replace`, `truncate` or `remove`, until it is told that it is done: what a power cut may bring back. */
  before?: { readonly bytes: Buffer } | undefined
  removed: boolean
}

/**
 * A disk that outlives the programs on it. It promises what src/store/store.ts promises and not a byte more: after a
 * power cut, what was not synced is there, in part there, garbage, or gone.
 */
export class SimulatedDisk {
  readonly name: string
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #files = new Map<StoreName, DiskFile>()
  speed: Speed = quick
  capacityBytes = 1e9
  /** Names of files in which a bit was flipped. */
  readonly flipped = new Set<StoreName>()

  constructor(name: string, time: SimulatedTime, random: Seeded, trace: Trace) {
    this.name = name
    this.#time = time
    this.#random = random
    this.#trace = trace
  }

  get usedBytes(): number {
    let used = 0
    for (const { length } of this.#files.values()) used += length
    return used
  }

  fileNames(): StoreName[] {
    return [...this.#files.keys()].sort()
  }

  /** The disk as one program sees it, for as long as that lives. */
  store(life: Life): Store {
    /** Does `work` at some moment between the call and the answer; a killed program's calls do nothing any more. */
    const during = <T>(range: readonly [number, number], work: () => T, done?: () => void): Promise<T> =>
      this.#during(life, range, work, done)
    const access = <T>(work: () => T): Promise<T> => during(this.speed.accessMs, work)
    const durably = <T>(work: () => T, done: () => void): Promise<T> => during(this.speed.syncMs, work, done)
    return {
      create: (name) =>
        access(() => {
          if (this.#files.has(name)) throw new TidemarkError('already-exists', { message: `${name} is there already` })
          const file: DiskFile = { bytes: Buffer.alloc(0), length: 0, synced: 0, nameSynced: false, removed: false }
          this.#files.set(name, file)
          return this.#growing(name, file, during)
        }),
      extend: (name) => access(() => this.#growing(name, this.#file(name), during)),
      read: (name, at, bytes) =>
        access(() => {
          const file = this.#file(name)
          return Buffer.from(file.bytes.subarray(at, Math.min(at + bytes, file.length)))
        }),
      size: (name) => access(() => this.#file(name).length),
      list: (folder) => access(() => this.#list(folder)),
      truncate: (name, bytes) => {
        let file: DiskFile | undefined
        return durably(
          () => {
            file = this.#file(name)
            file.before ??= { bytes: present(file) }
            file.length = Math.min(bytes, file.length)
            file.synced = Math.min(file.synced, file.length)
          },
          () => {
            file!.before = undefined
            file!.synced = file!.length
          },
        )
      },
      replace: (name, bytes) => {
        let file: DiskFile | undefined
        return durably(
          () => {
            this.#needRoom(bytes.length, name)
            const old = this.#files.get(name)
            file = { bytes: Buffer.from(bytes), length: bytes.length, synced: 0, nameSynced: false, removed: false }
            if (old !== undefined) file.before = old.before ?? { bytes: present(old) }
            this.#files.set(name, file)
          },
          () => {
            file!.before = undefined
            file!.nameSynced = true
            file!.synced = file!.length
          },
        )
      },
      remove: (name) => {
        let file: DiskFile | undefined
        return durably(
          () => {
            file = this.#files.get(name)
            if (file === undefined) return
            file.before ??= { bytes: present(file) }
            file.removed = true
            this.#files.delete(name)
            this.#removing.set(name, file)
          },
          () => {
            if (this.#removing.get(name) === file) this.#removing.delete(name)
          },
        )
      },
      free: () => access(() => Math.max(0, this.capacityBytes - this.usedBytes)),
      capacity: () => access(() => this.capacityBytes),
    }
  }

  /** Removed, and not told yet that they are durably gone. */
  readonly #removing = new Map<StoreName, DiskFile>()

  /** The power goes; programs must have been killed before. */
  cutPower(): void {
    const random = this.#random
    for (const [name, file] of this.#removing) {
      if (file.nameSynced && !this.#files.has(name) && random.chance(0.5))
        this.#files.set(name, { ...file, removed: false })
    }
    this.#removing.clear()
    for (const [name, file] of [...this.#files]) {
      if (file.before !== undefined && random.chance(0.5)) {
        file.bytes = file.before.bytes
        file.length = file.synced = file.bytes.length
        file.before = undefined
        continue
      }
      if (file.before !== undefined) {
        // A replacement is the old or the new, whole.
        file.before = undefined
        file.synced = file.length
        file.nameSynced = true
        continue
      }
      if (!file.nameSynced && random.chance(0.5)) {
        this.#files.delete(name)
        continue
      }
      this.#tear(name, file)
      file.nameSynced = true
      file.synced = file.length
    }
    this.#trace.add(this.name, 'power cut')
  }

  /** Of what was appended and not synced some is there, up to some length, and parts of that may be garbage. */
  #tear(name: StoreName, file: DiskFile): void {
    const random = this.#random
    if (file.synced === file.length) return
    const kept = random.chance(0.2) ? file.length : random.integer(file.synced, file.length)
    this.#trace.add(this.name, `${name}: ${file.length - kept} of ${file.length - file.synced} unsynced bytes lost`)
    file.length = kept
    if (file.length === file.synced || random.chance(0.6)) return
    const start = random.integer(file.synced, file.length - 1)
    const end = random.integer(start + 1, file.length)
    if (random.chance(0.5)) file.bytes.fill(0, start, end)
    else file.bytes.set(random.bytes(end - start), start)
  }

  /** A bit of a file changes by itself; undefined where the disk holds nothing of the kind. */
  flipBit(fits: (name: StoreName) => boolean): StoreName | undefined {
    const names = this.fileNames().filter((name) => fits(name) && this.#files.get(name)!.length > 0)
    if (names.length === 0) return undefined
    const name = this.#random.pick(names)
    const file = this.#files.get(name)!
    const at = this.#random.integer(0, file.length - 1)
    file.bytes[at] = file.bytes[at]! ^ (1 << this.#random.integer(0, 7))
    this.flipped.add(name)
    this.#trace.add(this.name, `bit flipped in ${name} at byte ${at} of ${file.length}`)
    return name
  }

  #file(name: StoreName): DiskFile {
    const file = this.#files.get(name)
    if (file === undefined) throw new TidemarkError('not-found', { message: `there is no ${name}` })
    return file
  }

  #list(folder: string): StoredFile[] {
    const prefix = folder === '' ? '' : `${folder}/`
    return this.fileNames()
      .filter((name) => name.startsWith(prefix))
      .map((name) => ({ name, bytes: this.#files.get(name)!.length }))
  }

  #needRoom(bytes: number, name: StoreName): void {
    if (this.usedBytes + bytes > this.capacityBytes) {
      throw new TidemarkError('vault-full', { message: `no room for ${bytes} bytes of ${name}` })
    }
  }

  #growing(name: StoreName, file: DiskFile, during: During): GrowingFile {
    let told = file.length
    let last: Promise<unknown> = Promise.resolve()
    const inOrder = (work: () => Promise<void>): Promise<void> => {
      const done = last.then(work)
      last = done.catch(() => undefined)
      return done
    }
    return {
      name,
      get bytes() {
        return told
      },
      append: (parts) => {
        told += parts.reduce((sum, part) => sum + part.length, 0)
        return inOrder(() => during(this.speed.accessMs, () => this.#append(name, file, Buffer.concat(parts))))
      },
      sync: () =>
        inOrder(() => {
          let length = 0
          return during(
            this.speed.syncMs,
            () => (length = file.length) as never,
            () => {
              file.synced = Math.max(file.synced, Math.min(length, file.length))
              file.nameSynced = true
            },
          )
        }),
      [Symbol.asyncDispose]: async () => void (await last),
    }
  }

  /** A disk that runs full takes what still fits. */
  #append(name: StoreName, file: DiskFile, bytes: Buffer): void {
    const room = Math.max(0, this.capacityBytes - this.usedBytes)
    const taken = file.removed ? bytes.length : Math.min(bytes.length, room)
    if (file.length + taken > file.bytes.length) {
      const grown = Buffer.alloc(Math.max(file.length + taken, file.bytes.length * 2))
      file.bytes.copy(grown, 0, 0, file.length)
      file.bytes = grown
    }
    bytes.copy(file.bytes, file.length, 0, taken)
    file.length += taken
    if (taken < bytes.length)
      throw new TidemarkError('vault-full', { message: `no room for ${bytes.length} bytes of ${name}` })
  }

  async #during<T>(life: Life, [least, most]: readonly [number, number], work: () => T, done?: () => void): Promise<T> {
    const takesMs = least + this.#random.fraction() * (most - least)
    const beforeMs = done === undefined && takesMs < 1 ? 0 : takesMs * this.#random.fraction()
    if (beforeMs > 0) await this.#time.sleep(beforeMs)
    if (!life.alive) return never()
    const result = work()
    await this.#time.sleep(takesMs - beforeMs)
    // What the power cut found unfinished stays so.
    if (!life.alive) return never()
    done?.()
    return result
  }
}

type During = <T>(range: readonly [number, number], work: () => T, done?: () => void) => Promise<T>

const present = (file: DiskFile): Buffer => Buffer.from(file.bytes.subarray(0, file.length))
