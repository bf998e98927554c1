import type { TaskBody } from '../../../../src/api/tasks.ts'
import type { PlacedSource, System } from '../../live/systems.ts'
import { trackKey } from '../../timeline/vault-past.ts'

/** What a person has chosen so far. */
export interface Plan {
  readonly system: string | undefined
  /** By its `trackKey`; undefined: the whole system. */
  readonly source: string | undefined
  readonly paths: readonly string[]
  /** A POINT, of one source also a transaction's; of a system a moment. */
  readonly at: string
  /** Of the agent, by id. */
  readonly agent: string | undefined
  readonly to: string
  readonly isInPlace: boolean
  /** The name that was typed to confirm it. */
  readonly typedName: string
  readonly start: boolean
}

/** What a step shows and changes of the plan. */
export interface StepProps {
  readonly sources: readonly PlacedSource[]
  readonly plan: Plan
  readonly change: (wanted: Partial<Plan>) => void
}

export const chosenSources = (plan: Plan, system: System | undefined): readonly PlacedSource[] =>
  (system?.sources ?? []).filter(
    ({ vault, source }) =>
      source.earliest !== null && (plan.source === undefined || trackKey(vault.id, source.id) === plan.source),
  )

/** Only files know where they came from; a database or a volume is brought back beside itself. */
export const canBeInPlace = (sources: readonly PlacedSource[]): boolean =>
  sources.length === 1 && sources[0]?.source.kind === 'files'

/** What is still lacking before it can be checked. */
export function isPlaced(plan: Plan, sources: readonly PlacedSource[]): boolean {
  if (plan.isInPlace) return canBeInPlace(sources) && plan.typedName === sources[0]?.source.name
  return plan.agent !== undefined && plan.to.startsWith('/') && plan.to.length > 1
}

export interface Order {
  readonly vault: string
  readonly body: Extract<TaskBody, { kind: 'restore' | 'preflight' }>
}

/**
 * One task, or of a system whose sources are in several vaults one for each of these. A vault gives each of several sources a directory
 * of its own name; where only one of several is there, it is named here, so that each comes beside the others.
 */
export function ordersOf(plan: Plan, sources: readonly PlacedSource[], kind: 'restore' | 'preflight'): Order[] {
  const vaults = [...new Set(sources.map(({ vault }) => vault.id))]
  return vaults.flatMap((vault) => {
    const ofVault = sources.filter((one) => one.vault.id === vault)
    const [first] = ofVault
    if (first === undefined) return []
    const { source } = first
    const named =
      plan.source === undefined && ofVault.length > 1 ? { system: plan.system ?? '' } : { source: source.id }
    const isOneOfMany = sources.length > 1 && ofVault.length === 1
    const place = plan.isInPlace
      ? { agent: source.agent.id, to: '/', inPlace: plan.typedName }
      : { agent: plan.agent ?? '', to: isOneOfMany ? `${plan.to.replace(/\/+$/, '')}/${source.name}` : plan.to }
    return [
      {
        vault,
        body: { kind, ...named, at: plan.at, ...place, paths: [...plan.paths], start: plan.start },
      },
    ]
  })
}
