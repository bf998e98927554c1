import type { ChunkId } from '../../src/model/change.ts'
import { defaultPolicy } from '../../src/model/source.ts'
import { type AgentLimits, AgentMachine } from './agent-machine.ts'
import type { Wall } from './clock.ts'
import type { Machinery } from './machinery.ts'
import { History } from './oracle.ts'
import type { Seeded } from './random.ts'
import { SimulatedSource } from './source.ts'
import { VaultMachine } from './vault-machine.ts'
import { SimulatedVolume, volumeShape } from './volume/volume.ts'

/** What is protected in a world. */
export type WorldKind = 'files' | 'volumes'

/** What a volume writes is so much more than what files do. */
const volumeScale = 20
/** Each point of a volume is read as a whole. */
const cachedOfVolumes = 16 * 1024 ** 2

export function newVault(machinery: Machinery, random: Seeded, kind: WorldKind): VaultMachine {
  const scale = kind === 'volumes' ? volumeScale : 1
  return new VaultMachine('vault', machinery, {
    segmentBytes: random.skewed(600, 30_000) * scale,
    segmentAgeMs: random.skewed(1000, 100_000),
    packBytes: random.skewed(800, 30_000) * scale,
    waitingBytesMax: random.skewed(4000, 200_000) * scale,
    blockCacheBytes: kind === 'volumes' ? cachedOfVolumes : random.skewed(1, 100_000),
    reserveBytes: 0,
    // What a session was told is kept for as long as it lasts, and no longer: collections have something to free.
    touchedKeptMs: 0,
  })
}

export interface Building {
  readonly machinery: Machinery
  readonly random: Seeded
  readonly vault: VaultMachine
}

/** One or two servers with files. */
export async function serversWithFiles({ machinery, random, vault }: Building): Promise<AgentMachine[]> {
  const { time, trace } = machinery
  const agents: AgentMachine[] = []
  for (let count = random.integer(1, 2); count > 0; count--) {
    const name = `agent-${count}`
    const agent = await vault.addAgent(name)
    const sources: SimulatedSource[] = []
    const chunksSent = new Set<ChunkId>()
    for (let each = random.integer(1, 3 - count); each > 0; each--) {
      const label = `files-${count}-${each}`
      const history = new History(label, chunksSent)
      const definition = await vault.addSource(
        { name: label, kind: 'files', agent, paths: ['/'], exclude: [], policy: defaultPolicy, paused: false },
        history,
      )
      sources.push(new SimulatedSource(definition, history, random, trace, (error) => time.fail(error)))
    }
    agents.push(new AgentMachine(name, machinery, { vault, sources, limits: agentLimits(random) }))
  }
  return agents
}

/** One server with a volume or two, which are served on it too. */
export async function serverWithVolumes({
  machinery,
  random,
  vault,
}: Building): Promise<{ readonly machine: AgentMachine; readonly volumes: readonly SimulatedVolume[] }> {
  const name = 'agent'
  const agent = await vault.addAgent(name)
  const chunksSent = new Set<ChunkId>()
  const wall: Wall = { us: 1_700_000_000_000_000 }
  const volumes: SimulatedVolume[] = []
  for (let count = random.pick([1, 1, 2]); count > 0; count--) {
    const label = `volume-${count}`
    const history = new History(label, chunksSent)
    const shape = volumeShape(random)
    const told = { kind: 'volume', paths: [], exclude: [], volume: shape.settings, policy: defaultPolicy } as const
    const definition = await vault.addSource({ ...told, name: label, agent, paused: false }, history)
    volumes.push(new SimulatedVolume(definition, history, shape, machinery, wall))
  }
  const limits = agentLimits(random, volumeScale)
  return { machine: new AgentMachine(name, machinery, { vault, sources: volumes, limits, wall }), volumes }
}

const agentLimits = (random: Seeded, scale = 1): AgentLimits => ({
  spoolBytesMax: random.skewed(2000, 500_000) * scale,
  memoryBytesMax: random.skewed(1000, 200_000) * scale,
})
