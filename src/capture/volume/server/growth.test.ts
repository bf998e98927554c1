import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import type { Id } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import type { ApplyStep, Backing } from './files.ts'
import { regionBytes } from './regions.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const sectorBytes = 512
const segmentBytes = 256 * 1024
/** Each with a server that ends at another operation. */
const seeds = 160
/** Regions of which one page of the file `touched` tells. */
const regionsOfPage = 32_736
const before = regionsOfPage * regionBytes
const after = 2.5 * before

test('a volume grows while it is served, and nothing that was promised is lost, wherever its server ends meanwhile', async () => {
  let ends = 0
  let grown = 0
  for (let seed = 0; seed < seeds; seed++) {
    const scene = new Scene(seed)
    const data = Buffer.alloc(sectorBytes, seed + 1)
    const disk = await scene.open()
    await write(disk, before - sectorBytes, data)
    scene.backing.bytes = after
    scene.endSoon()
    const isPromised = await scene.unlessEnded(disk.grow(after).then(() => write(disk, after - sectorBytes, data)))
    if (isPromised) grown++
    else ends++
    scene.end()

    const again = await scene.open()
    assert.equal(again.bytes, after)
    assert.ok((await read(again, before - sectorBytes)).equals(data), `seed ${seed}, before it grew`)
    if (isPromised) assert.ok((await read(again, after - sectorBytes)).equals(data), `seed ${seed}, behind that`)
    await again[Symbol.asyncDispose]()
  }
  assert.ok(ends > 50 && grown > 50, `${ends} ends, ${grown} grown`)
})

test('a volume does not grow where there is no room for what is kept about it, and does once there is', async () => {
  const scene = new Scene(1)
  const disk = await scene.open()
  scene.backing.bytes = after
  const { logCapacity } = scene.disks
  scene.disks.logCapacity = scene.disks.logBytes
  await assert.rejects(disk.grow(after), { code: 'no-space' })
  assert.equal(disk.bytes, before)
  scene.disks.logCapacity = logCapacity
  await disk.grow(after)
  assert.equal(disk.bytes, after)
  await disk[Symbol.asyncDispose]()
})

class Scene {
  readonly #random: Seeded
  readonly disks: SimulatedVolumeDisk
  readonly backing = new SparseBacking(before)
  #hasEnded = false

  constructor(seed: number) {
    this.#random = new Seeded(seed, 'growth')
    this.disks = new SimulatedVolumeDisk({ random: this.#random, backingBytes: 0, logCapacity: 16 * segmentBytes })
    this.disks.ended = () => (this.#hasEnded = true)
  }

  open(): Promise<VolumeDisk> {
    this.#hasEnded = false
    return VolumeDisk.open({
      files: { log: this.disks.files().log, backing: this.backing },
      clock: new HastyClock(this.#random),
      random: this.#random,
      volume,
      name: 'v',
      settings: { backing: '/simulated', logBytesMax: 8 * segmentBytes },
      limits: { segmentBytes, applyMs: 5, checkpointMs: 5 },
      told: { durable: () => {}, epoch: () => {}, ended: () => {} },
    })
  }

  endSoon(): void {
    this.disks.endAfter(this.#random.integer(1, 60), this.#random.pick(['power', 'kill']))
  }

  end(): void {
    if (!this.#hasEnded) this.disks.end(this.#random.pick(['power', 'kill']))
  }

  /** Whether it came to its end before the server did. */
  async unlessEnded(work: Promise<unknown>): Promise<boolean> {
    let isDone = false
    work.then(
      () => (isDone = true),
      () => {},
    )
    for (let turns = 0; turns < 10_000; turns++) {
      if (this.#hasEnded || isDone) return isDone
      await turn()
    }
    throw new Error('it never grows')
  }
}

/** Holds what was written to it alone, durably. */
class SparseBacking implements Backing {
  bytes: number
  readonly #sectors = new Map<number, Buffer>()

  constructor(bytes: number) {
    this.bytes = bytes
  }

  readNow(into: Buffer, at: number): boolean {
    for (let from = 0; from < into.length; from += sectorBytes) {
      const sector = this.#sectors.get(at + from) ?? Buffer.alloc(sectorBytes)
      sector.copy(into, from)
    }
    return true
  }

  async read(into: Buffer, at: number): Promise<void> {
    this.readNow(into, at)
  }

  async apply(steps: readonly ApplyStep[]): Promise<void> {
    for (const step of steps) {
      const data = Buffer.alloc(step.bytes)
      if (step.kind === 'copy') {
        for (let filled = 0; filled < data.length;)
          filled += await step.from.read(data.subarray(filled), step.position + filled)
      }
      for (let from = 0; from < data.length; from += sectorBytes)
        this.#sectors.set(step.at + from, data.subarray(from, from + sectorBytes))
    }
  }

  async sync(): Promise<void> {}

  dataRanges(at: number, bytes: number): { at: number; bytes: number }[] {
    return [{ at, bytes }]
  }
}

function write(disk: VolumeDisk, at: number, data: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = { done: resolve, failed: reject }
    disk.take([{ kind: 'write', at, bytes: data.length, data, isForced: true, answer }])
  })
}

async function read(disk: VolumeDisk, at: number): Promise<Buffer> {
  const into = Buffer.alloc(sectorBytes)
  await new Promise<void>((resolve, reject) => {
    disk.take([{ kind: 'read', at, bytes: sectorBytes, into, answer: { done: resolve, failed: reject } }])
  })
  return into
}
