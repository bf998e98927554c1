import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import type { Clock } from '../../base/clock.ts'
import { decodeBatch } from '../../format/batch.ts'
import { decodeBlock } from '../../format/block.ts'
import type { VolumeRecord } from '../../format/volume-log.ts'
import { inlineBytesMax } from '../../model/batch.ts'
import type { Change, ChunkId } from '../../model/change.ts'
import type { CaptureReport } from '../../model/report.ts'
import { beforeFirst, type Sequence } from '../../model/sequence.ts'
import { defaultPolicy, defaultVolume, type Id } from '../../model/source.ts'
import type { MirrorLeg } from '../../nbd/mirror-leg.ts'
import { Seeded } from '../../../test/sim/random.ts'
import { applyRecord, pause, turn, VolumeServerInMemory } from '../../../test/support/volume-server-in-memory.ts'
import type { CaptureOutput } from '../capture.ts'
import { waitingBytes } from '../output-queue.ts'
import { decodeCursor, type Place } from './cursor.ts'
import { Engine } from './engine.ts'

const chunkKey = Buffer.alloc(32, 7)
const stepsMax = 500
const roundsToRest = 20_000
/** Longer than any test lasts by its clock. */
const neverMs = 1e12

/** Ticks with every question; a sleep is a few turns of the loop. */
class TurningClock implements Clock {
  #us = 1_700_000_000_000_000
  readonly #random: Seeded

  constructor(random: Seeded) {
    this.#random = random
  }

  now(): number {
    return ++this.#us
  }

  monotonicMs(): number {
    return this.#us / 1000
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await turn()
    await pause(this.#random)
    this.#us += ms * 1000
    signal?.throwIfAborted()
  }
}

/** The vault's journal of one volume, judged batch by batch against the records of the simulated server. */
class Judge {
  readonly chunks = new Map<ChunkId, Buffer>()
  last: Sequence = beforeFirst
  cursor: Uint8Array = new Uint8Array()
  place: Place | undefined
  exactBatches = 0
  completed: string[] = []
  holes = 0
  isSettled = false
  #disk = Buffer.alloc(0)
  #model: Buffer<ArrayBuffer>
  #modelAt = 0
  readonly #server: VolumeServerInMemory

  constructor(server: VolumeServerInMemory) {
    this.#server = server
    this.#model = Buffer.from(server.initial)
  }

  take(output: Extract<CaptureOutput, { kind: 'batch' }>): void {
    for (const block of output.blocks) {
      const { entries, body } = decodeBlock(block)
      for (const { id, at, bytes } of entries) {
        const data = Buffer.from(body.subarray(at, at + bytes))
        assert.equal(createHmac('sha256', chunkKey).update(data).digest('latin1'), id, 'a chunk has its name')
        this.chunks.set(id, data)
      }
    }
    const batch = decodeBatch(output.bytes)
    assert.equal(batch.first, this.last + 1)
    let before = 0
    for (const { change, moment } of batch.changes) {
      assert.ok(moment > before)
      before = moment
      this.#apply(change)
    }
    this.last = output.last
    this.cursor = batch.cursor
    this.place = decodeCursor(batch.cursor).place
    this.isSettled = batch.settled
    this.#judge()
  }

  /** The server goes on from another past. */
  reverted(): void {
    this.#model = Buffer.from(this.#server.initial)
    this.#modelAt = 0
  }

  #judge(): void {
    const { place } = this
    if (place === undefined) return
    for (; this.#modelAt < place.number; this.#modelAt++) {
      this.#model = applyRecord(this.#model, this.#server.history[this.#modelAt] as VolumeRecord)
    }
    const upTo = place.suspect === undefined ? place.bytes : ofFirstCopy(place)
    if (upTo > 0) this.exactBatches++
    const begun = this.#server.history[place.number]
    const isLong = begun?.kind === 'write' && begun.data.length > inlineBytesMax
    const [from, to] = isLong ? [begun.at, begun.at + begun.data.length] : [upTo, upTo]
    this.#same(0, Math.min(from, upTo))
    this.#same(to, upTo)
  }

  #same(from: number, to: number): void {
    if (from >= to) return
    if (this.#disk.subarray(from, to).equals(this.#model.subarray(from, to))) return
    const at = this.#disk.subarray(0, to).findIndex((byte, index) => index >= from && byte !== this.#model[index])
    assert.fail(
      `byte ${at} is wrong at sequence ${this.last}, record ${this.place?.number} of ${JSON.stringify(this.place)}, which is ${this.#disk[at]} and not ${this.#model[at]}`,
    )
  }

  #apply(change: Change): void {
    if (change.kind === 'mark') {
      if (change.mark.type === 'complete') this.completed.push(change.mark.reason)
      if (change.mark.type === 'hole') this.holes++
      return
    }
    assert.equal(change.path, 'disk')
    switch (change.kind) {
      case 'put':
        assert.equal(change.content.type, 'file')
        this.#disk = Buffer.alloc((change.content as { bytes: number }).bytes)
        return
      case 'patch':
        assert.equal(change.bytes, this.#disk.length)
        for (const extent of change.extents) {
          const data = 'data' in extent ? extent.data : this.chunks.get(extent.chunk)
          assert.equal(data?.length, extent.bytes, 'the vault has the chunk')
          this.#disk.set(data, extent.at)
        }
        for (const { at, bytes } of change.zeros) this.#disk.fill(0, at, at + bytes)
        return
      case 'write':
        assert.ok(change.at + change.data.length <= this.#disk.length && change.data.length <= inlineBytesMax)
        this.#disk.set(change.data, change.at)
        return
      case 'zero':
        assert.ok(change.at + change.bytes <= this.#disk.length)
        this.#disk.fill(0, change.at, change.at + change.bytes)
        return
      case 'truncate':
        assert.ok(change.bytes > this.#disk.length)
        this.#disk = Buffer.concat([this.#disk, Buffer.alloc(change.bytes - this.#disk.length)])
        return
      default:
        assert.fail(`a ${change.kind} of a volume`)
    }
  }
}

/** After a gap the part that is copied may lack what is touched. */
const ofFirstCopy = ({ suspect, copy }: Place): number =>
  suspect === 'baseline' && copy?.isOntoZeros === true ? copy.at : 0

/** The agent of one capture: takes what it says after a while, tells what the vault would. */
class Agent {
  readonly #judge: Judge
  readonly #random: Seeded
  readonly #server: VolumeServerInMemory
  readonly #clock: Clock
  readonly #everyMs: number
  #engine: Engine | undefined
  #ended: Promise<void> = Promise.resolve()
  #outputs: CaptureOutput[] = []
  #line = true
  readonly marked: { tag: number; sequence: Sequence }[] = []
  failure: unknown
  leg: MirrorLeg = { state: 'unknown' }
  report: CaptureReport | undefined

  constructor(judge: Judge, server: VolumeServerInMemory, random: Seeded, clock: Clock, everyMs = neverMs) {
    this.#judge = judge
    this.#server = server
    this.#random = random
    this.#clock = clock
    this.#everyMs = everyMs
  }

  open(): void {
    const engine: Engine = new Engine(
      {
        source: {
          id: '0'.repeat(32) as Id,
          name: 'test',
          kind: 'volume',
          agent: '1'.repeat(32) as Id,
          paths: [],
          exclude: [],
          volume: { ...defaultVolume, backing: '/simulated' },
          policy: { ...defaultPolicy, reconcileMs: this.#everyMs },
          paused: false,
        },
        resumeAt: this.#judge.last,
        cursor: this.#judge.cursor,
        chunkKey,
      },
      {
        clock: this.#clock,
        random: this.#random,
        hand: (output) => {
          if (this.#engine !== engine) return
          if (output.kind === 'report') this.report = output.report
          else this.#outputs.push(output)
        },
        openServer: async () => {
          await pause(this.#random)
          return this.#server.open()
        },
        lookAtLeg: () => this.leg,
      },
    )
    this.#engine = engine
    this.#ended = engine.run().catch((error: unknown) => {
      this.failure ??= error
    })
    engine.receive({ kind: 'acknowledged', sequence: this.#judge.last })
    engine.receive({ kind: 'line', up: this.#line })
  }

  /** What it has said and nobody has taken is lost. */
  async crash(): Promise<void> {
    const engine = this.#engine
    this.#engine = undefined
    this.#outputs = []
    engine?.receive({ kind: 'stop' })
    await this.#ended
  }

  step(): void {
    for (let count = Math.floor(this.#random.fraction() * 4); count > 0; count--) this.takeOne()
    if (this.#random.chance(this.#line ? 0.01 : 0.1)) this.line(!this.#line)
    if (this.#random.fraction() < 0.3) this.#engine?.receive({ kind: 'acknowledged', sequence: this.#judge.last })
  }

  takeAll(): void {
    while (this.#outputs.length > 0) this.takeOne()
  }

  takeOne(): void {
    const output = this.#outputs.shift()
    if (output?.kind === 'offer') {
      const missing = output.ids.map((id) => !this.#judge.chunks.has(id))
      this.#engine?.receive({ kind: 'answer', tag: output.tag, missing })
    } else if (output?.kind === 'batch') {
      this.#judge.take(output)
      this.marked.push(...output.marks)
      this.#engine?.receive({ kind: 'taken', bytes: waitingBytes(output) })
    }
  }

  line(up: boolean): void {
    this.#line = up
    this.#engine?.receive({ kind: 'line', up })
  }

  reconcile(): void {
    this.#engine?.receive({ kind: 'reconcile' })
  }

  mark(tag: number): void {
    this.#engine?.receive({ kind: 'mark', tag, label: `mark ${tag}` })
  }

  acknowledge(): void {
    this.#engine?.receive({ kind: 'acknowledged', sequence: this.#judge.last })
  }
}

async function run(seed: number, isWild = true): Promise<{ judge: Judge; agent: Agent; server: VolumeServerInMemory }> {
  const random = new Seeded(seed)
  const clock = new TurningClock(random)
  const server = new VolumeServerInMemory(random, clock, 2_500_000 + Math.floor(random.fraction() * 1_000_000))
  const judge = new Judge(server)
  const agent = new Agent(judge, server, random, clock)
  agent.open()
  try {
    await live({ random, server, judge, agent, isWild })
  } finally {
    await agent.crash()
  }
  assert.ifError(agent.failure)
  return { judge, agent, server }
}

async function live({
  random,
  server,
  judge,
  agent,
  isWild,
}: {
  random: Seeded
  server: VolumeServerInMemory
  judge: Judge
  agent: Agent
  isWild: boolean
}): Promise<void> {
  for (let step = 0; step < stepsMax; step++) {
    for (let count = Math.floor(random.fraction() * 3); count > 0; count--) server.write()
    if (random.fraction() < 0.4) server.sync()
    agent.step()
    const chance = isWild ? random.fraction() : 1
    if (chance < 0.01) server.die(random.fraction() < 0.5)
    else if (chance < 0.015) server.giveUp()
    else if (chance < 0.017) server.loseLog()
    else if (chance < 0.032) {
      await agent.crash()
      agent.open()
    } else if (chance < 0.036) server.grow(1 + Math.floor(random.fraction() * 200_000))
    else if (chance < 0.038) agent.reconcile()
    else if (chance < 0.042) agent.mark(step)
    for (let turns = random.integer(0, 30); turns > 0; turns--) await turn()
  }
  agent.line(true)
  const isAtRest = (): boolean =>
    judge.place?.suspect === undefined &&
    judge.place?.copy === undefined &&
    judge.place?.number === server.last &&
    server.touched.size === 0
  for (let round = 0; round < roundsToRest && !isAtRest(); round++) {
    server.sync()
    agent.takeAll()
    agent.acknowledge()
    await turn()
    assert.ifError(agent.failure)
  }
  assert.ok(isAtRest(), `${JSON.stringify(judge.place)} of ${server.last}, touched ${[...server.touched].join()}`)
}

const seeds = Number(process.env['TIDEMARK_SEEDS'] ?? 20)
const firstSeed = Number(process.env['TIDEMARK_SEED'] ?? 1)

test('whatever happens while a volume is copied and written, its journal is the volume at each of its records', async () => {
  let exactBatches = 0
  let holes = 0
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    try {
      const { judge } = await run(seed)
      exactBatches += judge.exactBatches
      holes += judge.holes
    } catch (error) {
      throw new Error(`with seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  assert.ok(exactBatches > 100 * seeds && holes > 0, `${exactBatches} exact batches, ${holes} holes`)
})

test('a volume that nothing happens to but writing is copied without a hole, and is settled at its end', async () => {
  const { judge, server } = await run(1, false)
  assert.deepEqual({ holes: judge.holes, completed: judge.completed }, { holes: 0, completed: ['baseline'] })
  assert.ok(judge.isSettled)
  assert.equal(judge.place?.number, server.last)
})

test('what the vault has not acknowledged stays in the log once the agent holds enough of it', async () => {
  const random = new Seeded(7)
  const clock = new TurningClock(random)
  const server = new VolumeServerInMemory(random, clock, 2_500_000)
  const judge = new Judge(server)
  const agent = new Agent(judge, server, random, clock)
  agent.open()
  try {
    const turnsUntilQuiet = async (): Promise<void> => {
      for (let quiet = 0, last = judge.last; quiet < 200; quiet++) {
        server.sync()
        agent.takeAll()
        await turn()
        if (judge.last !== last) [quiet, last] = [0, judge.last]
      }
    }
    await turnsUntilQuiet()
    agent.acknowledge()
    const noise = random.bytes(512 * 1024)
    for (let count = 0; count < 80; count++) server.writeAt(0, noise)
    await turnsUntilQuiet()
    assert.ok((judge.place?.number ?? 0) < server.last)
    for (let before = 0; judge.last !== before;) {
      before = judge.last
      agent.acknowledge()
      await turnsUntilQuiet()
    }
    assert.equal(judge.place?.number, server.last)
  } finally {
    await agent.crash()
  }
  assert.ifError(agent.failure)
})

test('a volume that was put back to an earlier state, and written to since, is compared as a whole and gets a hole', async (t) => {
  const random = new Seeded(5)
  const clock = new TurningClock(random)
  const server = new VolumeServerInMemory(random, clock, 1_500_000)
  const judge = new Judge(server)
  const agent = new Agent(judge, server, random, clock)
  t.after(() => agent.crash())
  const untilAtRest = async (): Promise<void> => {
    for (let round = 0; round < roundsToRest; round++) {
      server.sync()
      agent.takeAll()
      agent.acknowledge()
      await turn()
      const { place } = judge
      if (place?.suspect === undefined && place?.copy === undefined && place?.number === server.last) return
    }
    assert.fail('it does not come to rest')
  }
  agent.open()
  for (let count = 0; count < 100; count++) server.write()
  await untilAtRest()
  await agent.crash()
  server.revert(60)
  for (let count = 0; count < 80; count++) server.write()
  server.sync()
  judge.reverted()
  agent.open()
  await untilAtRest()
  await agent.crash()
  assert.ifError(agent.failure)
  assert.equal(judge.holes, 1)
})

test('while a mirror goes on without its leg nothing counts as covered; once the leg is whole there is a hole', async (t) => {
  const random = new Seeded(3)
  const clock = new TurningClock(random)
  const server = new VolumeServerInMemory(random, clock, 300_000)
  const judge = new Judge(server)
  const agent = new Agent(judge, server, random, clock)
  t.after(() => agent.crash())
  const until = async (isSo: () => boolean): Promise<void> => {
    for (let round = 0; round < roundsToRest; round++) {
      server.sync()
      agent.takeAll()
      agent.acknowledge()
      if (isSo()) return
      await turn()
    }
    assert.fail(`it does not become so: ${isSo}`)
  }
  const isAt = (last: number): boolean => judge.place?.number === last && judge.place.suspect === undefined
  agent.leg = { state: 'in-sync', mirror: 'md0', membership: 'md0 1' }
  agent.open()
  for (let count = 0; count < 20; count++) server.write()
  await until(() => isAt(server.last) && judge.isSettled)
  agent.leg = { state: 'away', mirror: 'md0' }
  await until(() => (judge.place?.awaySince ?? 0) > 0 && agent.report?.problems[0]?.code === 'mirror-leg-away')
  const { covered } = agent.report ?? {}
  await agent.crash()
  agent.leg = { state: 'unknown' }
  agent.open()
  await until(() => agent.report?.problems[0]?.code === 'mirror-leg-away')
  agent.leg = { state: 'copying', mirror: 'md0' }
  for (let count = 0; count < 20; count++) server.write()
  await until(() => isAt(server.last))
  assert.equal(judge.isSettled, false)
  assert.ok((agent.report?.covered ?? 0) <= (covered ?? 0))
  assert.equal(judge.holes, 0)
  agent.leg = { state: 'in-sync', mirror: 'md0', membership: 'md0 2' }
  await until(() => judge.holes === 1 && judge.isSettled)
  assert.deepEqual([judge.place?.awaySince, judge.completed.at(-1)], [0, 'mirror'])
  agent.leg = { state: 'in-sync', mirror: 'md0', membership: 'md0 3' }
  await until(() => judge.holes === 2 && judge.isSettled)
  await agent.crash()
  assert.ifError(agent.failure)
})

test('everything is compared again and again in its time, also over restarts of the agent', async () => {
  const random = new Seeded(firstSeed)
  const clock = new TurningClock(random)
  const server = new VolumeServerInMemory(random, clock, 300_000)
  const judge = new Judge(server)
  const everyMs = 12 * 3_600_000
  const agent = new Agent(judge, server, random, clock, everyMs)
  const begun: number[] = []
  try {
    agent.open()
    for (let turns = 0; judge.completed.length < 4; turns++) {
      assert.ok(turns < roundsToRest, `${judge.completed.join()} in ${clock.monotonicMs()} ms`)
      const { compared = 0 } = judge.place ?? {}
      if (compared > 0 && begun.at(-1) !== compared) begun.push(compared)
      if (random.chance(0.005)) {
        await agent.crash()
        agent.open()
      }
      server.write()
      server.sync()
      agent.takeAll()
      agent.acknowledge()
      await turn()
      assert.ifError(agent.failure)
    }
  } finally {
    await agent.crash()
  }
  assert.deepEqual(judge.completed, ['baseline', 'request', 'request', 'request'])
  for (const [index, at] of begun.slice(1).entries()) assert.ok(at - (begun[index] as number) >= everyMs * 1000)
})
