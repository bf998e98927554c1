import type { AlarmRule } from '../../api/console.ts'
import type { Moment } from '../../model/moment.ts'
import { either, not, type Rule, type Verdict } from './rule.ts'
import type { AgentSeen, VaultSeen } from './seen.ts'

/**
 * The table of alarms of vaults and agents; source-rules.ts has those of sources. What is told of each to a person stands in
 * src/console/language. docs/operate/console.md lists them for the operator.
 */

const secondMs = 1000
const minuteMs = 60 * secondMs
const dayUs = 86_400_000_000

/** Below this part of its size a vault is filling, however slowly it grows. */
const freePartMin = 0.05
/** Days left at which what ends by itself is critical. */
const criticalDays = 2
/** A limit of days that was crossed is left behind by this part only. */
const leftBehind = 1.2

export const vaultRules = {
  // The console notices a broken connection by itself; a vault that is restarted is back within this time.
  'vault-away': {
    severity: 'critical',
    holdMs: 20 * secondMs,
    overMs: 5 * secondMs,
    judge: ({ name, connected, error = '' }) => (connected ? not : { is: 'so', values: { vault: name, error } }),
  },
  'vault-full': {
    severity: 'critical',
    holdMs: 5 * secondMs,
    overMs: 30 * secondMs,
    judge: whenTold(({ name }, { stalled, freeBytes }) =>
      stalled ? { is: 'so', values: { vault: name, freeBytes } } : not,
    ),
  },
  'vault-damaged': {
    severity: 'critical',
    holdMs: 0,
    overMs: 30 * secondMs,
    judge: whenTold(({ name }, { damage }) =>
      damage.length > 0 ? { is: 'so', values: { vault: name, count: damage.length, detail: damage[0] ?? '' } } : not,
    ),
  },
  'vault-fills': {
    severity: 'warning',
    holdMs: minuteMs,
    overMs: 10 * minuteMs,
    judge: ({ name, told, space }, { fullDays }, now) => {
      // That it is full already is told by another rule.
      if (told === undefined || space === undefined || told.stalled) return either
      const freePart = space.totalBytes > 0 ? told.freeBytes / space.totalBytes : 1
      const days = space.full === null ? Infinity : daysUntil(space.full, now)
      if (days <= fullDays || freePart < freePartMin) {
        return {
          is: 'so',
          ...(days <= criticalDays ? { severity: 'critical' } : {}),
          values: {
            vault: name,
            freeBytes: told.freeBytes,
            freePercent: Math.floor(freePart * 100),
            ...(Number.isFinite(days) ? { days: Math.max(0, Math.floor(days)) } : {}),
          },
        }
      }
      return days <= fullDays * leftBehind || freePart < freePartMin * leftBehind ? either : not
    },
  },
  'certificate-ends': {
    severity: 'warning',
    holdMs: 0,
    overMs: minuteMs,
    judge: ({ name, certificateExpires }, { certificateDays }, now) =>
      judgeCertificate(certificateExpires, certificateDays, now, { vault: name }),
  },
} satisfies Partial<Record<AlarmRule, Rule<VaultSeen>>>

export const agentRules = {
  // A vault notices within 10 s that an agent says nothing more.
  'agent-gone': {
    severity: 'critical',
    holdMs: ({ agentGoneMs }) => agentGoneMs,
    overMs: 5 * secondMs,
    judge: ({ vault, name, connected, sources, details }) =>
      connected || sources.length === 0 || details?.revoked === true
        ? not
        : { is: 'so', values: { agent: name, vault: vault.name, sources: sources.length } },
  },
  'certificate-ends': {
    severity: 'warning',
    holdMs: 0,
    overMs: minuteMs,
    judge: ({ vault, name, details }, { certificateDays }, now) =>
      details?.revoked === true
        ? not
        : judgeCertificate(details?.certificateExpires, certificateDays, now, { vault: vault.name, agent: name }),
  },
} satisfies Partial<Record<AlarmRule, Rule<AgentSeen>>>

function whenTold(
  judge: (vault: VaultSeen, told: NonNullable<VaultSeen['told']>) => Verdict,
): Rule<VaultSeen>['judge'] {
  return (vault) => (vault.told === undefined ? either : judge(vault, vault.told))
}

function judgeCertificate(
  expires: string | null | undefined,
  certificateDays: number,
  now: Moment,
  whose: Record<string, string>,
): Verdict {
  if (expires === undefined || expires === null) return either
  const days = daysUntil(expires, now)
  if (days > certificateDays) return not
  return {
    is: 'so',
    ...(days <= criticalDays ? { severity: 'critical' } : {}),
    values: { ...whose, days: Math.max(0, Math.floor(days)), until: expires },
  }
}

const daysUntil = (iso: string, now: Moment): number => (Date.parse(iso) * 1000 - now) / dayUs
