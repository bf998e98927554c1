import assert from 'node:assert/strict'
import type { RecordNumber, VolumeRecord } from '../../src/format/volume-log.ts'
import { LogGone, VolumeLogReader } from '../../src/format/volume-log-reader.ts'
import { VolumeDisk } from '../../src/capture/volume/server/disk.ts'
import type { VolumeFiles } from '../../src/capture/volume/server/files.ts'
import { regionBytes } from '../../src/capture/volume/server/regions.ts'
import type { Id, VolumeSettings } from '../../src/model/source.ts'
import type { Seeded } from '../sim/random.ts'
import { put, VolumeUsers } from '../sim/volume/users.ts'
import { HastyClock, SimulatedVolumeDisk } from './volume-disk-files.ts'

const volume = '00112233445566778899aabbccddeeff' as Id
const segmentBytes = 256 * 1024
const turnsMax = 100_000

export interface WorldSettings {
  readonly random: Seeded
  readonly backingBytes?: number
  readonly logBytesMax?: number
  readonly logCapacity?: number
  readonly zeroLoss?: VolumeSettings['zeroLoss']
  /** A wrapper that breaks a promise of the disk, to see that it is noticed. */
  readonly planted?: (files: VolumeFiles) => VolumeFiles
}

/** A volume server on simulated disks, its users, and a vault that reads its log and believes nothing but that. */
export class VolumeWorld {
  readonly random: Seeded
  readonly disk: SimulatedVolumeDisk
  readonly #settings: WorldSettings
  readonly bytes: number
  readonly users: VolumeUsers
  server: VolumeDisk | undefined
  #opened = 0
  #hasEnded = false
  /** What a user found to be wrong. */
  #failure: { readonly error: unknown } | undefined
  /** The vault's copy, exactly as of `number`. */
  readonly #vault: { image: Buffer; number: number; epoch: number; reader: VolumeLogReader | undefined }
  gaps = 0
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
    this.users = new VolumeUsers({
      random: this.random,
      bytes: this.bytes,
      requestBytesMax: 128 * 1024,
      now: () => 0,
      shipped: () => this.#vault.number,
      promised: (number) => this.#promised(number),
      failed: (error) => (this.#failure ??= { error }),
    })
    this.disk.ended = (how) => {
      this.#hasEnded = true
      this.users.end(how)
    }
    this.#vault = { image: Buffer.alloc(this.bytes), number: 0, epoch: 0, reader: undefined }
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Starts the server, and compares what it serves with what a disk may show after what came before. Undefined: it was ended meanwhile. */
  async open(): Promise<VolumeDisk | undefined> {
    const life = ++this.#opened
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
    this.users.begin(server)
    await this.#answered()
    return server
  }

  /** Until all is answered, or the server has ended. */
  async #answered(each: () => Promise<void> = async () => {}): Promise<void> {
    for (let turns = 0; this.users.inFlight > 0 && !this.#hasEnded; turns++) {
      assert.ok(turns < turnsMax, `${this.users.inFlight} requests are never answered`)
      await each()
      await turn()
    }
    this.#check()
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error
  }

  #promised(number: number): void {
    if (this.#settings.zeroLoss) assert.ok(this.#vault.number >= number, 'a flush was answered before the vault had it')
  }

  async #unlessEnded<T>(promise: Promise<T>): Promise<T | undefined> {
    const state = { isSettled: false }
    const seen = promise.finally(() => (state.isSettled = true))
    seen.catch(() => {})
    while (!state.isSettled && !this.#hasEnded) await turn()
    return this.#hasEnded ? undefined : await seen
  }

  /** Until all is answered, or the server has ended. */
  async quiet(): Promise<void> {
    await this.#answered(async () => {
      if (this.#settings.zeroLoss) await this.ship(true)
    })
  }

  /** The vault reads on in the log, up to what it is told to be durable, and says so or not. */
  async ship(acknowledges: boolean): Promise<void> {
    this.#check()
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
      vault.image = this.users.stateAt(begins)
    }
    const told = new Set<number>()
    for (let from: number | undefined = 0; from !== undefined;) {
      const answer = server.askTouched(from)
      for (const region of answer.regions) told.add(region)
      from = answer.next
    }
    if (vault.epoch !== 0) {
      const then = this.users.stateAt(begins)
      for (let region = 0; region * regionBytes < this.bytes; region++) {
        const at = region * regionBytes
        const differs = !then.subarray(at, at + regionBytes).equals(vault.image.subarray(at, at + regionBytes))
        assert.ok(
          !differs || told.has(region),
          `region ${region} differs by lost history from ${vault.number} to ${begins}, and is not touched`,
        )
        if (told.has(region)) then.copy(vault.image, at, at, at + regionBytes)
      }
      this.users.expectState(vault.image, then, 'healed by what was touched')
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
    const op = this.users.ops[record.number - 1]
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
    this.#check()
    if (this.#vault.epoch !== 0)
      this.users.expectState(
        this.#vault.image,
        this.users.stateAt(this.#vault.number),
        `at record ${this.#vault.number} the vault's`,
      )
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

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
