import type { Alarm, LiveEvent, VaultEntry } from '../../../src/api/console.ts'
import type { SourceStatus, VaultStatus } from '../../../src/api/schemas.ts'

/** All that is live, as last told. A vault that is away keeps what it told last; its entry says since when it is away. */
export interface LiveState {
  /** Whether what is here is how things are now. */
  readonly connection: Connection
  /** What the console's clock is ahead of this browser's, in milliseconds. */
  readonly clockAheadMs: number
  readonly vaults: ReadonlyMap<string, LiveVault>
  readonly alarms: ReadonlyMap<string, Alarm>
}

export type Connection =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'lost'; readonly sinceMs: number }

export interface LiveVault {
  readonly entry: VaultEntry
  /** Null until it has told for the first time. */
  readonly status: Omit<VaultStatus, 'sources'> | null
  readonly sources: ReadonlyMap<string, SourceStatus>
}

export const nothingYet: LiveState = {
  connection: { kind: 'connecting' },
  clockAheadMs: 0,
  vaults: new Map(),
  alarms: new Map(),
}

/** Resolved alarms that are kept beside the open ones; the page of alarms asks for more. */
export const resolvedAlarmsMax = 50

/** The state after `events`, which came at `nowMs`. */
export function apply(state: LiveState, events: readonly LiveEvent[], nowMs: number): LiveState {
  const vaults = new Map(state.vaults)
  // Copied once for all events that came together: a busy vault tells of hundreds of sources at a time.
  const copies = new Map<string, Map<string, SourceStatus>>()
  let alarms = new Map(state.alarms)
  let clockAheadMs = state.clockAheadMs
  for (const event of events) {
    switch (event.kind) {
      case 'hello': {
        clockAheadMs = Date.parse(event.now) - nowMs
        const known = new Set(event.vaults.map(({ id }) => id))
        for (const id of vaults.keys()) if (!known.has(id)) vaults.delete(id)
        for (const entry of event.vaults) vaults.set(entry.id, withEntry(vaults.get(entry.id), entry))
        alarms = new Map(event.alarms.map((alarm) => [alarm.id, alarm]))
        break
      }
      case 'heartbeat':
        clockAheadMs = Date.parse(event.now) - nowMs
        break
      case 'connection':
        vaults.set(event.entry.id, withEntry(vaults.get(event.entry.id), event.entry))
        break
      case 'vault-removed':
        vaults.delete(event.vault)
        break
      case 'alarm':
        alarms.delete(event.alarm.id)
        alarms.set(event.alarm.id, event.alarm)
        break
      case 'vault': {
        const vault = vaults.get(event.vault)
        if (vault === undefined) break
        if (event.event.kind === 'vault') copies.delete(event.vault)
        const copied = copies.get(event.vault)
        const sources = (): Map<string, SourceStatus> => {
          const copy = copied ?? new Map(vault.sources)
          copies.set(event.vault, copy)
          return copy
        }
        vaults.set(event.vault, withVaultEvent(vault, event.event, sources))
        break
      }
    }
  }
  return { connection: { kind: 'live' }, clockAheadMs, vaults, alarms: withoutOldest(alarms) }
}

function withEntry(vault: LiveVault | undefined, entry: VaultEntry): LiveVault {
  return { status: null, sources: new Map(), ...vault, entry }
}

/** `ownSources` gives the vault's sources as a copy that may be changed. */
function withVaultEvent(
  vault: LiveVault,
  event: (LiveEvent & { kind: 'vault' })['event'],
  ownSources: () => Map<string, SourceStatus>,
): LiveVault {
  switch (event.kind) {
    case 'vault': {
      const { sources, ...status } = event.vault
      return { ...vault, status, sources: new Map(sources.map((source) => [source.id, source])) }
    }
    case 'source':
      return { ...vault, sources: ownSources().set(event.source.id, event.source) }
    case 'source-gone': {
      const sources = ownSources()
      sources.delete(event.id)
      return { ...vault, sources }
    }
    case 'space': {
      if (vault.status === null) return vault
      const { now, stalled, freeBytes, storedBytes } = event
      return { ...vault, status: { ...vault.status, now, stalled, freeBytes, storedBytes } }
    }
    case 'agents':
    case 'task':
    case 'heartbeat':
      return vault
  }
}

function withoutOldest(alarms: ReadonlyMap<string, Alarm>): ReadonlyMap<string, Alarm> {
  const resolved = [...alarms.values()].filter(({ ended }) => ended !== null)
  if (resolved.length <= resolvedAlarmsMax) return alarms
  const oldest = resolved
    .toSorted((one, other) => ((one.ended ?? '') < (other.ended ?? '') ? -1 : 1))
    .slice(0, resolved.length - resolvedAlarmsMax)
  const kept = new Map(alarms)
  for (const { id } of oldest) kept.delete(id)
  return kept
}
