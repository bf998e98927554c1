import { type ErrorCode, isCode } from '../../src/base/errors.ts'
import { moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import type { Id } from '../../src/model/source.ts'
import type { AgentMachine } from './agent-machine.ts'
import type { SimulatedTime } from './clock.ts'
import { quick, slow } from './disk.ts'
import type { SimulatedNetwork } from './network.ts'
import type { Seeded } from './random.ts'
import type { WorldKind } from './servers.ts'
import type { Trace } from './trace.ts'
import type { VaultMachine } from './vault-machine.ts'
import type { SimulatedVolume } from './volume/volume.ts'

const anyKinds = [
  'vault killed',
  'vault loses power',
  'vault closed and opened',
  'agent killed',
  'agent loses power',
  'agent stopped and started',
  'line cut',
  'line cut one way',
  'connections reset',
  'line slow',
  'answers lost',
  'disk of the vault slow',
  'disk of the vault full',
  'clock of the agent set',
  'clock of the vault set',
  'index thrown away',
  'old history forgotten',
  'old history forgotten',
  'reconciliation',
] as const
const volumeKinds = [
  'volume server killed',
  'volume server killed at work',
  'volume server loses power at work',
  'volume paused',
  'volume marked',
  'volume cut off while it heals',
] as const
/** What makes a capture begin again. */
const endings = ['agent killed', 'agent loses power', 'volume server killed', 'volume paused'] as const
export type FaultKind = (typeof anyKinds)[number] | (typeof volumeKinds)[number]

/** Some come more often than others. */
export const faultKinds: Readonly<Record<WorldKind, readonly FaultKind[]>> = {
  files: anyKinds,
  volumes: [...anyKinds, ...volumeKinds, ...volumeKinds],
}

export const plenty = 1e9
const healingMsMax = 3000

export interface FaultsParts {
  readonly time: SimulatedTime
  readonly random: Seeded
  readonly trace: Trace
  readonly network: SimulatedNetwork
  readonly vault: VaultMachine
  readonly agents: readonly AgentMachine[]
  readonly volumes: readonly SimulatedVolume[]
  readonly randomPoint: (source: Id) => Sequence
}

/** All that goes wrong in a world. What is broken is mended after a while. */
export class Faults {
  readonly #parts: FaultsParts
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #network: SimulatedNetwork

  constructor(parts: FaultsParts) {
    this.#parts = parts
    this.#time = parts.time
    this.#random = parts.random
    this.#trace = parts.trace
    this.#network = parts.network
  }

  async letHappen(kind: FaultKind): Promise<void> {
    const random = this.#random
    const { vault, agents, volumes } = this.#parts
    const agent = random.pick(agents)
    const sources = agents.flatMap((machine) => machine.sources)
    const soon = (ms: number, action: () => void): void => void this.#time.after(random.integer(1, ms), action)
    this.#trace.add('world', kind)
    switch (kind) {
      case 'vault killed':
      case 'vault loses power':
        if (random.chance(0.7)) await this.#somethingAcknowledged()
        vault.crash({ powerGoes: kind === 'vault loses power' })
        return soon(5000, () => vault.start())
      case 'vault closed and opened':
        await vault.close()
        return soon(3000, () => vault.start())
      case 'agent killed':
      case 'agent loses power':
        agent.crash({ powerGoes: kind === 'agent loses power' })
        return soon(random.pick([100, 15_000]), () => agent.start())
      case 'agent stopped and started':
        await agent.close()
        return soon(3000, () => agent.start())
      case 'line cut':
      case 'line cut one way': {
        const ways = [
          [agent.name, vault.name],
          [vault.name, agent.name],
        ] as const
        const cut = kind === 'line cut' ? ways : [random.pick(ways)]
        for (const [from, to] of cut) this.#network.cut(from, to)
        return soon(random.pick([1000, 30_000]), () => cut.forEach(([from, to]) => this.#network.heal(from, to)))
      }
      case 'connections reset':
        return this.#network.reset(random.pick([agent.name, vault.name]), 'connection reset')
      case 'line slow': {
        const usual = this.#network.quality
        this.#network.quality = { ...usual, latencyMs: 400, jitterMs: 300, bytesPerMs: 5 }
        return soon(
          8000,
          () => (this.#network.quality = { ...usual, lostAnswerChance: this.#network.quality.lostAnswerChance }),
        )
      }
      case 'answers lost':
        this.#network.quality = { ...this.#network.quality, lostAnswerChance: 0.5 }
        return soon(10_000, () => (this.#network.quality = { ...this.#network.quality, lostAnswerChance: 0 }))
      case 'disk of the vault slow':
        vault.disk.speed = slow
        return soon(6000, () => (vault.disk.speed = quick))
      case 'disk of the vault full':
        vault.disk.capacityBytes = vault.disk.usedBytes + random.integer(0, 2000)
        return soon(10_000, () => (vault.disk.capacityBytes = plenty))
      case 'clock of the agent set':
        agent.wall.us += random.integer(-60, 60) * 1_000_000
        for (const volume of volumes) volume.timeSet()
        return
      case 'clock of the vault set':
        vault.wall.us += random.integer(-60, 60) * 1_000_000
        return
      case 'index thrown away':
        return vault.reindex(random.pick(sources).definition.id)
      case 'old history forgotten':
        return this.#forgetSome(random.pick(sources).definition.id)
      case 'reconciliation':
        return random.pick(sources).reconcile()
      case 'volume server killed':
        return random.pick(volumes).server.end('kill')
      case 'volume server killed at work':
        return random.pick(volumes).server.end('kill', random.skewed(1, 300))
      case 'volume server loses power at work':
        return random.pick(volumes).server.end('power', random.skewed(1, 300))
      case 'volume paused':
        return agent.pause(random.pick(volumes))
      case 'volume marked':
        return random.pick(volumes).mark()
      case 'volume cut off while it heals':
        await this.#somethingHeals(agent, random.pick(volumes))
        return await this.letHappen(random.pick(endings))
      default:
        return kind satisfies never
    }
  }

  /** Within a few milliseconds of an acknowledgement, which is when a promise is easiest broken. */
  async #somethingAcknowledged(): Promise<void> {
    await Promise.race([this.#parts.vault.acknowledging, this.#time.sleep(3000)])
    await this.#time.sleep(this.#random.fraction() * this.#random.pick([0.01, 1, 5]))
  }

  /** What a volume's journal lacks is about to be copied: whatever ends now must begin it again. */
  async #somethingHeals(agent: AgentMachine, volume: SimulatedVolume): Promise<void> {
    agent.pause(volume)
    await Promise.race([volume.healing, this.#time.sleep(healingMsMax)])
    await this.#time.sleep(this.#random.fraction() * this.#random.pick([1, 10, 50]))
  }

  /** Goes on beside everything else. */
  #forgetSome(id: Id): void {
    const { vault, randomPoint } = this.#parts
    if (!vault.isUp || vault.indexed(id) === beforeFirst) return
    const { last } = vault.line(id)
    const before = moment(vault.line(id).momentAt(Math.min(randomPoint(id), last) as Sequence))
    vault.forget(id, before).catch((error: unknown) => {
      const isExpected = ['vault-full', 'interrupted', 'already-running'].some((code) =>
        isCode(error, code as ErrorCode),
      )
      if (!isExpected) this.#time.fail(error)
    })
  }
}
