import type { Alarm } from '../../src/api/console.ts'
import type { SpaceAnswer } from '../../src/api/measures.ts'
import type { SourceStatus } from '../../src/api/schemas.ts'
import type { AgentTold, VaultSeen } from '../../src/console/alarms/seen.ts'
import { isoMoment, type Moment } from '../../src/model/moment.ts'

/** Vaults, sources and agents in good health, as the console sees them; a test says what is otherwise. */

export const startUs = Date.parse('2026-11-23T08:00:00Z') * 1000
export const isoAt = (afterMs: number): string => isoMoment((startUs + afterMs * 1000) as Moment)
export const dayMs = 86_400_000

const idOf = (text: string): string => Buffer.from(text).toString('hex').padEnd(32, '0').slice(0, 32)

export function sourceSeen(name: string, other: Partial<SourceStatus> = {}): SourceStatus {
  return {
    id: idOf(name),
    name,
    kind: 'files',
    agent: { id: idOf('db-1'), name: 'db-1', connected: true },
    paths: ['/srv/data'],
    exclude: [],
    policy: { windowMs: 7 * dayMs, reconcileMs: dayMs, lagMsMax: 5000 },
    state: 'protected',
    lagMs: 300,
    lagBytes: 0,
    dirty: 0,
    sequence: 10,
    moment: isoAt(0),
    covered: isoAt(0),
    indexed: 10,
    earliest: isoAt(-dayMs),
    changesPerSecond: 0,
    bytesPerSecond: 0,
    watching: 'fanotify',
    problems: [],
    verified: { moment: isoAt(-dayMs), point: isoAt(0), good: true, text: '' },
    hole: null,
    ...other,
  }
}

/** What a source looks like whose agent the vault no longer hears. */
export const withoutAgent = (source: SourceStatus): SourceStatus => ({
  ...source,
  state: 'offline',
  agent: { ...source.agent, connected: false },
  problems: [{ code: 'unreachable', message: `agent "${source.agent.name}" is not connected` }],
})

export function vaultSeen(sources: readonly SourceStatus[], other: Partial<VaultSeen> = {}): VaultSeen {
  return {
    id: 'v1',
    name: 'north',
    connected: true,
    told: { stalled: false, freeBytes: 800e9, damage: [], sources },
    agents: [],
    space: spaceSeen(),
    certificateExpires: isoAt(30 * dayMs),
    ...other,
  }
}

export const awayVault = (other: Partial<VaultSeen> = {}): VaultSeen =>
  vaultSeen([], {
    connected: false,
    error: 'connect ECONNREFUSED',
    told: undefined,
    agents: undefined,
    space: undefined,
    ...other,
  })

export const spaceSeen = (other: Partial<SpaceAnswer> = {}): SpaceAnswer => ({
  storedBytes: 200e9,
  indexBytes: 1e9,
  logicalBytes: 900e9,
  freeBytes: 800e9,
  totalBytes: 1000e9,
  days: [],
  growthBytesPerDay: 1e9,
  full: isoAt(800 * dayMs),
  sources: [],
  ...other,
})

export const agentSeen = (name: string, other: Partial<AgentTold> = {}): AgentTold => ({
  id: idOf(name),
  name,
  connected: true,
  revoked: false,
  certificateExpires: isoAt(20 * dayMs),
  ...other,
})

/** The alarm of an agent that is gone, as it is told. */
export const alarmAt = (number: number, other: Partial<Alarm> = {}): Alarm => ({
  id: idOf(`alarm ${number}`),
  number,
  rule: 'agent-gone',
  severity: 'critical',
  vault: 'v1',
  agent: 'db-1',
  values: { agent: 'db-1', vault: 'north', sources: 2 },
  message: 'agent "db-1" is gone',
  hint: 'start it',
  began: isoAt(0),
  ended: null,
  ...other,
})
