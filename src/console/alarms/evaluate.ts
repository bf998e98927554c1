import type { AlarmRule, Severity, Thresholds } from '../../api/console.ts'
import { severities } from '../../api/console.ts'
import type { Moment } from '../../model/moment.ts'
import type { AlarmValues, Rule } from './rule.ts'
import { agentRules, vaultRules } from './rules.ts'
import { agentsOf, systemOf, type VaultSeen } from './seen.ts'
import { sourceRules } from './source-rules.ts'
import type { ThresholdsBySystem } from './thresholds.ts'

/** What an alarm is about. There is one at a time of a rule and what it is about. */
export interface About {
  readonly rule: AlarmRule
  readonly vault: string
  readonly agent?: string
  readonly source?: string
  readonly system?: string
  /** Of the agent or source. */
  readonly subject?: string
}

export interface OpenAlarm {
  readonly about: About
  readonly severity: Severity
  readonly values: AlarmValues
  readonly instance?: string | undefined
}

/** What is remembered of one rule and what it is about; nothing where neither a time runs nor an alarm is open. */
interface Memory {
  readonly open?: OpenAlarm
  /** Told to whoever shows it, by the monotonic clock. */
  readonly toldMs?: number
  /** Without a break since then; by the monotonic clock. */
  readonly soSinceMs?: number
  readonly notSinceMs?: number
}

export type AlarmState = ReadonlyMap<string, Memory>

export type AlarmChange =
  | { readonly kind: 'raised'; readonly key: string; readonly alarm: OpenAlarm }
  | { readonly kind: 'changed'; readonly key: string; readonly alarm: OpenAlarm; readonly isWorse: boolean }
  | { readonly kind: 'resolved'; readonly key: string }

export interface World {
  readonly vaults: readonly VaultSeen[]
  readonly thresholds: ThresholdsBySystem
}

export interface Now {
  readonly moment: Moment
  readonly monotonicMs: number
}

/** Figures of an open alarm move all the time, and are told so often. */
const toldAgainMs = 60_000

/** The state of a console that starts: it remembers what is open, and no times. */
export const stateFrom = (open: readonly OpenAlarm[]): AlarmState =>
  new Map(open.map((alarm) => [keyOf(alarm.about), { open: alarm }]))

export const keyOf = ({ rule, vault, agent, source, subject }: About): string =>
  [rule, vault, source === undefined ? (agent === undefined ? 'vault' : 'agent') : 'source', subject ?? ''].join('/')

/** What the world as it is now makes of the alarms. Nothing is decided by anything but the parameters. */
export function evaluate(
  state: AlarmState,
  { vaults, thresholds }: World,
  now: Now,
): { readonly state: AlarmState; readonly changes: readonly AlarmChange[] } {
  const next = new Map<string, Memory>()
  const changes: AlarmChange[] = []

  const apply = <Subject>(
    rules: Partial<Record<AlarmRule, Rule<Subject>>>,
    subject: Subject,
    limits: Thresholds,
    of: Omit<About, 'rule'>,
  ): void => {
    for (const rule of Object.keys(rules) as AlarmRule[]) {
      const about = { ...of, rule }
      const key = keyOf(about)
      const one = step(state.get(key) ?? {}, rules[rule] as Rule<Subject>, { subject, limits, about, key, now })
      changes.push(...one.changes)
      next.set(key, one.memory)
    }
  }

  for (const vault of vaults) {
    const { id, told } = vault
    apply(vaultRules, vault, thresholds.everything, { vault: id })
    if (told === undefined) continue
    for (const agent of agentsOf(vault, told)) {
      const systems = [...new Set(agent.sources.map(systemOf))]
      const [system] = systems
      const about = { vault: id, agent: agent.name, subject: agent.id }
      // Of a server of one system the alarm is one of that system.
      const of = systems.length === 1 && system !== undefined ? { ...about, system } : about
      apply(agentRules, agent, thresholds.strictest(systems), of)
    }
    for (const source of told.sources) {
      const system = systemOf(source)
      const { name, agent } = source
      const about = { vault: id, source: name, agent: agent.name, system, subject: source.id }
      apply(sourceRules, { vault, told, source }, thresholds.of(system), about)
    }
  }

  const seen = new Map(vaults.map((vault) => [vault.id, vault]))
  for (const [key, memory] of state) {
    if (next.has(key) || memory.open === undefined) continue
    if (isGone(memory.open.about, seen.get(memory.open.about.vault))) changes.push({ kind: 'resolved', key })
    else next.set(key, { open: memory.open })
  }
  for (const [key, { open, soSinceMs }] of next) if (open === undefined && soSinceMs === undefined) next.delete(key)
  return { state: next, changes }
}

interface Judged<Subject> {
  readonly subject: Subject
  readonly limits: Thresholds
  readonly about: About
  readonly key: string
  readonly now: Now
}

function step<Subject>(
  memory: Memory,
  rule: Rule<Subject>,
  { subject, limits, about, key, now }: Judged<Subject>,
): { readonly memory: Memory; readonly changes: readonly AlarmChange[] } {
  const { open, toldMs } = memory
  const verdict = rule.judge(subject, limits, now.moment)
  const nowMs = now.monotonicMs
  const resolved: AlarmChange = { kind: 'resolved', key }
  if (verdict.is === 'either') return { memory: open === undefined ? {} : { open, ...told(toldMs) }, changes: [] }
  if (verdict.is === 'not') {
    if (open === undefined) return { memory: {}, changes: [] }
    const notSinceMs = memory.notSinceMs ?? nowMs
    if (nowMs - notSinceMs >= rule.overMs) return { memory: {}, changes: [resolved] }
    return { memory: { open, notSinceMs, ...told(toldMs) }, changes: [] }
  }
  const { values, severity = rule.severity, instance } = verdict
  const alarm: OpenAlarm = { about, severity, values, instance }
  if (open === undefined || open.instance !== instance) {
    const soSinceMs = memory.soSinceMs ?? nowMs
    const holdMs = typeof rule.holdMs === 'number' ? rule.holdMs : rule.holdMs(limits)
    if (nowMs - soSinceMs < holdMs) return { memory: { ...(open && { open }), soSinceMs }, changes: [] }
    const raised: AlarmChange = { kind: 'raised', key, alarm }
    return { memory: { open: alarm, toldMs: nowMs }, changes: open === undefined ? [raised] : [resolved, raised] }
  }
  const isWorse = severities.indexOf(severity) < severities.indexOf(open.severity)
  const isDue = toldMs === undefined || nowMs - toldMs >= toldAgainMs
  if (!isWorse && !(isDue && isOther(open, alarm))) return { memory: { open, ...told(toldMs) }, changes: [] }
  return { memory: { open: alarm, toldMs: nowMs }, changes: [{ kind: 'changed', key, alarm, isWorse }] }
}

const told = (toldMs: number | undefined): Pick<Memory, 'toldMs'> => (toldMs === undefined ? {} : { toldMs })

const isOther = (one: OpenAlarm, other: OpenAlarm): boolean =>
  one.severity !== other.severity || JSON.stringify(one.values) !== JSON.stringify(other.values)

/** What an alarm was about is no longer there, and that is known. */
function isGone({ agent, source }: About, vault: VaultSeen | undefined): boolean {
  if (vault === undefined) return true
  if (vault.told === undefined) return false
  // Agents without sources are told by the list of agents alone.
  return source !== undefined || agent === undefined || vault.agents !== undefined
}
