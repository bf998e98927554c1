import type { VaultEntry } from '../../../src/api/console.ts'
import type { SourceState, SourceStatus } from '../../../src/api/schemas.ts'
import { rankOf, worstOf } from '../shell/source-states.ts'
import type { LiveState } from './state.ts'

/** What makes up one business system: all sources of that name, of every vault; a source without one is a system of its own name. */
export interface System {
  readonly name: string
  readonly sources: readonly PlacedSource[]
  /** The worst of its sources'. */
  readonly state: SourceState
  /** Of the source that is furthest behind; null where none is known. */
  readonly lagMs: number | null
}

export interface PlacedSource {
  readonly vault: VaultEntry
  readonly source: SourceStatus
}

/** Worst first, then by name. */
export function systemsOf({ vaults }: Pick<LiveState, 'vaults'>): System[] {
  const sources = new Map<string, PlacedSource[]>()
  for (const { entry, sources: ofVault } of vaults.values())
    for (const source of ofVault.values()) {
      if (source.state === 'retired') continue
      const name = source.system ?? source.name
      const placed = sources.get(name)
      if (placed === undefined) sources.set(name, [{ vault: entry, source }])
      else placed.push({ vault: entry, source })
    }
  return [...sources]
    .map(([name, placed]) => ({
      name,
      sources: placed.toSorted((one, other) => one.source.name.localeCompare(other.source.name)),
      state: worstOf(placed.map(({ source }) => source.state)),
      lagMs: largest(placed.map(({ source }) => source.lagMs)),
    }))
    .toSorted((one, other) => rankOf(one.state) - rankOf(other.state) || one.name.localeCompare(other.name))
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : Math.max(...known)
}
