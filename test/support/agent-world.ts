import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Protection, type ProtectionParts } from '../../src/agent/protect.ts'
import type { Clock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../../src/model/source.ts'
import { MemoryDisk } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { agentInMemory, JournalInMemory } from '../../src/wire/journal-in-memory.ts'
import { type LineBehaviour, linkPair } from '../../src/wire/link-pair.ts'
import { Pace } from '../../src/wire/pace.ts'
import { serveConnection } from '../../src/wire/serve.ts'
import { Life, MachineClock, never, SimulatedTime } from '../sim/clock.ts'
import { Seeded } from '../sim/random.ts'
import { Trace } from '../sim/trace.ts'
import { ToldCapture } from './told-capture.ts'

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

/** An agent's machine and a vault, with a line that can be cut. */
export class AgentWorld {
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

export async function inWorld(
  test: TestContext,
  seed: number,
  story: (world: AgentWorld) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-protect-'))
  try {
    const world = new AgentWorld(seed, directory)
    await world.time.run(story(world), 10 * 86_400_000).catch((error: unknown) => {
      test.diagnostic(`seed ${seed}`)
      throw error
    })
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Every batch at the vault continues the one before it: of the same run, or of a run opened just there. */
export function expectOneLine({ journal, captures }: AgentWorld): void {
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
