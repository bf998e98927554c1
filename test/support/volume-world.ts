import assert from 'node:assert/strict'
import type { RecordNumber, VolumeRecord } from '../../src/format/volume-log.ts'
import { LogGone, VolumeLogReader } from '../../src/format/volume-log-reader.ts'
import { VolumeDisk } from '../../src/capture/volume/server/disk.ts'
import type { VolumeFiles } from '../../src/capture/volume/server/files.ts'
import { regionBytes } from '../../src/capture/volume/server/regions.ts'
import type { Id, VolumeSettings } from '../../src/model/source.ts'
import type { Answer, ExportRequest, NbdError } from '../../src/nbd/export.ts'
import type { Seeded } from '../sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from './volume-disk-files.ts'

const volume = '00112233445566778899aabbccddeeff' as Id
const sectorBytes = 512
const segmentBytes = 256 * 1024

/** What a user asked for, with the number that it must have in the log. */
type Op = { readonly number: number } & (
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array }
  | { readonly kind: 'zero' | 'trim'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly label: string }
  | { readonly kind: 'resize'; readonly bytes: number }
)

export interface WorldSettings {
  readonly random: Seeded
  readonly backingBytes?: number
  readonly logBytesMax?: number
  readonly logCapacity?: number
  readonly zeroLoss?: VolumeSettings['zeroLoss']
  /** A wrapper that breaks a promise of the disk, to see that it is noticed. */
  readonly planted?: (files: VolumeFiles) => VolumeFiles
}

/**
 * A volume server on simulated disks, its users and a vault, and a model of it all that knows nothing of logs and layers: the list of what
 * was asked for, in its order.
 */
export class VolumeWorld {
  readonly random: Seeded
  readonly disk: SimulatedVolumeDisk
  readonly #settings: WorldSettings
  readonly bytes: number
  server: VolumeDisk | undefined
  #life = 0
  #hasEnded = false
  /** By their numbers, which are those that the log must give them. */
  ops: Op[] = []
  #isFlushed = false
  /** What has been promised to be durable. */
  promised = 0
  inFlight = 0
  /** The volume with all that was asked for. */
  #current: Buffer
  readonly #sectors: { inFlight: number; version: number }[]
  /** The vault's copy, exactly as of `number`. */
  readonly #vault: { image: Buffer; number: number; epoch: number; reader: VolumeLogReader | undefined }
  gaps = 0
  readsChecked = 0
  recordsShipped = 0

  constructor(settings: WorldSettings) {
    this.#settings = settings
    this.random = settings.random
    this.bytes = settings.backingBytes ?? 1024 * 1024
    this.disk = new SimulatedVolumeDisk({
      random: this.random.fork('disk'),
      backingBytes: this.bytes,
      logCapacity: settings.logCapacity ?? 64 * 1024 ** 2,
    })
    this.disk.ended = () => (this.#hasEnded = true)
    this.#current = Buffer.alloc(this.bytes)
    this.#sectors = Array.from({ length: this.bytes / sectorBytes }, () => ({ inFlight: 0, version: 0 }))
    this.#vault = { image: Buffer.alloc(this.bytes), number: 0, epoch: 0, reader: undefined }
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Starts the server, and compares what it serves with what a disk may show after what came before. Undefined: it was ended meanwhile. */
  async open(): Promise<VolumeDisk | undefined> {
    const life = ++this.#life
    this.#hasEnded = false
    const { planted = (files) => files, logBytesMax = 8 * segmentBytes, zeroLoss } = this.#settings
    const random = this.random
    const opening = VolumeDisk.open({
      files: planted(this.disk.files()),
      clock: new HastyClock(random.fork(`clock${life}`)),
      random: random.fork(`salt${life}`),
      volume,
      name: 'disk',
      settings: { backing: '/simulated', logBytesMax, zeroLoss },
      limits: {
        segmentBytes,
        pendingMax: random.integer(40, 400),
        applyAt: random.integer(1, 100),
        applyMs: random.integer(0, 50),
        syncMs: random.integer(0, 30),
        noteMs: random.integer(0, 30),
        checkpointMs: random.integer(0, 100),
      },
      told: {
        durable: () => {},
        epoch: () => {},
        ended: () => {},
      },
    })
    const server = await this.#unlessEnded(opening)
    if (server === undefined) return undefined
    this.server = server
    this.inFlight = 0
    this.#isFlushed = false
    for (const sector of this.#sectors) sector.inFlight = 0
    if (this.ops.length === 0 && server.last > 0) this.ops.push({ number: 1, kind: 'resize', bytes: this.bytes })
    assert.ok(server.last >= this.promised, `record ${this.promised} was promised, the volume ends at ${server.last}`)
    assert.ok(
      server.last >= this.#vault.number,
      `the vault has record ${this.#vault.number}, the volume ends at ${server.last}`,
    )
    assert.ok(server.last <= (this.ops.at(-1)?.number ?? 0), 'the volume holds nothing that nobody asked for')
    this.ops = this.ops.filter(({ number }) => number <= server.last)
    this.#current = this.stateAt(server.last)
    const content = await this.readAll()
    if (content !== undefined) this.same(content, this.#current, 'after opening')
    return server
  }

  async #unlessEnded<T>(promise: Promise<T>): Promise<T | undefined> {
    const state = { isSettled: false }
    const seen = promise.finally(() => (state.isSettled = true))
    seen.catch(() => {})
    while (!state.isSettled && !this.#hasEnded) await turn()
    return this.#hasEnded ? undefined : await seen
  }

  same(found: Buffer, wanted: Buffer, when: string): void {
    if (found.equals(wanted)) return
    const at = found.findIndex((byte, index) => byte !== wanted[index])
    const touching = this.ops
      .filter((op) => 'at' in op && op.at <= at && at < op.at + sizeOf(op))
      .map(({ number }) => number)
    assert.fail(`${when} byte ${at} is not what it should be; records that wrote it: ${touching.slice(-5).join(' ')}`)
  }

  /** The volume after a record, by the list alone. */
  stateAt(number: number): Buffer {
    const image = Buffer.alloc(this.bytes)
    for (const op of this.ops) if (op.number <= number) put(image, op)
    return image
  }

  /** One read of one connection, with several requests. */
  ask(): void {
    const requests: ExportRequest[] = []
    for (let count = this.random.skewed(1, 6); count > 0; count--) requests.push(this.#request())
    this.server!.take(requests)
  }

  /** One write that nobody waits for. */
  write(): void {
    const data = Buffer.alloc(sectorBytes, this.random.bytes(64))
    const answer = this.#changed({ kind: 'write', at: 0, data }, false)
    this.server!.take([{ kind: 'write', at: 0, bytes: sectorBytes, data, isForced: false, answer }])
  }

  #request(): ExportRequest {
    const { random } = this
    const chance = random.fraction()
    if (chance < 0.12) return { kind: 'flush', answer: this.#flushed() }
    const { at, bytes } = this.#range(chance)
    if (chance < 0.3) return this.#read(at, bytes)
    const isForced = random.chance(0.1)
    if (chance < 0.5) {
      const kind = chance < 0.4 ? 'trim' : 'zero'
      const changed = { at, bytes, isForced, answer: this.#changed({ kind, at, bytes }, isForced) }
      return kind === 'trim' ? { kind, ...changed } : { kind, mayMakeHole: true, ...changed }
    }
    const data = Buffer.alloc(bytes, random.bytes(Math.min(bytes, 64)))
    return { kind: 'write', at, bytes, data, isForced, answer: this.#changed({ kind: 'write', at, data }, isForced) }
  }

  #range(chance: number): { at: number; bytes: number } {
    const { random } = this
    const unit = random.chance(0.1) ? 1 : sectorBytes
    const most = chance >= 0.3 && chance < 0.5 && random.chance(0.1) ? this.bytes : 128 * 1024
    const bytes = random.skewed(1, most / unit) * unit
    // Some places are written again and again.
    const at = random.chance(0.4)
      ? random.integer(0, 40) * sectorBytes
      : random.integer(0, (this.bytes - bytes) / unit) * unit
    return { at: Math.min(at, this.bytes - bytes), bytes }
  }

  #next(): number {
    return (this.ops.at(-1)?.number ?? 0) + 1
  }

  #flushed(): Answer {
    if (!this.#isFlushed) this.ops.push({ number: this.#next(), kind: 'flush' })
    this.#isFlushed = true
    const covered = this.ops.at(-1)!.number
    return this.#answer(() => this.#promise(covered))
  }

  #promise(number: number): void {
    this.promised = Math.max(this.promised, number)
    const { server } = this
    if (this.#settings.zeroLoss && server)
      assert.ok(this.#vault.number >= number, 'a flush was answered before the vault had it')
  }

  #changed(change: DistributiveOmit<Op, 'number'> & { readonly at: number }, isForced: boolean): Answer {
    const op = { ...change, number: this.#next() } as Extract<Op, { at: number }>
    this.ops.push(op)
    this.#isFlushed = false
    put(this.#current, op)
    const sectors = this.#sectorsOf(op.at, sizeOf(op))
    for (const sector of sectors) {
      sector.inFlight++
      sector.version++
    }
    return this.#answer(() => {
      for (const sector of sectors) sector.inFlight--
      if (isForced) this.#promise(op.number)
    })
  }

  #sectorsOf(at: number, bytes: number) {
    return this.#sectors.slice(Math.floor(at / sectorBytes), Math.ceil((at + bytes) / sectorBytes))
  }

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
        assert.ok(
          into.subarray(start, end).equals(wanted.subarray(start, end)),
          `a read of byte ${at + start} is not what was written`,
        )
      }
    })
    return { kind: 'read', at, bytes, into, answer }
  }

  #answer(done: () => void): Answer {
    const life = this.#life
    let isAnswered = false
    const once = (then: () => void): void => {
      if (life !== this.#life || this.#hasEnded) return
      assert.ok(!isAnswered, 'a request is answered once')
      isAnswered = true
      this.inFlight--
      then()
    }
    this.inFlight++
    return { done: () => once(done), failed: (error: NbdError) => once(() => this.#refused(error)) }
  }

  #refused(error: NbdError): void {
    assert.fail(`a request was answered by ${error}: ${this.server?.problems.map(({ message }) => message).join('; ')}`)
  }

  /** What the volume holds, when nothing is under way. Undefined: the server was ended meanwhile. */
  async readAll(): Promise<Buffer | undefined> {
    const into = Buffer.alloc(this.bytes)
    const state = { isDone: false }
    const answer = {
      done: () => void (state.isDone = true),
      failed: (error: NbdError) => assert.ok(this.#hasEnded, `reading all failed: ${error}`),
    }
    this.server!.take([{ kind: 'read', at: 0, bytes: this.bytes, into, answer }])
    while (!state.isDone && !this.#hasEnded) await turn()
    return this.#hasEnded ? undefined : into
  }

  /** Until all is answered, or the server has ended. */
  async quiet(turnsMax = 100_000): Promise<void> {
    for (let turns = 0; this.inFlight > 0 && !this.#hasEnded; turns++) {
      if (turns > turnsMax) assert.fail(`${this.inFlight} requests are never answered`)
      if (this.#settings.zeroLoss) await this.ship(true)
      await turn()
    }
  }

  /** The vault reads on in the log, up to what it is told to be durable, and says so or not. */
  async ship(acknowledges: boolean): Promise<void> {
    const server = this.server!
    const vault = this.#vault
    if (vault.epoch !== server.epoch) this.#joinEpoch(server)
    const { epoch } = vault
    const upTo = server.durable
    vault.reader ??= new VolumeLogReader(this.disk.logForReaders(), {
      volume,
      from: (vault.number + 1) as RecordNumber,
    })
    try {
      for await (const records of vault.reader.read(upTo)) for (const record of records) this.#shipped(record)
    } catch (error) {
      await vault.reader[Symbol.asyncDispose]()
      vault.reader = undefined
      if (this.#hasEnded) return
      if (!(error instanceof LogGone)) throw error
      // Nothing goes before it is acknowledged, but with a new epoch.
      for (let turns = 0; server.epoch === epoch && !this.#hasEnded; turns++) {
        assert.ok(turns < 1000, 'records that the vault has not acknowledged are gone, and the epoch is the same')
        await turn()
      }
      return
    }
    if (acknowledges && !this.#hasEnded) server.acknowledged(epoch, vault.number)
  }

  /** The server's epoch is new to the vault: touched tells all that it has missed. */
  #joinEpoch(server: VolumeDisk): void {
    const vault = this.#vault
    if (vault.epoch !== 0) this.gaps++
    const begins = server.first - 1
    if (vault.epoch === 0) {
      vault.number = begins
      vault.image = this.stateAt(begins)
    }
    const told = new Set<number>()
    for (let from: number | undefined = 0; from !== undefined;) {
      const answer = server.askTouched(from)
      for (const region of answer.regions) told.add(region)
      from = answer.next
    }
    if (vault.epoch !== 0) {
      const then = this.stateAt(begins)
      for (let region = 0; region * regionBytes < this.bytes; region++) {
        const at = region * regionBytes
        const differs = !then.subarray(at, at + regionBytes).equals(vault.image.subarray(at, at + regionBytes))
        assert.ok(
          !differs || told.has(region),
          `region ${region} differs by lost history from ${vault.number} to ${begins}, and is not touched`,
        )
        if (told.has(region)) then.copy(vault.image, at, at, at + regionBytes)
      }
      this.same(vault.image, then, 'healed by what was touched')
      vault.number = begins
      if (this.random.chance(0.7)) server.healed([...told], begins)
    }
    vault.epoch = server.epoch
    void vault.reader?.[Symbol.asyncDispose]()
    vault.reader = undefined
  }

  #shipped(record: VolumeRecord): void {
    const vault = this.#vault
    assert.equal(record.number, vault.number + 1)
    const op = this.ops[record.number - 1]
    assert.ok(op, `record ${record.number} was never asked for`)
    assert.equal(op.number, record.number)
    assert.equal(record.kind, op.kind, `record ${record.number}`)
    if ('at' in op && 'at' in record) {
      assert.equal(record.at, op.at)
      if (op.kind === 'write' && record.kind === 'write')
        assert.ok(Buffer.from(op.data).equals(record.data), `data of record ${op.number}`)
      else if (op.kind !== 'write' && record.kind !== 'write') assert.equal(record.bytes, op.bytes)
      put(vault.image, op)
    }
    vault.number = record.number
    this.recordsShipped++
  }

  checkVault(): void {
    if (this.#vault.epoch !== 0)
      this.same(this.#vault.image, this.stateAt(this.#vault.number), `at record ${this.#vault.number} the vault's`)
  }

  /** A vault process ends and begins anew with what it has. */
  forgetReader(): void {
    this.#vault.reader = undefined
  }

  async close(): Promise<void> {
    const closing = this.server![Symbol.asyncDispose]()
    await this.#unlessEnded(closing)
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

const sizeOf = (op: Op): number => (op.kind === 'write' ? op.data.length : 'bytes' in op ? op.bytes : 0)

function put(image: Buffer, op: Op): void {
  if (op.kind === 'write') image.set(op.data, op.at)
  else if (op.kind === 'zero' || op.kind === 'trim') image.fill(0, op.at, op.at + op.bytes)
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
