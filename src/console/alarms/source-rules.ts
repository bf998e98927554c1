import type { AlarmRule, Thresholds } from '../../api/console.ts'
import type { SourceState, SourceStatus } from '../../api/schemas.ts'
import { either, not, type Rule, type Verdict } from './rule.ts'
import type { SourceSeen } from './seen.ts'

const secondMs = 1000
const minuteMs = 60 * secondMs
const dayUs = 86_400_000_000

/** A lag that was too large is small enough again below this part of its limit. */
const lagOver = 0.8
/** How long a hole that is over is shown. */
const holeShownUs = dayUs

/** Told by rules of their own, or at the vault or agent that they come from: of these codes there is no `source-problem`. */
const slotCodes = ['wal-kept-early', 'wal-kept-last', 'wal-kept', 'slot-lost', 'volume-log-full'] as const
const toldElsewhere = new Set<string>([...slotCodes, 'unreachable', 'vault-full', 'source-vanished'])
/** The history breaks off, writers wait, or a promise is not kept, now. */
const criticalCodes = new Set([
  'backing-full',
  'database-log-gap',
  'slot-lost',
  'volume-failed',
  'volume-log-full',
  'wal-kept',
  'wal-kept-last',
  'zero-loss-blocked',
  'zero-loss-degraded',
])

/** Nothing is to become durable in these states, or nothing that lag could be measured by. */
const withoutLag: readonly SourceState[] = ['paused', 'retired', 'waiting', 'baseline', 'vanished', 'damaged']

export const sourceRules = {
  'source-stalled': {
    severity: 'critical',
    // An agent that has come back takes up its sources one after the other.
    holdMs: 20 * secondMs,
    overMs: 10 * secondMs,
    judge: ({ told, source: { state, lagMs, agent, name } }) => {
      if (state !== 'stalled' && state !== 'offline') return not
      // A full vault stalls all its sources, an agent that is gone all of its own: told once, of the vault or the agent.
      return told.stalled || !agent.connected ? either : so({ source: name, lagMs: Math.round(lagMs ?? 0) })
    },
  },
  'source-late': {
    severity: 'warning',
    holdMs: 20 * secondMs,
    overMs: 30 * secondMs,
    judge: ({ source }, thresholds) => judgeLag(source, thresholds),
  },
  'source-damaged': {
    severity: 'critical',
    holdMs: 0,
    overMs: 30 * secondMs,
    judge: ({ source: { state, name, problems } }) =>
      state === 'damaged' ? so({ source: name, detail: problems[0]?.message ?? '' }) : not,
  },
  'source-vanished': {
    severity: 'critical',
    holdMs: 10 * secondMs,
    overMs: 10 * secondMs,
    judge: ({ source: { state, name, paths, problems } }) => {
      if (state === 'offline') return either
      if (state !== 'vanished') return not
      const detail = problems.find(({ code }) => code === 'source-vanished')?.message ?? paths.join(', ')
      return so({ source: name, detail })
    },
  },
  // Forgotten, or by somebody who has taken over the server: either way nothing is captured.
  'source-paused': {
    severity: 'warning',
    holdMs: minuteMs,
    overMs: 0,
    judge: ({ source: { state, name } }) => {
      if (state === 'offline') return either
      return state === 'paused' ? so({ source: name }) : not
    },
  },
  'source-problem': {
    severity: 'warning',
    holdMs: minuteMs,
    overMs: minuteMs,
    judge: ({ source: { state, name, problems } }) => {
      if (state === 'offline') return either
      // Of damage the first problem is the damage itself.
      const worth = problems.filter(({ code }, at) => !toldElsewhere.has(code) && !(state === 'damaged' && at === 0))
      const first = worth.find(({ code }) => criticalCodes.has(code)) ?? worth[0]
      if (first === undefined || state === 'retired') return not
      const values = { source: name, code: first.code, detail: first.message, more: worth.length - 1 }
      return {
        ...so(first.hint === undefined ? values : { ...values, next: first.hint }),
        ...(criticalCodes.has(first.code) ? { severity: 'critical' } : {}),
      }
    },
  },
  // It is a fact and does not pass: shown while it lasts, and for a day after.
  'hole': {
    severity: 'critical',
    holdMs: 0,
    overMs: 0,
    judge: ({ source: { name, hole } }, _thresholds, now) => {
      if (hole === null) return not
      if (hole.until !== null && now - Date.parse(hole.until) * 1000 > holeShownUs) return not
      return {
        is: 'so',
        values: { source: name, from: hole.moment, until: hole.until ?? '', reason: hole.reason },
        instance: hole.moment,
      }
    },
  },
  'slot-near-limit': {
    severity: 'warning',
    holdMs: 0,
    overMs: 30 * secondMs,
    judge: ({ source: { state, name, problems } }) => {
      if (state === 'offline') return either
      const found = problems.find(({ code }) => (slotCodes as readonly string[]).includes(code))
      if (found === undefined || state === 'retired') return not
      return {
        ...so({ source: name, code: found.code, detail: found.message }),
        ...(criticalCodes.has(found.code) ? { severity: 'critical' } : {}),
      }
    },
  },
  'verification-failed': {
    severity: 'critical',
    holdMs: 0,
    overMs: 0,
    judge: ({ source: { name, verified } }) => {
      if (verified === null || verified.good) return not
      return {
        is: 'so',
        values: { source: name, at: verified.moment, point: verified.point, detail: verified.text },
        instance: verified.moment,
      }
    },
  },
  'verification-old': {
    severity: 'information',
    holdMs: minuteMs,
    overMs: 0,
    judge: ({ source: { state, name, verified, earliest } }, { verificationDays }, now) => {
      if (state === 'retired' || state === 'waiting') return not
      // What has never been verified is measured from its first recovery point.
      const since = verified?.moment ?? earliest
      if (since === null) return not
      const days = (now - Date.parse(since) * 1000) / dayUs
      if (days <= verificationDays) return not
      return so({ source: name, days: Math.floor(days), ever: verified === null ? 0 : 1 })
    },
  },
} satisfies Partial<Record<AlarmRule, Rule<SourceSeen>>>

function judgeLag({ state, lagMs, name, policy }: SourceStatus, thresholds: Thresholds): Verdict {
  // Worse than late, and told as such; or its agent is gone.
  if (state === 'stalled' || state === 'offline') return either
  if (withoutLag.includes(state) || lagMs === null) return not
  const lagMsMax = thresholds.lagMsMax ?? policy.lagMsMax
  if (lagMs > lagMsMax) return so({ source: name, lagMs: Math.round(lagMs), lagMsMax })
  return lagMs > lagMsMax * lagOver ? either : not
}

const so = (values: Extract<Verdict, { is: 'so' }>['values']): Extract<Verdict, { is: 'so' }> => ({ is: 'so', values })
