import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Life, MachineClock, SimulatedTime } from '../../test/sim/clock.ts'
import { Seeded } from '../../test/sim/random.ts'
import { Trace } from '../../test/sim/trace.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { ChunkId } from '../model/change.ts'
import { moment } from '../model/moment.ts'
import { advance, beforeFirst, type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { agentInMemory, batchForTest, JournalInMemory } from './journal-in-memory.ts'
import { goodLine, type LineBehaviour, linkPair } from './link-pair.ts'
import { Conversation } from './conversation.ts'
import { frameParts } from './frames.ts'
import { messageParts } from './messages.ts'
import { Pace } from './pace.ts'
import type { AppenderRequest } from './ports.ts'
import { type ConnectionEnd, serveConnection } from './serve.ts'
import { type Cargo, followVault, JournalSession, type ShippedBatch, type Told } from './ship.ts'
import { Wake } from '../base/wake.ts'

const source = '5'.repeat(32) as Id
const about = { source, software: 'test' }

class Load implements Cargo {
  readonly batches: readonly ShippedBatch[]
  readonly offers = new Map<number, readonly ChunkId[]>()
  readonly answers: { tag: number; missing: readonly boolean[] }[] = []
  readonly requests: AppenderRequest[] = []
  readonly told: Sequence[] = []
  readonly changed = new Wake()
  readonly stalls: boolean[] = []
  durable = beforeFirst

  constructor(batches: readonly ShippedBatch[]) {
    this.batches = batches
  }

  next(first: Sequence, signal: AbortSignal): Promise<ShippedBatch> {
    return this.changed.until(() => this.batches.find((batch) => batch.first === first), signal)
  }

  *unanswered() {
    for (const [tag, ids] of this.offers) yield { tag, ids }
  }

  acknowledged(durable: Sequence): void {
    this.durable = durable
    this.told.push(durable)
    this.changed.wake()
  }

  answered(tag: number, missing: readonly boolean[]): void {
    this.offers.delete(tag)
    this.answers.push({ tag, missing })
    this.changed.wake()
  }

  requested(request: AppenderRequest): void {
    this.requests.push(request)
    this.changed.wake()
  }

  stalled(stalled: boolean): void {
    this.stalls.push(stalled)
    this.changed.wake()
  }

  get end(): Sequence {
    return this.batches.at(-1)?.last ?? beforeFirst
  }
}

function someBatches(random: Seeded, count: number): ShippedBatch[] {
  const batches: ShippedBatch[] = []
  let first = sequence(1)
  for (let index = 0; index < count; index++) {
    const blocks = Array.from({ length: random.integer(0, 3) }, () => random.bytes(random.skewed(1, 3000)))
    const batch = batchForTest(first, random.integer(1, 5), blocks, random.chance(0.5))
    batches.push(batch)
    first = advance(batch.last, 1)
  }
  return batches
}

/** Virtual time in which a whole world runs. */
function inVirtualTime<T>(limitMs: number, world: (clock: Clock) => Promise<T>): Promise<T> {
  const time = new SimulatedTime()
  return time.run(world(new MachineClock(time, new Life('test', new Trace()), { us: 1.7e15 })), limitMs)
}

interface Parts {
  readonly clock: Clock
  readonly random: Seeded
  readonly journal: JournalInMemory
  readonly behaviour?: LineBehaviour
}

/** One connection, both ends, until it ends. */
async function connection(
  load: Load,
  { clock, random, journal, behaviour = goodLine }: Parts,
  signal: AbortSignal,
  during: (session: JournalSession) => void = () => undefined,
): Promise<{ vault: ConnectionEnd; agentError: unknown }> {
  const [near, far] = linkPair(behaviour, clock, random).ends
  const never = new AbortController().signal
  const served = serveConnection(far, { agent: agentInMemory }, journal, clock, never)
  let agentError: unknown
  try {
    const session = await JournalSession.open(near, about, clock, signal)
    during(session)
    await session.run(load, new Pace([], clock), signal)
  } catch (error) {
    agentError = error
  }
  return { vault: await served, agentError }
}

test('whatever the line does, the journal ends up with exactly the batches, once each and in order', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Seeded(seed)
    await inVirtualTime(3_600_000, async (clock) => {
      const journal = new JournalInMemory(clock, random)
      const load = new Load(someBatches(random, 40))
      for (let tries = 0; load.durable < load.end; tries++) {
        assert.ok(tries < 5000, `seed ${seed}: no progress`)
        const done = new AbortController()
        const behaviour: LineBehaviour = {
          pieceBytesMax: random.pick([1, 7, 100, 5000, 64 * 1024]),
          delayMsMax: random.pick([0, 1, 30]),
          roomBytes: random.pick([1, 1000, 256 * 1024]),
          ...(random.chance(0.8) ? { cutAfterBytes: random.skewed(1, 60_000) } : {}),
        }
        const watch = load.changed
          .until(() => (load.durable >= load.end ? true : undefined), done.signal)
          .then(
            () => done.abort(),
            () => undefined,
          )
        const { vault } = await connection(load, { clock, random, journal, behaviour }, done.signal)
        assert.notEqual(vault.how, 'refused', `seed ${seed}: ${'error' in vault ? vault.error.message : ''}`)
        done.abort()
        await watch
      }
      assert.deepEqual(
        journal.applied.map(({ first, last }) => [first, last]),
        load.batches.map(({ first, last }) => [first, last]),
        `seed ${seed}`,
      )
      assert.deepEqual(
        load.told,
        load.told.toSorted((one, other) => one - other),
      )
    })
  }
})

test('a line cut at every single byte in turn resumes exactly', async () => {
  const random = new Seeded(4)
  for (let cut = 1; cut < 900; cut++) {
    await inVirtualTime(3_600_000, async (clock) => {
      const journal = new JournalInMemory(clock, random, 0)
      const load = new Load([
        batchForTest(sequence(1), 1, [random.bytes(10)], false),
        batchForTest(sequence(2), 3, [], false),
      ])
      const never = new AbortController().signal
      await connection(
        load,
        { clock, random, journal, behaviour: { ...goodLine, pieceBytesMax: 1, cutAfterBytes: cut } },
        AbortSignal.any([never, await stopAfter(clock, 5)]),
      )
      const done = new AbortController()
      void load.changed
        .until(() => (load.durable >= load.end ? true : undefined), done.signal)
        .then(
          () => done.abort(),
          () => undefined,
        )
      if (load.durable < load.end) await connection(load, { clock, random, journal }, done.signal)
      assert.deepEqual(
        journal.applied.map(({ first }) => first),
        [1, 2],
      )
    })
  }
})

async function stopAfter(clock: Clock, ms: number): Promise<AbortSignal> {
  const stop = new AbortController()
  void clock.sleep(ms).then(() => stop.abort())
  return stop.signal
}

test('offers are answered, and an offer that a cut left without an answer is asked again', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    const load = new Load([])
    const ids = ['1'.repeat(32), '2'.repeat(32)] as ChunkId[]
    load.offers.set(7, ids)
    await connection(
      load,
      { clock, random, journal, behaviour: { ...goodLine, cutAfterBytes: 300 } },
      await stopAfter(clock, 1000),
    )
    assert.deepEqual(load.answers, [])
    const done = new AbortController()
    void load.changed.until(() => load.answers[0], done.signal).then(() => done.abort())
    await connection(load, { clock, random, journal }, done.signal)
    assert.deepEqual(load.answers, [{ tag: 7, missing: [true, true] }])
  }))

test('requests reach the agent; reports and marks reach the vault', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    const load = new Load([batchForTest(sequence(1), 1, [], false)])
    journal.requests.push({ kind: 'mark', tag: 2 ** 40, label: 'before the upgrade' }, { kind: 'reconcile' })
    const done = new AbortController()
    const base = {
      state: 'live',
      covered: moment(1),
      upTo: sequence(0),
      dirty: 0,
      watching: 'scan',
      problems: [],
    } as const
    await connection(load, { clock, random, journal }, done.signal, (session) => {
      void (async () => {
        await load.changed.until(() => (load.requests.length === 2 ? true : undefined), done.signal)
        for (let dirty = 0; dirty < 1000; dirty++) session.report({ ...base, dirty })
        await session.marked(2 ** 40, sequence(1))
        await journal.changed.until(
          () => (journal.reports.at(-1)?.report.dirty === 999 ? true : undefined),
          done.signal,
        )
        done.abort()
      })()
    })
    assert.deepEqual(
      load.requests.map(({ kind }) => kind),
      ['mark', 'reconcile'],
    )
    assert.deepEqual(journal.marks, [{ tag: 2 ** 40, sequence: 1 }])
    assert.ok(journal.reports.length < 10, 'reports that come faster than they go are told by the newest')
  }))

test('a vault without room says so and says when it goes on; nothing is lost meanwhile', () =>
  inVirtualTime(600_000, async (clock) => {
    const random = new Seeded(2)
    const journal = new JournalInMemory(clock, random)
    journal.stalled = true
    const big = Array.from({ length: 30 }, (_, index) =>
      batchForTest(sequence(index + 1), 1, [random.bytes(1024 * 1024)], false),
    )
    const load = new Load(big)
    const done = new AbortController()
    void clock.sleep(60_000).then(() => {
      assert.deepEqual(load.stalls, [true])
      assert.equal(journal.applied.length, 0)
      journal.stalled = false
    })
    void load.changed
      .until(() => (load.durable >= load.end && load.stalls.length === 2 ? true : undefined), done.signal)
      .then(() => done.abort())
    const { vault } = await connection(load, { clock, random, journal }, done.signal)
    assert.equal(vault.how, 'closed')
    assert.deepEqual(load.stalls, [true, false])
    assert.equal(journal.applied.length, 30)
  }))

test('a peer that falls silent is given up after ten seconds, by either end', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(2)
    const journal = new JournalInMemory(clock, random)
    const [silent, far] = linkPair(goodLine, clock, random).ends
    const started = clock.monotonicMs()
    await silent.send(
      messageParts({ kind: 'hello', versions: [1], software: 'x', now: moment(1), role: { is: 'journal', source } }),
    )
    const end = await serveConnection(far, { agent: agentInMemory }, journal, clock, new AbortController().signal)
    assert.equal(end.how, 'lost')
    assert.ok(clock.monotonicMs() - started < 16_000)

    const [near, mute] = linkPair(goodLine, clock, random).ends
    await mute.send(
      messageParts({
        kind: 'welcome',
        version: 1,
        software: '',
        vault: source,
        now: moment(1),
        limits: { frameBytes: 1 },
        journal: { durable: beforeFirst, cursor: Buffer.alloc(0), chunkKey: Buffer.alloc(0) },
      }),
    )
    const session = await JournalSession.open(near, about, clock, new AbortController().signal)
    await assert.rejects(session.run(new Load([]), new Pace([], clock), new AbortController().signal), {
      code: 'unreachable',
    })
  }))

test('a connection without a hello is closed after ten seconds', () =>
  inVirtualTime(60_000, async (clock) => {
    const [, far] = linkPair(goodLine, clock, new Seeded(1)).ends
    const journal = new JournalInMemory(clock, new Seeded(1))
    const end = await serveConnection(far, { agent: agentInMemory }, journal, clock, new AbortController().signal)
    assert.equal(end.how, 'lost')
    assert.ok(clock.monotonicMs() <= 10_001)
  }))

test('an agent without a version in common is refused with the next step', () =>
  inVirtualTime(60_000, async (clock) => {
    const [near, far] = linkPair(goodLine, clock, new Seeded(1)).ends
    const journal = new JournalInMemory(clock, new Seeded(1))
    await near.send(
      messageParts({ kind: 'hello', versions: [9], software: 'x', now: moment(1), role: { is: 'control' } }),
    )
    const end = await serveConnection(far, { agent: agentInMemory }, journal, clock, new AbortController().signal)
    assert.ok(end.how === 'refused' && end.error.code === 'version-refused' && end.error.hint?.includes('on the vault'))
  }))

test('an agent that may not append is told so', () =>
  inVirtualTime(60_000, async (clock) => {
    const [near, far] = linkPair(goodLine, clock, new Seeded(1)).ends
    const journal = new JournalInMemory(clock, new Seeded(1))
    const served = serveConnection(far, { agent: 'b'.repeat(32) as Id }, journal, clock, new AbortController().signal)
    await assert.rejects(JournalSession.open(near, about, clock, new AbortController().signal), { code: 'not-allowed' })
    assert.equal((await served).how, 'refused')
  }))

test('a second session of an agent ends the first one', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    const first = connection(new Load([]), { clock, random, journal }, new AbortController().signal)
    await clock.sleep(100)
    const second = connection(new Load([]), { clock, random, journal }, await stopAfter(clock, 1000))
    const ended = await first
    assert.ok(ended.agentError instanceof TidemarkError && ended.agentError.code === 'already-running')
    assert.equal((await second).vault.how, 'closed')
  }))

test('a batch that does not continue the journal is refused', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    const [near, far] = linkPair(goodLine, clock, random).ends
    const served = serveConnection(far, { agent: agentInMemory }, journal, clock, new AbortController().signal)
    await near.send(
      messageParts({ kind: 'hello', versions: [1], software: 'x', now: moment(1), role: { is: 'journal', source } }),
    )
    await near.send(messageParts({ kind: 'batch', bytes: batchForTest(sequence(5), 1, [], false).bytes }))
    const end = await served
    assert.ok(end.how === 'refused' && end.error.code === 'sequence-refused')
  }))

test('definitions are told at once and after every change, until the vault stops', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    const [near, far] = linkPair(goodLine, clock, random).ends
    const stop = new AbortController()
    const served = serveConnection(far, { agent: agentInMemory }, journal, clock, stop.signal)
    const told: number[] = []
    const following = followVault(
      near,
      { software: about.software, server: { minutesAhead: 480, limits: [] } },
      countingSources(told),
      clock,
      new AbortController().signal,
    )
    await clock.sleep(100)
    const definition = {
      id: source,
      name: 'docs',
      kind: 'files',
      agent: agentInMemory,
      paths: ['/srv'],
      exclude: [],
      policy: { windowMs: 1, reconcileMs: 1, lagMsMax: 1 },
      paused: false,
    } as const
    journal.sources = [definition]
    journal.changed.wake()
    await clock.sleep(20_000)
    stop.abort()
    assert.equal((await served).how, 'closed')
    await following
    assert.deepEqual(told, [0, 1])
  }))

test('an agent of before there were tasks is told its sources and nothing else, and a newer one all of it', () =>
  inVirtualTime(60_000, async (clock) => {
    const random = new Seeded(1)
    const journal = new JournalInMemory(clock, random)
    journal.orders.push({ kind: 'limits', limits: [] })
    for (const [versions, wanted] of [
      [[1], ['definitions']],
      [
        [1, 2],
        ['definitions', 'limits'],
      ],
    ] as const) {
      const [near, far] = linkPair(goodLine, clock, random).ends
      const stop = new AbortController()
      const served = serveConnection(far, { agent: agentInMemory }, journal, clock, stop.signal)
      const conversation = new Conversation(near, clock)
      await conversation.send({
        kind: 'hello',
        versions,
        software: 'x',
        now: moment(1),
        role: { is: 'control' },
      })
      const welcome = await conversation.greeting(stop.signal)
      assert.equal(welcome?.kind === 'welcome' && welcome.version, Math.max(...versions))
      conversation.accepted()
      const heard: string[] = []
      const listening = (async () => {
        for (;;) {
          const message = await conversation.receive()
          if (message === undefined) return
          heard.push(message.kind)
        }
      })().catch(() => undefined)
      await clock.sleep(1000)
      assert.deepEqual(heard.toSorted(), wanted)
      await conversation.send({
        kind: 'task-report',
        report: { id: source, run: 1, state: 'running', first: 0, lines: [] },
      })
      await clock.sleep(1000)
      assert.equal(journal.taskReports.length, Number(versions.length === 2), 'a report of version 1 is a violation')
      stop.abort()
      assert.equal((await served).how, versions.length === 2 ? 'closed' : 'refused')
      await near[Symbol.asyncDispose]()
      await listening
    }
  }))

/** Hears of definitions alone. */
const countingSources = (told: number[]): Told => ({
  definitions: (sources) => void told.push(sources.length),
  reporting: () => ({ [Symbol.dispose]: () => undefined }),
  ordered: () => undefined,
  cancelled: () => undefined,
  limited: () => undefined,
})

/** Bytes that are mostly of the protocol: whole messages, some damaged, some noise. */
const hostileStream = fc.array(
  fc.oneof(
    fc
      .tuple(fc.integer({ min: 0, max: 44 }), fc.uint8Array({ maxLength: 60 }))
      .map(([type, payload]) => Buffer.concat(frameParts(type, payload))),
    fc.constant(Buffer.concat(messageParts({ kind: 'batch', bytes: batchForTest(sequence(1), 1, [], false).bytes }))),
    fc.constant(Buffer.concat(messageParts({ kind: 'offer', tag: 1, ids: ['3'.repeat(32) as ChunkId] }))),
    fc.constant(Buffer.concat(messageParts({ kind: 'acknowledged', durable: sequence(3) }))),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  ),
  { maxLength: 12 },
)

test('whatever an agent sends, the vault refuses or closes', async () => {
  await fc.assert(
    fc.asyncProperty(hostileStream, fc.boolean(), fc.boolean(), async (stream, withHello, control) => {
      await inVirtualTime(100_000, async (clock) => {
        const random = new Seeded(3)
        const [near, far] = linkPair(goodLine, clock, random).ends
        const journal = new JournalInMemory(clock, random)
        const served = serveConnection(far, { agent: agentInMemory }, journal, clock, new AbortController().signal)
        const drained = (async () => {
          for await (const _ of near.received);
        })().catch(() => undefined)
        const role = control ? ({ is: 'control' } as const) : ({ is: 'journal', source } as const)
        if (withHello)
          await near.send(messageParts({ kind: 'hello', versions: [1, 2], software: 'x', now: moment(1), role }))
        for (const bytes of stream) await near.send([bytes]).catch(() => undefined)
        await near[Symbol.asyncDispose]()
        const end = await served
        assert.ok(['closed', 'lost', 'refused', 'refused-by-peer'].includes(end.how))
        await drained
      })
    }),
    { numRuns: 400 },
  )
})

test('whatever a vault sends, the agent ends the session with an error that says why', async () => {
  const welcome = messageParts({
    kind: 'welcome',
    version: 1,
    software: '',
    vault: source,
    now: moment(1),
    limits: { frameBytes: 1 },
    journal: { durable: beforeFirst, cursor: Buffer.alloc(0), chunkKey: Buffer.alloc(0) },
  })
  await fc.assert(
    fc.asyncProperty(hostileStream, fc.boolean(), async (stream, withWelcome) => {
      await inVirtualTime(100_000, async (clock) => {
        const [near, far] = linkPair(goodLine, clock, new Seeded(3)).ends
        const drained = (async () => {
          for await (const _ of far.received);
        })().catch(() => undefined)
        const shipped = (async () => {
          const session = await JournalSession.open(near, about, clock, new AbortController().signal)
          await session.run(new Load([]), new Pace([], clock), new AbortController().signal)
        })()
        const seen = shipped.then(
          () => undefined,
          (error: unknown) => assert.ok(error instanceof TidemarkError, String(error)),
        )
        if (withWelcome) await far.send(welcome)
        for (const bytes of stream) await far.send([bytes]).catch(() => undefined)
        await far[Symbol.asyncDispose]()
        await seen
        await drained
      })
    }),
    { numRuns: 400 },
  )
})
