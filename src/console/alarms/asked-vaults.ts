import { z } from 'zod'
import { type SpaceAnswer, spaceAnswer } from '../../api/measures.ts'
import { agentRecord, isoMoment } from '../../api/schemas.ts'
import type { Clock } from '../../base/clock.ts'
import { isoMoment as isoOf } from '../../model/moment.ts'
import type { KnownVault } from '../known-vault.ts'
import type { AgentTold, VaultSeen } from './seen.ts'

/** An older vault tells its agents without their certificates. */
const agentsAnswer = z.array(agentRecord.extend({ certificateExpires: isoMoment.nullish() }))

const askAgainMs = 600_000
/** After an answer that did not come. */
const askSoonMs = 60_000

interface Asked {
  agents: readonly AgentTold[] | undefined
  space: SpaceAnswer | undefined
  dueMs: number
  isUnderWay: boolean
}

/** What vaults do not tell by themselves, asked now and then, and forgotten when one goes away. */
export class AskedVaults {
  readonly #clock: Clock
  readonly #byVault = new Map<string, Asked>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  seen(vault: KnownVault): VaultSeen {
    const { id, name, connected, error } = vault.entry
    const asked = connected ? this.#byVault.get(id) : undefined
    return {
      id,
      name,
      connected,
      error,
      told: vault.told,
      agents: asked?.agents,
      space: asked?.space,
      certificateExpires: isoOf(vault.certificateExpires),
    }
  }

  /** The list of agents of this vault is another. */
  agentsChanged(vault: string): void {
    const asked = this.#byVault.get(vault)
    if (asked !== undefined) asked.dueMs = Math.min(asked.dueMs, this.#clock.monotonicMs())
  }

  /** Asks those that are due, and waits for none of them. */
  ask(vaults: readonly KnownVault[]): void {
    const present = new Set(vaults.filter(({ told }) => told !== undefined).map(({ record }) => record.id as string))
    for (const id of this.#byVault.keys()) if (!present.has(id)) this.#byVault.delete(id)
    for (const vault of vaults) {
      if (!present.has(vault.record.id)) continue
      const asked = this.#byVault.get(vault.record.id) ?? {
        agents: undefined,
        space: undefined,
        dueMs: 0,
        isUnderWay: false,
      }
      this.#byVault.set(vault.record.id, asked)
      if (asked.isUnderWay || this.#clock.monotonicMs() < asked.dueMs) continue
      void this.#askOne(vault, asked)
    }
  }

  /** What is not answered stays unknown, so that nothing is raised by it; that a vault is away is told elsewhere. */
  async #askOne({ client }: KnownVault, asked: Asked): Promise<void> {
    asked.isUnderWay = true
    // A change that is told from here on may not be in the answer.
    asked.dueMs = Infinity
    const answers = await Promise.allSettled([
      client.json('GET', '/v1/agents', agentsAnswer),
      client.json('GET', '/v1/space', spaceAnswer),
    ])
    const [agents, space] = answers
    if (agents.status === 'fulfilled') asked.agents = agents.value
    if (space.status === 'fulfilled') asked.space = space.value
    const isWhole = answers.every(({ status }) => status === 'fulfilled')
    asked.dueMs = Math.min(asked.dueMs, this.#clock.monotonicMs() + (isWhole ? askAgainMs : askSoonMs))
    asked.isUnderWay = false
  }
}
