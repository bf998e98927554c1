import type { VaultEntry } from '../../../src/api/console.ts'
import type { SourceStatus } from '../../../src/api/schemas.ts'
import { rankOf, type ShownState, toneOf, worstOf } from '../shell/source-states.ts'
import type { LiveState } from './state.ts'

/** What makes up one business system: all sources of that name, of every vault; a source without one is a system of its own name. */
export interface System {
  readonly name: string
  readonly sources: readonly PlacedSource[]
  /** The worst of its sources'. */
  readonly state: ShownState
  /** Of the source that is furthest behind; null where none is known. */
  readonly lagMs: number | null
  readonly bytesPerSecond: number
  /** A source has no good verification of the last days. */
  readonly isUnproven: boolean
}

export interface PlacedSource {
  readonly vault: VaultEntry
  readonly source: SourceStatus
}

/** A verification that is older proves nothing: what the console raises an alarm about where nothing else is set. */
const provenMs = 35 * 86_400_000

/** What a source is in as far as this console can know. */
export const shownState = ({ vault, source }: PlacedSource): ShownState => (vault.connected ? source.state : 'unknown')

/** Worst first, then by name. */
export function systemsOf({ vaults }: Pick<LiveState, 'vaults'>, nowMs: number): System[] {
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
    .map(([name, placed]) => systemOf(name, placed, nowMs))
    .toSorted((one, other) => rankOf(one.state) - rankOf(other.state) || inOrder(one.name, other.name))
}

/** `web 9` before `web 10`, in the order of the browser's language. */
const inOrder = new Intl.Collator(undefined, { numeric: true }).compare

function systemOf(name: string, placed: readonly PlacedSource[], nowMs: number): System {
  const lags = placed.flatMap(({ source }) => source.lagMs ?? [])
  return {
    name,
    sources: placed.toSorted((one, other) => one.source.name.localeCompare(other.source.name)),
    state: worstOf(placed.map(shownState)),
    lagMs: lags.length === 0 ? null : Math.max(...lags),
    bytesPerSecond: placed.reduce((sum, { source }) => sum + source.bytesPerSecond, 0),
    isUnproven: placed.some(({ source }) => !isProven(source, nowMs)),
  }
}

function isProven({ verified }: SourceStatus, nowMs: number): boolean {
  return verified !== null && verified.good && nowMs - Date.parse(verified.moment) <= provenMs
}

/** In how many systems there is what; each system counts once among the first four. */
export interface Counts {
  readonly all: number
  readonly protected: number
  readonly late: number
  readonly stalled: number
  /** Being set up, compared, or paused. */
  readonly underway: number
  readonly unproven: number
}

export type Group = Exclude<keyof Counts, 'all'>

export function countSystems(systems: readonly System[]): Counts {
  const count = (group: Group): number => systems.filter((system) => isIn(system, group)).length
  return {
    all: systems.length,
    protected: count('protected'),
    late: count('late'),
    stalled: count('stalled'),
    underway: count('underway'),
    unproven: count('unproven'),
  }
}

export function isIn({ state, isUnproven }: System, group: Group): boolean {
  const tone = toneOf(state)
  switch (group) {
    case 'protected':
      return tone === 'good'
    case 'late':
      return tone === 'late'
    case 'stalled':
      return tone === 'bad' || tone === 'away'
    case 'underway':
      return tone === 'working' || tone === 'idle'
    case 'unproven':
      return isUnproven
  }
}
