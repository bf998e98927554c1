import assert from 'node:assert/strict'
import type { VolumeDisk } from '../../../src/capture/volume/server/disk.ts'
import type { Answer, ExportRequest, NbdError } from '../../../src/nbd/export.ts'
import type { Seeded } from '../random.ts'

export const sectorBytes = 512
/** Sectors that are written again and again. */
const hotSectors = 40

/** What a user asked for, with the number that it must have in the log, and the moment at which he knew it done. */
export type VolumeOp = { readonly number: number } & (
  | {
      readonly kind: 'write'
      readonly at: number
      readonly data: Uint8Array
      readonly isForced: boolean
      answered?: number
    }
  | {
      readonly kind: 'zero' | 'trim'
      readonly at: number
      readonly bytes: number
      readonly isForced: boolean
      answered?: number
    }
  | { readonly kind: 'flush' }
  /** Without a label: by the server itself. */
  | { readonly kind: 'mark'; readonly label: string | undefined }
  | { readonly kind: 'resize'; readonly bytes: number }
)

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
type Changing = Extract<VolumeOp, { isForced: boolean }>

export interface VolumeUsersParts {
  readonly random: Seeded
  readonly bytes: number
  readonly requestBytesMax: number
  /** Microseconds of the machine's clock. */
  readonly now: () => number
  /** What the vault is known to have. */
  readonly shipped: () => number
  /** Everything up to this record is said to be durable. */
  readonly promised: (number: number) => void
  /** Of what a user finds to be wrong; it may be in the middle of the server's work. */
  readonly failed: (error: unknown) => void
}

/**
 * All users of one volume, and a model of it that knows nothing of logs and layers: the list of what was asked for, in its order. The
 * server comes and goes; what it has lost when it comes again was never promised.
 */
export class VolumeUsers {
  readonly bytes: number
  readonly #parts: VolumeUsersParts
  readonly #random: Seeded
  /** By their numbers, which are those that the log must give them. */
  ops: VolumeOp[] = []
  #server: VolumeDisk | undefined
  #life = 0
  #isFlushed = false
  #promised = 0
  #answered = 0
  inFlight = 0
  readsChecked = 0
  /** The volume with all that was asked for. */
  #current: Buffer
  readonly #sectors: { inFlight: number; version: number }[]

  constructor(parts: VolumeUsersParts) {
    this.#parts = parts
    this.#random = parts.random
    this.bytes = parts.bytes
    this.#current = Buffer.alloc(this.bytes)
    this.#sectors = Array.from({ length: this.bytes / sectorBytes }, () => ({ inFlight: 0, version: 0 }))
  }

  get last(): number {
    return this.ops.length
  }

  get isServed(): boolean {
    return this.#server !== undefined
  }

  /** A server begins, by so many marks of its own; what it serves is compared with what a disk may show after what came before. */
  begin(server: VolumeDisk, ownMarks = 0): void {
    this.#life++
    this.#server = server
    this.inFlight = 0
    this.#isFlushed = false
    for (const sector of this.#sectors) sector.inFlight = 0
    if (this.last === 0 && server.last > 0) this.#add({ kind: 'resize', bytes: this.bytes })
    const last = server.last - ownMarks
    const told = `the volume ends at ${last}`
    assert.ok(last >= this.#promised, `record ${this.#promised} was promised, and ${told}`)
    assert.ok(last >= this.#parts.shipped(), `the vault has record ${this.#parts.shipped()}, and ${told}`)
    assert.ok(last >= this.#answered, `record ${this.#answered} was answered, the power stayed, and ${told}`)
    assert.ok(last <= this.last, `nobody asked for more than ${this.last} records, and ${told}`)
    this.ops.length = last
    this.#current = this.stateAt(last)
    for (let mark = 0; mark < ownMarks; mark++) this.marked(undefined)
    server.take([this.#read(0, this.bytes)])
  }

  /** Nothing is heard of what was not answered by now. With the power goes what was not promised. */
  end(how: 'power' | 'kill'): void {
    this.#life++
    this.#server = undefined
    if (how === 'power') this.#answered = this.#promised
  }

  /** What one read of one connection brings. */
  ask(): void {
    const requests = Array.from({ length: this.#random.skewed(1, 6) }, () => this.#request())
    this.#server?.take(requests)
  }

  /** One write that nobody waits for. */
  write(): void {
    const data = Buffer.alloc(sectorBytes, this.#random.bytes(64))
    const answer = this.#changed({ kind: 'write', at: 0, data, isForced: false })
    this.#server?.take([{ kind: 'write', at: 0, bytes: sectorBytes, data, isForced: false, answer }])
  }

  flush(): void {
    this.#server?.take([{ kind: 'flush', answer: this.#flushed() }])
  }

  /** Tells of a mark that the server has been given. */
  marked(label: string | undefined): void {
    this.#add({ kind: 'mark', label })
  }

  /** The volume after a record, by the list alone. */
  stateAt(number: number): Buffer {
    for (const { state } of this.statesAt([number])) return state
    throw new Error('one state was asked for')
  }

  /** Of ascending numbers. Each is the buffer of the one before, changed. */
  *statesAt(numbers: Iterable<number>): Generator<{ readonly number: number; readonly state: Buffer }> {
    const state = Buffer.alloc(this.bytes)
    let at = 0
    for (const number of numbers) {
      for (; at < number; at++) put(state, this.ops[at] as VolumeOp)
      yield { number, state }
    }
  }

  expectState(found: Uint8Array, wanted: Buffer, told: string): void {
    if (wanted.equals(found)) return
    const at = wanted.findIndex((byte, index) => byte !== found[index])
    const touching = this.ops.filter((op) => 'at' in op && op.at <= at && at < op.at + sizeOf(op))
    const numbers = touching.slice(-5).map(({ number }) => number)
    assert.fail(`${told}, byte ${at} is not what it should be; records that wrote it last: ${numbers.join(' ')}`)
  }

  /** The volume as it is, where nothing is under way. */
  get current(): Buffer {
    return this.#current
  }

  #request(): ExportRequest {
    const chance = this.#random.fraction()
    if (chance < 0.12) return { kind: 'flush', answer: this.#flushed() }
    const { at, bytes } = this.#range(chance)
    if (chance < 0.3) return this.#read(at, bytes)
    const isForced = this.#random.chance(0.1)
    if (chance < 0.5) {
      const kind = chance < 0.4 ? 'trim' : 'zero'
      const changed = { at, bytes, isForced, answer: this.#changed({ kind, at, bytes, isForced }) }
      return kind === 'trim' ? { kind, ...changed } : { kind, mayMakeHole: true, ...changed }
    }
    const data = Buffer.alloc(bytes, this.#random.bytes(Math.min(bytes, 64)))
    return { kind: 'write', at, bytes, data, isForced, answer: this.#changed({ kind: 'write', at, data, isForced }) }
  }

  #range(chance: number): { readonly at: number; readonly bytes: number } {
    const random = this.#random
    const unit = random.chance(0.1) ? 1 : sectorBytes
    const isLong = chance >= 0.3 && chance < 0.5 && random.chance(0.1)
    const bytes =
      random.skewed(1, (isLong ? this.bytes : Math.min(this.bytes, this.#parts.requestBytesMax)) / unit) * unit
    const at = random.chance(0.4)
      ? random.integer(0, hotSectors) * sectorBytes
      : random.integer(0, (this.bytes - bytes) / unit) * unit
    return { at: Math.min(at, this.bytes - bytes), bytes }
  }

  #add(op: DistributiveOmit<VolumeOp, 'number'>): number {
    this.ops.push({ ...op, number: this.last + 1 } as VolumeOp)
    this.#isFlushed = op.kind === 'flush'
    return this.last
  }

  /** A flush behind a flush is none. */
  #flushed(): Answer {
    const number = this.#isFlushed ? this.last : this.#add({ kind: 'flush' })
    return this.#answer(() => this.#promise(number))
  }

  #promise(number: number): void {
    this.#promised = Math.max(this.#promised, number)
    this.#parts.promised(number)
  }

  #changed(change: DistributiveOmit<Changing, 'number'>): Answer {
    const number = this.#add(change)
    const op = this.ops[number - 1] as Changing
    put(this.#current, op)
    const sectors = this.#sectorsOf(op.at, sizeOf(op))
    for (const sector of sectors) {
      sector.inFlight++
      sector.version++
    }
    return this.#answer(() => {
      for (const sector of sectors) sector.inFlight--
      op.answered = this.#parts.now()
      this.#answered = Math.max(this.#answered, number)
      if (op.isForced) this.#promise(number)
    })
  }

  #sectorsOf(at: number, bytes: number) {
    return this.#sectors.slice(Math.floor(at / sectorBytes), Math.ceil((at + bytes) / sectorBytes))
  }

  /** Judges what did not change while it was read. */
  #read(at: number, bytes: number): ExportRequest {
    const into = Buffer.alloc(bytes, 0xee)
    const wanted = Buffer.from(this.#current.subarray(at, at + bytes))
    const sectors = this.#sectorsOf(at, bytes)
    const versions = sectors.map(({ inFlight, version }) => (inFlight > 0 ? -1 : version))
    const first = Math.floor(at / sectorBytes) * sectorBytes
    const answer = this.#answer(() => {
      for (const [index, version] of versions.entries()) {
        if (version !== sectors[index]!.version) continue
        const start = Math.max(0, first + index * sectorBytes - at)
        const end = Math.min(bytes, first + (index + 1) * sectorBytes - at)
        this.readsChecked++
        const isSame = into.subarray(start, end).equals(wanted.subarray(start, end))
        assert.ok(isSame, `a read of byte ${at + start} is not what was written`)
      }
    })
    return { kind: 'read', at, bytes, into, answer }
  }

  #answer(done: () => void): Answer {
    const life = this.#life
    let isAnswered = false
    const once = (then: () => void): void => {
      if (life !== this.#life) return
      try {
        assert.ok(!isAnswered, 'a request is answered once')
        isAnswered = true
        this.inFlight--
        then()
      } catch (error) {
        this.#parts.failed(error)
      }
    }
    this.inFlight++
    return { done: () => once(done), failed: (error: NbdError) => once(() => this.#refused(error)) }
  }

  #refused(error: NbdError): never {
    const problems = this.#server?.problems.map(({ message }) => message).join('; ')
    assert.fail(`a request was answered by ${error}: ${problems}`)
  }
}

const sizeOf = (op: VolumeOp): number => (op.kind === 'write' ? op.data.length : 'bytes' in op ? op.bytes : 0)

export function put(image: Buffer, op: VolumeOp): void {
  if (op.kind === 'write') image.set(op.data, op.at)
  else if (op.kind === 'zero' || op.kind === 'trim') image.fill(0, op.at, op.at + op.bytes)
}
