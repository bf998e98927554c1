import { createHmac } from 'node:crypto'
import type { Clock } from '../../../src/base/clock.ts'
import type { Capture, CaptureOutput, CaptureRequest } from '../../../src/capture/capture.ts'
import { decodeCursor } from '../../../src/capture/volume/cursor.ts'
import { Engine } from '../../../src/capture/volume/engine.ts'
import { decodeBatch } from '../../../src/format/batch.ts'
import { decodeBlock } from '../../../src/format/block.ts'
import { diskPath } from '../../../src/format/volume-tree.ts'
import type { ChunkId } from '../../../src/model/change.ts'
import type { Sequence } from '../../../src/model/sequence.ts'
import { defaultVolume, type SourceDefinition, type VolumeSettings } from '../../../src/model/source.ts'
import type { Life, SimulatedTime, Wall } from '../clock.ts'
import { type Machinery, passed } from '../machinery.ts'
import { Broken, type History, type Line } from '../oracle.ts'
import type { Seeded } from '../random.ts'
import type { ProtectedSource } from '../source.ts'
import type { Tree } from '../tree.ts'
import { VolumeJudge } from './judge.ts'
import { SimulatedVolumeServer } from './server.ts'
import { sectorBytes, VolumeUsers } from './users.ts'
import { captureInThread } from './thread.ts'

/** Users wait for answers when they have asked for so much. */
const inFlightMax = 60

/** How one volume of a world is served. */
export interface VolumeShape {
  readonly bytes: number
  readonly requestBytesMax: number
  readonly segmentBytes: number
  readonly logCapacity: number
  readonly settings: VolumeSettings
}

export function volumeShape(random: Seeded): VolumeShape {
  const isLarge = random.chance(0.15)
  const requestBytesMax = isLarge ? 200 * 1024 : 16 * 1024
  const segmentBytes = isLarge ? 512 * 1024 : random.pick([24, 32, 64]) * 1024
  const degradeMs = random.chance(0.5) ? { degradeMs: random.skewed(100, 10_000) } : {}
  return {
    bytes: random.integer(150, isLarge ? 3000 : 500) * sectorBytes,
    requestBytesMax,
    segmentBytes,
    logCapacity: (random.chance(0.2) ? 6.5 : 100) * segmentBytes,
    settings: {
      ...defaultVolume,
      backing: '/simulated',
      logBytesMax: random.pick([4, 5, 8, 30]) * segmentBytes,
      zeroLoss: random.chance(0.2) ? degradeMs : undefined,
    },
  }
}

/** A volume that is served, its users, and what the vault must have of it. */
export class SimulatedVolume implements ProtectedSource {
  readonly definition: SourceDefinition
  readonly history: History
  readonly server: SimulatedVolumeServer
  readonly #users: VolumeUsers
  readonly #judge: VolumeJudge
  readonly #machinery: Machinery
  readonly #time: SimulatedTime
  readonly #random: Seeded
  #capture: Capture | undefined
  readonly #threads: Disposable[] = []
  #marks = 0
  #heals = Promise.withResolvers<void>()

  constructor(definition: SourceDefinition, history: History, shape: VolumeShape, machinery: Machinery, wall: Wall) {
    const { time, trace, plant } = machinery
    const { id, name } = definition
    this.definition = definition
    this.history = history
    this.#machinery = machinery
    this.#time = time
    const random = (this.#random = machinery.random.fork(`volume ${name}`))
    const { bytes, requestBytesMax, settings, segmentBytes, logCapacity } = shape
    this.#users = new VolumeUsers({
      random: random.fork('users'),
      bytes,
      requestBytesMax,
      now: () => Math.round(wall.us + time.nowMs * 1000),
      shipped: () => this.#shipped,
      promised: (number) => this.#expectAtVault(number),
      failed: (error) => time.fail(error),
    })
    this.#judge = new VolumeJudge(name, this.#users)
    this.server = new SimulatedVolumeServer({
      ...{ id, name, settings, segmentBytes, logCapacity, time, random, trace, wall, users: this.#users },
      plantFiles: (files) => passed(plant.volumeFiles, files),
      plantLink: (link) => passed(plant.volumeLink, link),
    })
  }

  /** Something is asked for. */
  step(): void {
    if (this.#users.isServed && this.#users.inFlight < inFlightMax) this.#users.ask()
  }

  /** Resolves when the journal is next found to lack something, and begins to be healed. */
  get healing(): Promise<void> {
    this.#heals = Promise.withResolvers()
    return this.#heals.promise
  }

  reconcile(): void {
    this.#capture?.reconcile()
  }

  mark(): void {
    const tag = ++this.#marks
    this.#capture?.mark(tag, `mark ${tag}`)
  }

  /** Moments of the machine are no measure any more. */
  timeSet(): void {
    this.#judge.isTimeRight = false
  }

  open(request: CaptureRequest, clock: Clock, life: Life): Capture {
    const { trace, plant } = this.#machinery
    const { name } = this.definition
    trace.add(name, `capture opened after ${request.resumeAt}`)
    try {
      this.history.resume(request.resumeAt, request.cursor)
      this.#judge.resume(request.cursor)
    } catch (error) {
      this.#time.fail(error)
    }
    const make = (hand: (output: CaptureOutput) => void): Engine =>
      new Engine(request, {
        lookAtLeg: () => ({ state: 'unknown' }),
        clock,
        random: this.#random,
        hand: (output) => {
          if (life.alive) this.#said(output, request.chunkKey)
          hand(output)
        },
        openServer: () => life.through(this.server.connect(life)),
      })
    const { moment } = decodeCursor(request.cursor)
    const resumedMoment = moment > 0 ? moment : undefined
    const { capture, thread } = captureInThread({ make, resumedMoment, life, time: this.#time })
    this.#threads.push(thread)
    this.#capture = capture
    return passed(plant.capture, capture)
  }

  #said(output: CaptureOutput, chunkKey: Uint8Array): void {
    if (output.kind !== 'batch') return
    try {
      for (const block of output.blocks) {
        const { entries, body } = decodeBlock(block)
        for (const { id, at, bytes } of entries) {
          const data = body.subarray(at, at + bytes)
          this.history.keepChunk(id, data, createHmac('sha256', chunkKey).update(data).digest('latin1') as ChunkId)
          this.history.chunksSent.add(id)
        }
      }
      const batch = decodeBatch(output.bytes)
      this.history.say(batch)
      this.#judge.take(batch)
      const kinds = batch.changes.map(({ change }) => (change.kind === 'mark' ? change.mark.type : change.kind))
      if (kinds.includes('hole')) this.#heals.resolve()
      const { place } = decodeCursor(batch.cursor)
      this.#machinery.trace.add(
        this.definition.name,
        `says ${output.first} to ${output.last}, record ${place?.number} of epoch ${place?.epoch}: ${kinds.join(' ')}`,
      )
    } catch (error) {
      this.#time.fail(error)
    }
  }

  /** At zero loss a flush waits for the vault, unless that has been silent for too long. */
  #expectAtVault(number: number): void {
    const { volume } = this.server
    if (this.definition.volume?.zeroLoss === undefined || volume === undefined) return
    if (volume.problems.some(({ code }) => code === 'zero-loss-degraded')) return
    if (this.#shipped < number) {
      throw new Broken(4, `${this.definition.name}: flush ${number} was answered, and the vault has ${this.#shipped}`)
    }
  }

  get #shipped(): number {
    return decodeCursor(this.history.acknowledgedCursor).place?.number ?? 0
  }

  behind(): string[] {
    const { volume } = this.server
    const problems = volume?.problems.filter(({ code }) => code === 'volume-history-lost') ?? []
    const place = decodeCursor(this.history.cursor).place
    const isCopied = place !== undefined && place.copy === undefined
    const isThere = volume !== undefined && this.#users.inFlight === 0
    if (isThere && isCopied && problems.length === 0 && this.#judge.isAll) return []
    return [
      `${this.#judge.describe()}, ${this.#users.inFlight} requests under way, ${JSON.stringify(place)}, ${JSON.stringify(volume?.problems)}`,
    ]
  }

  /** What a vault gives out as the tree after `at`, against what its users had asked for by then. */
  expectTree(tree: Tree, line: Line, at: Sequence, told: string): void {
    const number = this.#judge.exactAt(line, at)
    if (number === undefined) return
    this.#expectDisk(tree, this.#users.stateAt(number), `${told}, at ${at}, record ${number}`)
  }

  #expectDisk(tree: Tree, wanted: Buffer, told: string): void {
    const disk = tree.at(diskPath)
    if (disk?.type !== 'file') throw new Broken(3, `${this.definition.name}: ${told}, there is no disk`)
    this.#users.expectState(disk.data, wanted, `${this.definition.name}: ${told}`)
  }

  /** Every flush that the journal holds from `from` on; tells how many. */
  async expectFlushes(
    line: Line,
    from: Sequence,
    treeAt: (at: Sequence) => Promise<Tree | undefined>,
  ): Promise<number> {
    const flushes = [...this.#judge.flushes(line)].filter((at) => at >= from)
    const exact = flushes.map((at) => ({ at, number: this.#judge.exactAt(line, at) }))
    const points = exact.filter((point): point is { at: Sequence; number: number } => point.number !== undefined)
    let index = 0
    for (const { state, number } of this.#users.statesAt(points.map((point) => point.number))) {
      const { at } = points[index++]!
      const tree = await treeAt(at)
      if (tree !== undefined) this.#expectDisk(tree, state, `at the flush ${at}, record ${number}`)
    }
    return points.length
  }

  /** Nothing is under way: the backing holds it all once the server has ended in order. */
  async expectBacking(): Promise<void> {
    await this.server.close()
    const { current } = this.#users
    this.#users.expectState(this.server.disk.backing.bytes, current, `${this.definition.name}: the backing`)
    this.#users.expectState(this.server.disk.backing.durable, current, `${this.definition.name}: the synced backing`)
  }

  powerCut(): void {
    this.server.end('power')
  }

  get readsChecked(): number {
    return this.#users.readsChecked
  }

  get gaps(): number {
    return this.#judge.gaps
  }

  [Symbol.dispose](): void {
    this.server.end('kill')
    for (const thread of this.#threads) thread[Symbol.dispose]()
  }
}
