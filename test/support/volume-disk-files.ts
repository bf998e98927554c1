import type { Clock } from '../../src/base/clock.ts'
import type { VolumeLogFolder } from '../../src/format/volume-log-reader.ts'
import type { ApplyStep, Backing, LogFile, LogFolder, VolumeFiles } from '../../src/capture/volume/server/files.ts'
import type { Seeded } from '../sim/random.ts'

const sectorBytes = 512

/** The program that had the disk open is gone: what it asks for does not happen. */
export class Gone extends Error {
  override readonly name = 'Gone'
}

/** Bytes as the programs see them, and those that a power cut cannot take any more. */
class SimulatedFile {
  bytes: Buffer
  durable: Buffer
  /** Sectors that differ, or may. */
  readonly unsynced = new Set<number>()

  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes)
    this.durable = Buffer.from(bytes)
  }

  /** Durably, and with what is there already. */
  grow(bytes: number): void {
    for (const which of ['bytes', 'durable'] as const) {
      const before = this[which]
      this[which] = Buffer.alloc(bytes)
      this[which].set(before)
    }
  }

  put(data: Uint8Array, at: number): void {
    this.bytes.set(data, at)
    this.#changed(at, data.length)
  }

  zero(at: number, length: number): void {
    this.bytes.fill(0, at, at + length)
    this.#changed(at, length)
  }

  #changed(at: number, length: number): void {
    for (let sector = Math.floor(at / sectorBytes); sector * sectorBytes < at + length; sector++)
      this.unsynced.add(sector)
  }

  /** Makes durable what these sectors held when they were noted. */
  settle(noted: ReadonlyMap<number, Buffer>): void {
    for (const [sector, content] of noted) {
      content.copy(this.durable, sector * sectorBytes)
      if (this.bytes.subarray(sector * sectorBytes, (sector + 1) * sectorBytes).equals(content))
        this.unsynced.delete(sector)
    }
  }

  note(): Map<number, Buffer> {
    const noted = new Map<number, Buffer>()
    for (const sector of this.unsynced) {
      noted.set(sector, Buffer.from(this.bytes.subarray(sector * sectorBytes, (sector + 1) * sectorBytes)))
    }
    return noted
  }

  /** Of what was not synced each sector may have reached the disk, or not; never in part, which disks promise. */
  powerCut(random: Seeded): void {
    const fate = random.fraction()
    for (const sector of this.unsynced) {
      const at = sector * sectorBytes
      const now = this.bytes.subarray(at, at + sectorBytes)
      const chance = random.fraction()
      if (fate < 0.3 || (fate < 0.8 && chance < 0.5)) continue
      now.copy(this.durable, at)
    }
    this.unsynced.clear()
    this.bytes = Buffer.from(this.durable)
  }
}

export interface SimulatedDiskParts {
  readonly random: Seeded
  readonly backingBytes: number
  readonly logCapacity: number
  /** What an operation takes: a few turns of the loop where nothing is said. */
  readonly rest?: () => Promise<void>
}

/** The disks under a volume server: they outlive it. A power cut or a kill comes in the middle of any operation. */
export class SimulatedVolumeDisk {
  readonly #random: Seeded
  readonly #rest: () => Promise<void>
  readonly backing: SimulatedFile
  #names = new Map<string, SimulatedFile>()
  /** What the folder holds after a power cut, and the changes that may be in it too, in their order. */
  #durableNames = new Map<string, SimulatedFile>()
  #nameChanges: ((names: Map<string, SimulatedFile>) => void)[] = []
  logCapacity: number
  operations = 0
  #session = 0
  #end: { readonly at: number; readonly how: 'power' | 'kill' } | undefined
  /** Told when the program ends. */
  ended: (how: 'power' | 'kill') => void = () => {}
  /** The next syncs fail, for ever. */
  syncFails = false
  /** Called at each step of a sync of the log and of each apply, for what tests want to know. */
  applied: (step: ApplyStep, data: Buffer) => void = () => {}

  constructor({ random, backingBytes, logCapacity, rest }: SimulatedDiskParts) {
    this.#random = random
    this.#rest = rest ?? (() => this.#turns())
    this.backing = new SimulatedFile(Buffer.alloc(backingBytes))
    this.logCapacity = logCapacity
  }

  get logBytes(): number {
    return [...this.#names.values()].reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  names(): string[] {
    return [...this.#names.keys()].sort()
  }

  content(name: string): Buffer | undefined {
    return this.#names.get(name)?.bytes
  }

  /** Someone changes a bit of what is on the disk. */
  flip(name: string, at: number, bit: number): void {
    const file = this.#names.get(name)!
    for (const bytes of [file.bytes, file.durable]) bytes[at]! ^= 1 << bit
  }

  endAfter(operations: number, how: 'power' | 'kill'): void {
    this.#end = { at: this.operations + operations, how }
  }

  end(how: 'power' | 'kill'): void {
    this.#end = undefined
    this.#session++
    if (how === 'power') {
      for (const file of new Set([...this.#names.values(), ...this.#durableNames.values(), this.backing]))
        file.powerCut(this.#random)
      const kept = this.#random.integer(0, this.#nameChanges.length)
      for (const change of this.#nameChanges.slice(0, kept)) change(this.#durableNames)
      this.#names = new Map(this.#durableNames)
      this.#nameChanges = []
    }
    this.ended(how)
  }

  /** Whether the program may go on; the one operation that is interrupted may happen or not. */
  #step(session: number, work: () => void): void {
    if (session !== this.#session) throw new Gone('the program has ended')
    this.operations++
    if (this.#end && this.operations > this.#end.at) {
      if (this.#random.chance(0.5)) work()
      this.end(this.#end.how)
      throw new Gone('the program has ended')
    }
    work()
  }

  files(): VolumeFiles {
    const session = ++this.#session
    const now = <T>(work: () => T): T => {
      let result: { readonly value: T } | undefined
      this.#step(session, () => (result = { value: work() }))
      return result!.value
    }
    /** Of programs that are gone nothing is heard. */
    const later = async <T>(work: () => T): Promise<T> => {
      await this.#rest()
      try {
        return now(work)
      } catch (error) {
        if (error instanceof Gone) return await new Promise<never>(() => {})
        throw error
      }
    }
    const syncFile = async (file: SimulatedFile): Promise<void> => {
      if (this.syncFails) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      // What is written while it runs may not be in it.
      const noted = await later(() => file.note())
      await later(() => file.settle(noted))
    }
    return { log: this.#folder(now, later, syncFile), backing: this.#backing(now, later, syncFile) }
  }

  /** As another process on the machine sees the log. */
  logForReaders(): VolumeLogFolder {
    return {
      names: async () => this.names(),
      open: async (name) => {
        const file = this.#names.get(name)
        if (file === undefined) return undefined
        return { read: async (into, at) => file.bytes.copy(into, 0, at), close: async () => {} }
      },
    }
  }

  #folder(now: Now, later: Later, sync: (file: SimulatedFile) => Promise<void>): LogFolder {
    const open = (file: SimulatedFile): LogFile => ({
      bytes: file.bytes.length,
      read: (into, at) =>
        later(() => file.bytes.copy(into, 0, at, Math.min(file.bytes.length, at + this.#short(into.length)))),
      readNow: (into, at) => now(() => this.#random.chance(0.7) && file.bytes.copy(into, 0, at) === into.length),
      write: (parts, at) =>
        now(() => {
          const data = Buffer.concat(parts)
          file.put(data.subarray(0, Math.max(0, file.bytes.length - at)), at)
          return Math.min(data.length, file.bytes.length - at)
        }),
      sync: () => sync(file),
      close: () => later(() => {}),
    })
    const change = (what: (names: Map<string, SimulatedFile>) => void): void => {
      what(this.#names)
      this.#nameChanges.push(what)
    }
    return {
      names: () => later(() => this.names()),
      open: (name) =>
        later(() => {
          const file = this.#names.get(name)
          return file && open(file)
        }),
      create: (name, bytes) =>
        later(() => {
          if (this.logBytes + bytes > this.logCapacity) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
          const file = new SimulatedFile(Buffer.from(this.#random.bytes(bytes)))
          change((names) => names.set(name, file))
          return open(file)
        }),
      rename: (from, to) =>
        now(() => {
          const file = this.#names.get(from)
          if (file === undefined) throw Object.assign(new Error(`ENOENT: ${from}`), { code: 'ENOENT' })
          change((names) => {
            names.delete(from)
            names.set(to, file)
          })
        }),
      remove: (name) => later(() => change((names) => names.delete(name))),
      syncNames: async () => {
        const count = await later(() => this.#nameChanges.length)
        await later(() => {
          for (const made of this.#nameChanges.splice(0, count)) made(this.#durableNames)
        })
      },
    }
  }

  #backing(now: Now, later: Later, sync: (file: SimulatedFile) => Promise<void>): Backing {
    const file = this.backing
    return {
      bytes: file.bytes.length,
      read: (into, at) => later(() => void file.bytes.copy(into, 0, at)),
      readNow: (into, at) => now(() => this.#random.chance(0.7) && file.bytes.copy(into, 0, at) === into.length),
      apply: async (steps) => {
        for (const step of steps) {
          if (step.kind === 'zero') await later(() => file.zero(step.at, step.bytes))
          else {
            const data = Buffer.alloc(step.bytes)
            for (let filled = 0; filled < data.length;) {
              filled += await step.from.read(data.subarray(filled), step.position + filled)
            }
            await later(() => {
              this.applied(step, data)
              file.put(data, step.at)
            })
          }
        }
      },
      sync: () => sync(file),
      dataRanges: (at, bytes) => [{ at, bytes }],
    }
  }

  async #turns(): Promise<void> {
    for (let turns = this.#random.integer(0, 3); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve))
  }

  #short(length: number): number {
    return this.#random.chance(0.05) ? this.#random.integer(1, length) : length
  }
}

type Now = <T>(work: () => T) => T
type Later = <T>(work: () => T) => Promise<T>

/** Time that passes in turns of the event loop: nothing waits for long, and anything may come before anything. */
export class HastyClock implements Clock {
  readonly #random: Seeded
  #ms = 1000

  constructor(random: Seeded) {
    this.#random = random
  }

  now(): number {
    return 1_800_000_000_000_000 + Math.round(this.#ms++ * 1000)
  }

  monotonicMs(): number {
    return this.#ms
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    for (let turns = this.#random.integer(1, 10); turns > 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
    }
    this.#ms += ms
  }
}
