import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Life, MachineClock, never, SimulatedTime } from '../../test/sim/clock.ts'
import { Seeded } from '../../test/sim/random.ts'
import { Trace } from '../../test/sim/trace.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { decodeBatch, encodeBatch } from '../format/batch.ts'
import type { Capture, CapturedBatch, CaptureOutput, CaptureRequest } from '../capture/capture.ts'
import type { Mark } from '../model/change.ts'
import { type Moment, moment } from '../model/moment.ts'
import { advance, type Sequence, sequence } from '../model/sequence.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { agentInMemory, batchForTest, JournalInMemory } from '../wire/journal-in-memory.ts'
import { type LineBehaviour, linkPair } from '../wire/link-pair.ts'
import { Pace } from '../wire/pace.ts'
import type { ShippedBatch } from '../wire/ship.ts'
import { serveConnection } from '../wire/serve.ts'
import { Wake } from '../wire/wake.ts'
import { Protection, type ProtectionParts } from './protect.ts'

const definition: SourceDefinition = {
  id: '5'.repeat(32) as Id,
  name: 'documents',
  kind: 'files',
  agent: agentInMemory,
  paths: ['/srv'],
  exclude: [],
  policy: defaultPolicy,
  paused: false,
}

/** A capture whose batches name the run they are of; it says what it is told to say. */
class ToldCapture implements Capture {
  readonly request: CaptureRequest
  readonly run: string
  readonly holes: { readonly since: Moment; readonly reason: string }[] = []
  readonly answers = new Map<number, readonly boolean[]>()
  readonly taken: CapturedBatch[] = []
  manifestAt: Sequence | undefined
  durableAt: Sequence
  isLineUp = false
  isDisposed = false
  reconciled = 0
  readonly said = new Wake()
  readonly #clock: Clock
  readonly #waiting: (
    | CaptureOutput
    | { readonly kind: 'write'; readonly bulk: boolean; readonly blocks: Uint8Array[] }
  )[] = []
  readonly #stop = new AbortController()
  #marks: { tag: number; label: string }[] = []
  #holes: Mark[] = []
  readonly resumedMoment: Moment | undefined
  #next: Sequence

  constructor(request: CaptureRequest, run: string, clock: Clock) {
    this.request = request
    this.run = run
    this.#clock = clock
    this.#next = advance(request.resumeAt, 1)
    this.durableAt = request.resumeAt
    const at = Number(Buffer.from(request.cursor).toString().split('@')[1] ?? Number.NaN)
    this.resumedMoment = Number.isNaN(at) ? undefined : moment(at)
  }

  write(bulk = false, blocks: Uint8Array[] = []): void {
    this.#waiting.push({ kind: 'write', bulk, blocks })
    this.said.wake()
  }

  say(output: CaptureOutput): void {
    this.#waiting.push(output)
    this.said.wake()
  }

  get unasked(): number {
    return this.#waiting.length
  }

  readonly outputs: AsyncIterable<CaptureOutput> = { [Symbol.asyncIterator]: () => this.#produce() }

  async *#produce(): AsyncGenerator<CaptureOutput> {
    for (;;) {
      const next = await this.said.until(() => this.#waiting.shift(), this.#stop.signal).catch(() => undefined)
      if (next === undefined) return
      if (next.kind !== 'write') {
        yield next
        continue
      }
      const shipped = this.#batch(next.bulk, next.blocks)
      const marks = this.#marks.map(({ tag }) => ({ tag, sequence: shipped.last }))
      this.#marks = []
      this.#next = advance(shipped.last, 1)
      const batch: CapturedBatch = { kind: 'batch', ...shipped, moment: moment(this.#clock.now()), marks }
      this.taken.push(batch)
      yield batch
    }
  }

  /** As the batches of other tests, with the holes at its end and the moment in its cursor. */
  #batch(bulk: boolean, blocks: readonly Uint8Array[]): ShippedBatch {
    const plain = batchForTest(this.#next, 1, blocks, bulk, this.run)
    const at = moment(this.#clock.now())
    const batch = decodeBatch(plain.bytes)
    const holes = this.#holes.splice(0).map((mark) => ({ moment: at, change: { kind: 'mark', mark } as const }))
    const cursor = Buffer.from(`${Buffer.from(batch.cursor).toString()}@${at}`)
    const bytes = encodeBatch({ ...batch, cursor, changes: [...batch.changes, ...holes] })
    return { ...plain, last: advance(plain.last, holes.length), bytes }
  }

  durable(at: Sequence): void {
    assert.ok(at >= this.durableAt)
    this.durableAt = at
    this.said.wake()
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.answers.set(tag, missing)
  }

  manifest(_path: string, at: Sequence): void {
    this.manifestAt = at
  }

  line(up: boolean): void {
    this.isLineUp = up
  }

  mark(tag: number, label: string): void {
    this.#marks.push({ tag, label })
    this.write()
  }

  reconcile(): void {
    this.reconciled++
  }

  hole(since: Moment, reason: string): void {
    this.holes.push({ since, reason })
    this.#holes.push({ type: 'hole', since, reason })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isDisposed = true
    this.#stop.abort()
  }
}

/** An agent's machine and a vault, with a line that can be cut. */
class World {
  readonly random: Seeded
  readonly time = new SimulatedTime()
  readonly trace = new Trace()
  readonly vaultClock: Clock
  readonly journal: JournalInMemory
  readonly disk: MemoryDisk
  readonly directory: string
  readonly captures: ToldCapture[] = []
  readonly cuts = new Set<() => void>()
  #capturesBefore = 0
  isUp = true
  behaviour: LineBehaviour = { pieceBytesMax: 64 * 1024, delayMsMax: 2, roomBytes: 256 * 1024 }
  chunkKey: Uint8Array | undefined
  life: Life
  clock: Clock
  limits: Partial<ProtectionParts> = {}
  /** Between the agent and its disk. */
  throughDisk = (store: Store): Store => store

  constructor(seed: number, directory: string) {
    this.random = new Seeded(seed)
    this.vaultClock = this.#clockOf(new Life('vault', this.trace))
    this.journal = new JournalInMemory(this.vaultClock, this.random)
    this.disk = new MemoryDisk({ random: this.random })
    this.directory = directory
    this.life = new Life('agent', this.trace)
    this.clock = this.#clockOf(this.life)
  }

  #clockOf(life: Life): Clock {
    return new MachineClock(this.time, life, { us: 1.7e15 })
  }

  /** The capture of this life of the agent is open and knows of the line. */
  get isCapturing(): boolean {
    const capture = this.captures.at(-1)
    return (
      this.captures.length > this.#capturesBefore && capture !== undefined && !capture.isDisposed && capture.isLineUp
    )
  }

  get capture(): ToldCapture {
    const capture = this.captures.at(-1)
    assert.ok(capture && !capture.isDisposed, 'a capture is open')
    return capture
  }

  /** Starts the agent; what is returned ends with `signal`, or never when the agent is killed. */
  start(signal: AbortSignal): { protection: Protection; ended: Promise<void> } {
    const life = (this.life = new Life('agent', this.trace))
    const clock = (this.clock = this.#clockOf(life))
    this.#capturesBefore = this.captures.length
    const protection = new Protection({
      definition,
      directory: this.directory,
      openStore: async () => this.throughDisk(this.disk.store()),
      software: 'test',
      spoolKey: createSecretKey(Buffer.alloc(32, 3)),
      spoolBytesMax: 1e9,
      spoolFreeMin: 0,
      openCapture: async (request) => {
        const capture = new ToldCapture(request, `run${this.captures.length}`, clock)
        this.captures.push(capture)
        return capture
      },
      dial: async (dialling) => {
        if (!life.alive) return never()
        await clock.sleep(1, dialling)
        if (!this.isUp) throw new TidemarkError('unreachable', { message: 'the line is down' })
        const pair = linkPair(this.behaviour, this.vaultClock, this.random)
        this.cuts.add(pair.cut)
        const served = serveConnection(
          pair.ends[1],
          { agent: agentInMemory },
          this.journal,
          this.vaultClock,
          new AbortController().signal,
        )
        void served.then(() => this.cuts.delete(pair.cut))
        return pair.ends[0]
      },
      fetchManifest: async (_source, _at, into) => writeFileSync(into, ''),
      chunkKey: this.#chunkKeyMemory(),
      pace: new Pace([], clock),
      clock,
      random: this.random,
      ...this.limits,
    })
    return { protection, ended: protection.run(signal) }
  }

  #chunkKeyMemory(): ProtectionParts['chunkKey'] {
    const known = (): Uint8Array | undefined => this.chunkKey
    return {
      get known() {
        return known()
      },
      told: async (key) => void (this.chunkKey = key),
    }
  }

  kill(): void {
    this.life.kill('-9')
    this.disk.kill()
    this.cut()
  }

  cut(): void {
    for (const cut of this.cuts) cut()
  }

  lineDown(): void {
    this.isUp = false
    this.cut()
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    for (let tries = 0; !condition(); tries++) {
      assert.ok(tries < 20_000, `never: ${what}`)
      await this.vaultClock.sleep(50)
    }
  }

  settled(): Promise<void> {
    return this.until(
      () => this.journal.durable === this.captures.at(-1)?.taken.at(-1)?.last && this.capture.unasked === 0,
      'all is at the vault',
    )
  }
}

async function inWorld(test: TestContext, seed: number, story: (world: World) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-protect-'))
  try {
    const world = new World(seed, directory)
    await world.time.run(story(world), 10 * 86_400_000).catch((error: unknown) => {
      test.diagnostic(`seed ${seed}`)
      throw error
    })
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Every batch at the vault continues the one before it: of the same run, or of a run opened just there. */
function expectOneLine({ journal, captures }: World): void {
  let before = { last: sequence(0), cursor: '' }
  for (const { first, last, cursor } of journal.applied) {
    assert.equal(first, before.last + 1)
    const run = cursor.split(':')[0]
    if (run !== before.cursor.split(':')[0]) {
      const { request } = captures.find((capture) => capture.run === run)!
      assert.equal(request.resumeAt, before.last, `${run} was opened at ${request.resumeAt}`)
      assert.equal(Buffer.from(request.cursor).toString(), before.cursor, `${run} was opened with another cursor`)
    }
    before = { last, cursor }
  }
}

test('whatever happens to line and agent, the journal is one line and ends complete', async (test) => {
  for (let seed = 1; seed <= 40; seed++) {
    await inWorld(test, seed, async (world) => {
      const { random } = world
      let stop = new AbortController()
      let agent = world.start(stop.signal)
      for (let step = 0; step < 40; step++) {
        const capture = world.captures.at(-1)
        for (let count = random.integer(0, 6); count > 0; count--) {
          const blocks = Array.from({ length: random.integer(0, 2) }, () => random.bytes(random.integer(1, 2000)))
          if (capture && !capture.isDisposed) capture.write(random.chance(0.3), blocks)
        }
        await world.vaultClock.sleep(random.pick([0, 1, 10, 300, 8000]))
        switch (random.integer(0, 9)) {
          case 0:
            world.lineDown()
            break
          case 1:
          case 2:
            world.isUp = true
            break
          case 3:
            world.cut()
            break
          case 4:
            world.kill()
            stop = new AbortController()
            agent = world.start(stop.signal)
            break
          case 5:
            stop.abort()
            await agent.ended
            stop = new AbortController()
            agent = world.start(stop.signal)
            break
          default:
            break
        }
      }
      world.isUp = true
      await world.until(() => world.isCapturing, 'a line')
      world.capture.write()
      await world.settled()
      stop.abort()
      await agent.ended
      expectOneLine(world)
    })
  }
})

test('what is captured without a line is kept on disk, survives a kill, and arrives in order', (test) =>
  inWorld(test, 1, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.capture.write()
    await world.settled()
    world.lineDown()
    for (let count = 0; count < 50; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.until(() => world.capture.unasked === 0, 'all is taken')
    await world.vaultClock.sleep(1000)
    assert.ok(world.disk.usedBytes > 50_000)
    world.kill()
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on without a line')
    assert.equal(world.capture.request.resumeAt, 51)
    assert.equal(protection.status().line, 'down')
    world.capture.write()
    world.isUp = true
    await world.settled()
    assert.deepEqual(world.capture.holes, [])
    assert.equal(world.journal.durable, 52)
    await world.until(() => protection.status().spoolBytes === 0, 'the spool is deleted')
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('an agent killed without a line and without a spool does not fork the journal, and the hole is recorded', (test) =>
  inWorld(test, 2, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.capture.write()
    await world.settled()
    await world.vaultClock.sleep(11_000)
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.settled()
    world.isUp = false
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on from what was noted')
    assert.ok(world.capture.request.resumeAt < 6, 'the note is older than what the vault has')
    for (let count = 0; count < 9; count++) world.capture.write()
    await world.vaultClock.sleep(1000)
    world.isUp = true
    await world.until(() => world.captures.length === 3, 'the capture is opened anew')
    assert.equal(world.capture.request.resumeAt, 6)
    assert.equal(world.capture.holes.length, 1)
    world.capture.write()
    await world.settled()
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('with the spool full the capture is not asked for more, and told of the hole when there is room', (test) =>
  inWorld(test, 3, async (world) => {
    world.limits = { spoolBytesMax: 20_000, memoryBytesMax: 10_000 }
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.lineDown()
    for (let count = 0; count < 100; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.vaultClock.sleep(20_000)
    assert.ok(world.capture.unasked > 50 && protection.status().spoolFull)
    assert.ok(world.disk.usedBytes <= 21_000)
    const stoppedAt = world.capture.taken.at(-1)!.moment
    world.isUp = true
    await world.settled()
    assert.deepEqual(world.capture.holes, [{ since: stoppedAt, reason: 'the spool was full' }])
    assert.equal(world.journal.durable, 101, 'all changes and the mark of the hole')
    assert.equal(protection.status().spoolFull, false)
    stop.abort()
    await ended
  }))

test('a vault that was brought back from an older copy gets a hole and goes on', (test) =>
  inWorld(test, 4, async (world) => {
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let count = 0; count < 5; count++) {
      world.capture.write()
      await world.settled()
    }
    world.isUp = false
    world.cut()
    world.journal.applied.length = 3
    world.journal.durable = sequence(3)
    world.journal.cursor = Buffer.from(world.journal.applied[2]!.cursor)
    world.isUp = true
    await world.until(() => world.captures.length === 2, 'the capture is opened anew')
    assert.equal(world.capture.request.resumeAt, 3)
    assert.equal(world.capture.holes.length, 1)
    assert.equal(world.capture.holes[0]!.since, world.captures[0]!.taken[2]!.moment, 'since the copy was made')
    world.capture.write()
    await world.settled()
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('offers, marks, reports and manifests find their way', (test) =>
  inWorld(test, 5, async (world) => {
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    const { capture, journal } = world
    capture.say({ kind: 'offer', tag: 1, ids: ['1'.repeat(32) as never] })
    capture.say({
      kind: 'report',
      report: { state: 'live', covered: moment(7), upTo: sequence(0), dirty: 3, watching: 'scan', problems: [] },
    })
    journal.requests.push({ kind: 'mark', tag: 77, label: 'before' })
    journal.requests.push({ kind: 'reconcile' })
    journal.changed.wake()
    await world.until(
      () =>
        capture.answers.size === 1 &&
        journal.marks.length === 1 &&
        capture.reconciled === 1 &&
        journal.reports.length > 0,
      'all is answered',
    )
    assert.deepEqual(journal.marks, [{ tag: 77, sequence: 1 }])
    assert.equal(journal.reports.at(-1)!.report.dirty, 3)
    assert.equal(protection.status().capture?.dirty, 3)
    capture.say({ kind: 'manifest-wanted', reason: 'test' })
    await world.until(() => capture.manifestAt === 1, 'the manifest')
    world.lineDown()
    await world.vaultClock.sleep(100)
    capture.say({ kind: 'offer', tag: 2, ids: ['2'.repeat(32) as never, '3'.repeat(32) as never] })
    await world.until(() => capture.answers.size === 2, 'an answer without a line')
    assert.deepEqual(capture.answers.get(2), [true, true])
    stop.abort()
    await ended
  }))

test('bulk is taken no faster than the vault acknowledges it', (test) =>
  inWorld(test, 6, async (world) => {
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.journal.stalled = true
    for (let count = 0; count < 40; count++) world.capture.write(true, [Buffer.alloc(1024 * 1024, count)])
    await world.vaultClock.sleep(10_000)
    assert.ok(world.capture.unasked > 25, `${world.capture.unasked} not asked for`)
    assert.equal(protection.status().line, 'stalled')
    assert.equal(world.disk.usedBytes < 1000, true, 'bulk does not go to the disk while the line is up')
    world.journal.stalled = false
    await world.settled()
    assert.deepEqual(world.capture.holes, [])
    stop.abort()
    await ended
  }))

/** A store on which the next new file cannot be made. */
function failingOnce(store: Store): Store {
  let isToFail = true
  return {
    create: (name) => {
      if (!isToFail) return store.create(name)
      isToFail = false
      return Promise.reject(new Error('EIO: i/o error'))
    },
    extend: (name) => store.extend(name),
    read: (name, at, bytes) => store.read(name, at, bytes),
    size: (name) => store.size(name),
    list: (folder) => store.list(folder),
    truncate: (name, bytes) => store.truncate(name, bytes),
    replace: (name, bytes) => store.replace(name, bytes),
    remove: (name) => store.remove(name),
    free: () => store.free(),
    capacity: () => store.capacity(),
  }
}

test('a disk of the spool that fails once ends the protection, which begun again goes on', (test) =>
  inWorld(test, 7, async (world) => {
    world.throughDisk = failingOnce
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.journal.stalled = true
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.until(() => world.capture.unasked === 0, 'all is taken')
    world.lineDown()
    await assert.rejects(ended, { message: 'EIO: i/o error' })
    world.throughDisk = (store) => store
    world.journal.stalled = false
    world.isUp = true
    const again = protection.run(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture is opened anew')
    world.capture.write()
    await world.settled()
    stop.abort()
    await again
    expectOneLine(world)
  }))

test('the capture forgets nothing before it is noted on disk that the vault has it', (test) =>
  inWorld(test, 8, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let round = 0; round < 6; round++) {
      await world.vaultClock.sleep(round * 900)
      world.capture.write()
      await world.settled()
    }
    await world.vaultClock.sleep(100)
    const told = world.capture.durableAt
    world.isUp = false
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on without a line')
    assert.ok(world.capture.request.resumeAt >= told, `${world.capture.request.resumeAt} after ${told}`)
    stop.abort()
    await ended
  }))

/** Until a capture is open that was told of a hole, and has said nothing since. */
async function untilHole(world: World, captures: number): Promise<Moment> {
  await world.until(() => world.captures.length === captures && world.capture.holes.length === 1, 'a hole is told')
  return world.capture.holes[0]!.since
}

test('a hole survives a kill until the vault has its mark, and then is told no more', (test) =>
  inWorld(test, 9, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.settled()
    world.isUp = false
    world.cut()
    world.journal.durable = sequence(3)
    world.journal.cursor = Buffer.from(world.journal.applied[2]!.cursor)
    world.journal.applied.length = 3
    world.isUp = true
    const since = await untilHole(world, 2)
    world.kill()
    world.start(new AbortController().signal)
    assert.ok((await untilHole(world, 3)) <= since)
    world.lineDown()
    world.capture.write()
    await world.vaultClock.sleep(11_000)
    world.kill()
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 4, 'the capture goes on without a line')
    assert.deepEqual(world.capture.holes, [], 'its mark is in the spool')
    world.isUp = true
    world.capture.write()
    await world.settled()
    await world.vaultClock.sleep(11_000)
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 5, 'the capture')
    assert.deepEqual(world.capture.holes, [])
    assert.ok(!world.disk.names.includes('holes.json'))
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('a damaged spool is a hole that survives a kill right after the damage was found', (test) =>
  inWorld(test, 10, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.lineDown()
    for (let count = 0; count < 5; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.vaultClock.sleep(1000)
    world.kill()
    const name = world.disk.names.find((one) => one.endsWith('.spool'))!
    const bytes = world.disk.contents(name)
    bytes[3]! ^= 1
    for (let operations = 1; operations < 12; operations++) {
      world.disk.overwrite(name, bytes)
      world.disk.delete('holes.json')
      world.start(new AbortController().signal)
      const killed = new Promise<void>((resolve) => world.disk.endAfter(operations, 'process', resolve))
      await Promise.race([killed, world.vaultClock.sleep(3000)])
      world.kill()
      world.disk.endAfter(Number.MAX_SAFE_INTEGER, 'process', () => undefined)
      const isGivenUp = !world.disk.names.includes(name)
      if (isGivenUp) break
    }
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => (world.captures.at(-1)?.holes.length ?? 0) > 0, 'the hole is told')
    stop.abort()
    await ended
  }))
