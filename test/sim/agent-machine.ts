import { createSecretKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TidemarkError } from '../../src/base/errors.ts'
import { Protection } from '../../src/agent/protect.ts'
import type { Sequence } from '../../src/model/sequence.ts'
import type { SourceDefinition } from '../../src/model/source.ts'
import { Pace } from '../../src/wire/pace.ts'
import { Life, MachineClock, type Wall } from './clock.ts'
import { SimulatedDisk } from './disk.ts'
import { type Machinery, passed } from './machinery.ts'
import type { ProtectedSource } from './source.ts'
import type { VaultMachine } from './vault-machine.ts'

export interface AgentLimits {
  readonly spoolBytesMax: number
  readonly memoryBytesMax: number
}

const spoolKey = createSecretKey(Buffer.alloc(32, 3))
const pausedMsMax = 10_000

/** A protected server: its sources go on changing whether the agent runs or not. */
export class AgentMachine implements Disposable {
  readonly name: string
  readonly wall: Wall
  readonly sources: readonly ProtectedSource[]
  readonly disks: readonly SimulatedDisk[]
  readonly limits: AgentLimits
  readonly #machinery: Machinery
  readonly #vault: VaultMachine
  /** Only for what has to be a file of this machine; what it holds does not matter. */
  readonly #scratch: string
  #chunkKey: Uint8Array | undefined
  #stop = new AbortController()
  /** Of all lives so far. */
  readonly #stops: AbortController[] = []
  life: Life
  readonly protections: Protection[] = []
  readonly #pauses: AbortController[] = []
  #running: Promise<unknown> = Promise.resolve()

  constructor(
    name: string,
    machinery: Machinery,
    told: {
      readonly vault: VaultMachine
      readonly sources: readonly ProtectedSource[]
      readonly limits: AgentLimits
      /** Where others have the machine's clock too. */
      readonly wall?: Wall
    },
  ) {
    this.name = name
    this.#machinery = machinery
    this.#vault = told.vault
    this.sources = told.sources
    this.limits = told.limits
    const { time, random, trace } = machinery
    this.disks = told.sources.map(
      ({ definition }) => new SimulatedDisk(name, time, random.fork(`disk ${definition.name}`), trace),
    )
    this.wall = told.wall ?? { us: 1_700_000_000_000_000 + random.integer(-5_000_000, 5_000_000) }
    this.#scratch = mkdtempSync(join(tmpdir(), 'tidemark-sim-'))
    this.life = new Life(name, trace)
    this.life.alive = false
  }

  start(): void {
    if (this.life.alive) return
    const { time, trace } = this.#machinery
    const life = new Life(this.name, trace)
    this.life = life
    this.#stop = new AbortController()
    this.#stops.push(this.#stop)
    trace.add(this.name, 'starts')
    const { signal } = this.#stop
    this.#running = Promise.all(this.sources.map((_, index) => this.#protect(index, life, signal)))
    this.#running.catch((error: unknown) => life.alive && time.fail(error))
  }

  async #protect(index: number, life: Life, signal: AbortSignal): Promise<void> {
    const clock = new MachineClock(this.#machinery.time, life, this.wall)
    while (!signal.aborted) {
      const pause = new AbortController()
      const protection = this.#protection(this.sources[index]!, this.disks[index]!, life)
      this.#pauses[index] = pause
      this.protections[index] = protection
      await protection.run(AbortSignal.any([signal, pause.signal]))
      if (!signal.aborted) await clock.sleep(this.#machinery.random.skewed(1, pausedMsMax))
    }
  }

  /** A source is not protected for a while. */
  pause(source: ProtectedSource): void {
    this.#pauses[this.sources.indexOf(source)]?.abort(new TidemarkError('interrupted', { message: 'it is paused' }))
  }

  #protection(source: ProtectedSource, disk: SimulatedDisk, life: Life): Protection {
    const { time, random, network, plant } = this.#machinery
    const clock = new MachineClock(time, life, this.wall)
    return new Protection({
      definition: source.definition,
      directory: join(this.#scratch, source.definition.id),
      software: 'simulation',
      spoolKey,
      spoolBytesMax: passed(plant.spoolBytesMax, this.limits.spoolBytesMax),
      spoolFreeMin: 0,
      memoryBytesMax: this.limits.memoryBytesMax,
      openStore: async () => passed(plant.spoolStore, disk.store(life)),
      openCapture: async (request) => passed(plant.capture, source.open(request, clock, life)),
      dial: async (signal) => life.through(network.dial(this.name, life, this.#vault.name, signal)),
      fetchManifest: (definition, at, into) => life.through(this.#fetchManifest(definition, at, into)),
      chunkKey: this.#chunkKeyMemory(),
      pace: new Pace([], clock),
      clock,
      random,
    })
  }

  #chunkKeyMemory() {
    const known = (): Uint8Array | undefined => this.#chunkKey
    return {
      get known() {
        return known()
      },
      told: async (key: Uint8Array): Promise<void> => {
        this.#chunkKey = key
      },
    }
  }

  /** Another connection than the link, in the product HTTP; here it is only as unreliable as the network is. */
  async #fetchManifest(definition: SourceDefinition, at: Sequence, into: string): Promise<void> {
    const { time, random, network } = this.#machinery
    await time.sleep(random.integer(1, 50))
    const isCut = network.isCut(this.name, this.#vault.name) || network.isCut(this.#vault.name, this.name)
    if (isCut || !this.#vault.isUp || random.chance(0.1)) {
      throw new TidemarkError('unreachable', { message: 'the vault does not answer' })
    }
    writeFileSync(into, await this.#vault.manifest(definition.id, at))
  }

  crash({ powerGoes }: { readonly powerGoes: boolean }): void {
    if (!this.life.alive) return
    this.life.kill(powerGoes ? 'power cut' : 'killed')
    this.#machinery.network.died(this.name, powerGoes)
    if (!powerGoes) return
    for (const disk of this.disks) disk.cutPower()
    for (const source of this.sources) source.powerCut()
  }

  /** Ends the program in order. */
  async close(): Promise<void> {
    const { life } = this
    if (!life.alive) return
    this.#stop.abort(new TidemarkError('interrupted', { message: 'the agent is stopped' }))
    await life.answer(this.#running)
    this.crash({ powerGoes: false })
  }

  /** What the protections last failed with, for the dump of a failed seed. */
  lastErrors(): string[] {
    return this.protections.map((protection) => {
      const { line, captured, acknowledged, lastError, spoolFull } = protection.status()
      return `${this.name}: line ${line}, captured ${captured}, acknowledged ${acknowledged}${spoolFull ? ', spool full' : ''}${lastError ? `, ${lastError.message}` : ''}`
    })
  }

  /** The world is over. What waits for a signal is kept alive by it, killed or not. */
  [Symbol.dispose](): void {
    this.life.kill('the world ends')
    for (const stop of this.#stops) stop.abort()
    rmSync(this.#scratch, { recursive: true, force: true })
  }
}
