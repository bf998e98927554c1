import type { z } from 'zod'
import type { SpaceAnswer } from '../../api/measures.ts'
import type { isoMoment, SourceStatus } from '../../api/schemas.ts'

type IsoMoment = z.infer<typeof isoMoment>

/**
 * What is known of one vault at an instant; alarms are judged by nothing else. What is undefined is not known (yet, or any
 * more): then nothing is raised and nothing ends by it.
 */
export interface VaultSeen {
  /** As the console knows it: `vaultEntry.id`. */
  readonly id: string
  readonly name: string
  readonly connected: boolean
  /** Why it is away. */
  readonly error?: string | undefined
  /** What it has told of itself since it was connected. */
  readonly told: VaultTold | undefined
  readonly agents: readonly AgentTold[] | undefined
  readonly space: SpaceAnswer | undefined
  /** Of the certificate that the console shows this vault. */
  readonly certificateExpires: IsoMoment | undefined
}

/** A vault of an older version does not tell when a certificate ends. */
export interface AgentTold {
  readonly id: string
  readonly name: string
  readonly connected: boolean
  readonly revoked: boolean
  readonly certificateExpires?: IsoMoment | null | undefined
}

export interface VaultTold {
  readonly stalled: boolean
  readonly freeBytes: number
  readonly damage: readonly string[]
  readonly sources: readonly SourceStatus[]
}

export interface SourceSeen {
  readonly vault: VaultSeen
  readonly told: VaultTold
  readonly source: SourceStatus
}

export interface AgentSeen {
  readonly vault: VaultSeen
  readonly id: string
  readonly name: string
  readonly connected: boolean
  /** It protects them, now or after a pause. */
  readonly sources: readonly SourceStatus[]
  readonly details: AgentTold | undefined
}

/** A source without a system is a system of its own name. */
export const systemOf = ({ system, name }: Pick<SourceStatus, 'system' | 'name'>): string => system ?? name

export function agentsOf(vault: VaultSeen, told: VaultTold): AgentSeen[] {
  const bySource = Map.groupBy(
    told.sources.filter(({ state }) => state !== 'retired'),
    ({ agent }) => agent.id,
  )
  const details = new Map(vault.agents?.map((one) => [one.id, one]))
  return [...new Set([...bySource.keys(), ...details.keys()])].flatMap((id) => {
    const sources = bySource.get(id) ?? []
    const one = details.get(id)
    const about = sources[0]?.agent ?? one
    if (about === undefined) return []
    return [{ vault, id, name: about.name, connected: about.connected, sources, details: one }]
  })
}
