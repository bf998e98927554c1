import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  agentSeen,
  awayVault,
  dayMs,
  isoAt,
  sourceSeen,
  spaceSeen,
  startUs,
  vaultSeen,
  withoutAgent,
} from '../../../test/support/vault-seen.ts'
import { type AlarmRule, alarmRules, type Thresholds } from '../../api/console.ts'
import type { SourceStatus } from '../../api/schemas.ts'
import type { Moment } from '../../model/moment.ts'
import { type AlarmState, evaluate, type OpenAlarm, stateFrom } from './evaluate.ts'
import { agentRules, vaultRules } from './rules.ts'
import type { VaultSeen } from './seen.ts'
import { sourceRules } from './source-rules.ts'
import { defaultThresholds, ThresholdsBySystem } from './thresholds.ts'

/** A console for which time passes as the test says. It is looked at once a second. */
class Watch {
  #state: AlarmState
  #ms = 0
  readonly #thresholds: ThresholdsBySystem
  readonly told: string[] = []

  constructor(open: readonly OpenAlarm[] = [], thresholds: readonly Thresholds[] = []) {
    this.#state = stateFrom(open)
    this.#thresholds = new ThresholdsBySystem(thresholds)
  }

  /** What was raised, changed and resolved while the world looked so for this long. */
  see(vaults: VaultSeen | readonly VaultSeen[], ms = 0): string[] {
    const before = this.told.length
    for (const end = this.#ms + ms; ; this.#ms += 1000) {
      const world = { vaults: [vaults].flat() as readonly VaultSeen[], thresholds: this.#thresholds }
      const now = { moment: (startUs + this.#ms * 1000) as Moment, monotonicMs: this.#ms }
      const { state, changes } = evaluate(this.#state, world, now)
      this.#state = state
      for (const change of changes) {
        const severity = change.kind === 'resolved' ? '' : ` ${change.alarm.severity}`
        this.told.push(`${change.kind} ${change.key.replace(/(?<=\/)([0-9a-f]{32})$/, nameOf)}${severity}`)
      }
      if (this.#ms >= end) break
    }
    return this.told.slice(before)
  }

  get open(): OpenAlarm[] {
    return [...this.#state.values()].flatMap(({ open }) => open ?? [])
  }
}

const nameOf = (id: string): string => Buffer.from(id, 'hex').toString().replaceAll('\0', '')
const minute = 60_000

test('every kind of alarm has its rule', () => {
  const ruled = [vaultRules, agentRules, sourceRules].flatMap((rules) => Object.keys(rules) as AlarmRule[])
  assert.deepEqual([...new Set(ruled)].toSorted(), [...alarmRules].toSorted())
})

test('of a healthy world nothing is raised', () => {
  const watch = new Watch()
  const healthy = vaultSeen([sourceSeen('erp'), sourceSeen('hr')], { agents: [agentSeen('db-1')] })
  assert.deepEqual(watch.see(healthy, 10 * minute), [])
})

test('a stopped agent is told within a minute, once for all its sources, and resolved when it is back', () => {
  const watch = new Watch()
  const sources = [sourceSeen('erp'), sourceSeen('hr'), sourceSeen('mail')]
  watch.see(vaultSeen(sources), minute)
  const gone = vaultSeen(sources.map(withoutAgent))
  assert.deepEqual(watch.see(gone, 50_000), ['raised agent-gone/v1/agent/db-1 critical'])
  assert.deepEqual(watch.see(gone, 10 * minute), [])
  assert.deepEqual(watch.see(vaultSeen(sources), 10_000), ['resolved agent-gone/v1/agent/db-1'])
})

test('an agent that is restarted raises nothing', () => {
  const watch = new Watch()
  const sources = [sourceSeen('erp')]
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(watch.see(vaultSeen(sources.map(withoutAgent)), 15_000), [])
    assert.deepEqual(watch.see(vaultSeen(sources), 3000), [])
  }
})

test('while a vault is away nothing of it is raised or resolved but that it is away', () => {
  const watch = new Watch()
  const late = sourceSeen('erp', { state: 'late', lagMs: 20_000 })
  assert.deepEqual(watch.see(vaultSeen([late, sourceSeen('hr')]), minute), ['raised source-late/v1/source/erp warning'])
  assert.deepEqual(watch.see(awayVault(), 30 * minute), ['raised vault-away/v1/vault/ critical'])
  // It is there, and has told nothing yet.
  assert.deepEqual(watch.see(awayVault({ connected: true }), 2000), [])
  assert.deepEqual(watch.see(vaultSeen([late, sourceSeen('hr')]), 10_000), ['resolved vault-away/v1/vault/'])
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('erp'), sourceSeen('hr')]), minute), [
    'resolved source-late/v1/source/erp',
  ])
})

test('a time that ran when the vault went away begins anew when it is back', () => {
  const watch = new Watch()
  const gone = vaultSeen([withoutAgent(sourceSeen('erp'))])
  assert.deepEqual(watch.see(gone, 15_000), [])
  assert.deepEqual(watch.see(awayVault(), 10_000), [])
  assert.deepEqual(watch.see(gone, 15_000), [])
  assert.deepEqual(watch.see(gone, 10_000), ['raised agent-gone/v1/agent/db-1 critical'])
})

test('a console that starts raises nothing before it can know, and goes on with what was open', () => {
  const first = new Watch()
  first.see(vaultSeen([withoutAgent(sourceSeen('erp'))]), minute)
  const [gone] = first.open
  assert.equal(gone?.about.rule, 'agent-gone')
  const next = new Watch([gone])
  assert.deepEqual(next.see(awayVault(), 15_000), [])
  assert.deepEqual(next.see(vaultSeen([withoutAgent(sourceSeen('erp'))]), minute), [])
  assert.deepEqual(next.see(vaultSeen([sourceSeen('erp')]), 10_000), ['resolved agent-gone/v1/agent/db-1'])
})

test('a lag that goes to and fro around its limit is raised once', () => {
  const watch = new Watch()
  const lag = (lagMs: number): VaultSeen =>
    vaultSeen([sourceSeen('erp', { lagMs, state: lagMs > 5000 ? 'late' : 'protected' })])
  assert.deepEqual(watch.see(lag(6000), 19_000), [])
  assert.deepEqual(watch.see(lag(4500), 1000), [])
  assert.deepEqual(watch.see(lag(6000), 30_000), ['raised source-late/v1/source/erp warning'])
  for (const lagMs of [4900, 5100, 4500, 7000, 4200]) assert.deepEqual(watch.see(lag(lagMs), 10_000), [])
  assert.deepEqual(watch.see(lag(1000), 25_000), [])
  assert.deepEqual(watch.see(lag(6000), 5000), [])
  assert.deepEqual(watch.see(lag(1000), 40_000), ['resolved source-late/v1/source/erp'])
})

test('a system has its own limits, and one that is not set is the policy of the source', () => {
  const watch = new Watch([], [{ ...defaultThresholds, system: 'payments', lagMsMax: 1000, agentGoneMs: 5000 }])
  const seen = vaultSeen([
    sourceSeen('pay-db', { system: 'payments', lagMs: 2000 }),
    sourceSeen('archive', { lagMs: 2000 }),
  ])
  assert.deepEqual(watch.see(seen, minute), ['raised source-late/v1/source/pay-db warning'])
  const gone = vaultSeen([sourceSeen('pay-db', { system: 'payments' }), sourceSeen('archive')].map(withoutAgent))
  assert.deepEqual(watch.see(gone, 8000), ['raised agent-gone/v1/agent/db-1 critical'])
})

test('a full vault is told as such, and not of each source that it stalls', () => {
  const watch = new Watch()
  const stalled = [sourceSeen('erp', { state: 'stalled' }), sourceSeen('hr', { state: 'stalled' })]
  const full = vaultSeen(stalled)
  const told = { ...full.told!, stalled: true, freeBytes: 0 }
  assert.deepEqual(watch.see({ ...full, told }, 5 * minute), ['raised vault-full/v1/vault/ critical'])
})

test('a source whose agent is there and which does not move is stalled', () => {
  const watch = new Watch()
  const offline = { ...withoutAgent(sourceSeen('erp')), agent: sourceSeen('erp').agent }
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('hr', { state: 'stalled', lagMs: 90_000 }), offline]), 30_000), [
    'raised source-stalled/v1/source/hr critical',
    'raised source-stalled/v1/source/erp critical',
  ])
})

test('a pause that lasts is told, and over once it is resumed', () => {
  const watch = new Watch()
  const paused = vaultSeen([sourceSeen('docs', { state: 'paused' })])
  assert.deepEqual(watch.see(paused, minute - 1000), [])
  assert.deepEqual(watch.see(paused, 2000), ['raised source-paused/v1/source/docs warning'])
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('docs')]), 2000), ['resolved source-paused/v1/source/docs'])
})

test('what gets worse is told again, what only moves is not', () => {
  const watch = new Watch()
  const kept = (code: string, mebibytes: number): VaultSeen =>
    vaultSeen([sourceSeen('erp', { problems: [{ code, message: `the server keeps ${mebibytes} MiB` }] })])
  assert.deepEqual(watch.see(kept('wal-kept-early', 500)), ['raised slot-near-limit/v1/source/erp warning'])
  assert.deepEqual(watch.see(kept('wal-kept-early', 600), 30_000), [])
  assert.deepEqual(watch.see(kept('wal-kept-last', 900)), ['changed slot-near-limit/v1/source/erp critical'])
  assert.deepEqual(watch.see(kept('wal-kept-last', 950), 30_000), [])
  assert.deepEqual(watch.see(kept('wal-kept-last', 960), 40_000), ['changed slot-near-limit/v1/source/erp critical'])
  assert.match(String(watch.open[0]?.values['detail']), /960 MiB/)
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('erp')]), 40_000), ['resolved slot-near-limit/v1/source/erp'])
})

test('a hole is told at once, another one is another alarm, and a day later it is history', () => {
  const watch = new Watch()
  const hole = (fromMs: number, untilMs: number | null): VaultSeen =>
    vaultSeen([
      sourceSeen('erp', {
        hole: { moment: isoAt(fromMs), until: untilMs === null ? null : isoAt(untilMs), reason: 'spool full' },
      }),
    ])
  assert.deepEqual(watch.see(hole(-1000, null)), ['raised hole/v1/source/erp critical'])
  assert.deepEqual(watch.see(hole(-1000, 60_000), 2 * minute), ['changed hole/v1/source/erp critical'])
  assert.deepEqual(watch.see(hole(2 * minute, null)), [
    'resolved hole/v1/source/erp',
    'raised hole/v1/source/erp critical',
  ])
  assert.deepEqual(watch.see(hole(-2 * dayMs, -dayMs - minute)), ['resolved hole/v1/source/erp'])
})

test('a verification that failed is told until one is good, and one that is long ago is told too', () => {
  const watch = new Watch()
  const verified = (days: number, good: boolean): SourceStatus =>
    sourceSeen('erp', { verified: { moment: isoAt(-days * dayMs), point: isoAt(0), good, text: '3 files differ' } })
  assert.deepEqual(watch.see(vaultSeen([verified(1, false)])), ['raised verification-failed/v1/source/erp critical'])
  assert.deepEqual(watch.see(vaultSeen([verified(0, true)])), ['resolved verification-failed/v1/source/erp'])
  assert.deepEqual(watch.see(vaultSeen([verified(36, true)]), 2 * minute), [
    'raised verification-old/v1/source/erp information',
  ])
  const never = sourceSeen('new', { verified: null, earliest: isoAt(-40 * dayMs) })
  const young = sourceSeen('young', { verified: null, earliest: isoAt(-3 * dayMs) })
  assert.deepEqual(watch.see(vaultSeen([verified(0, true), never, young]), 2 * minute), [
    'resolved verification-old/v1/source/erp',
    'raised verification-old/v1/source/new information',
  ])
})

test('a vault that will be full is told in time, with room to spare before it is over', () => {
  const watch = new Watch()
  const fullIn = (days: number): VaultSeen => vaultSeen([], { space: spaceSeen({ full: isoAt(days * dayMs) }) })
  assert.deepEqual(watch.see(fullIn(13), 2 * minute), ['raised vault-fills/v1/vault/ warning'])
  assert.deepEqual(watch.see(fullIn(16), 20 * minute), [])
  assert.deepEqual(watch.see(fullIn(1.5)), ['changed vault-fills/v1/vault/ critical'])
  assert.deepEqual(watch.see(fullIn(60), 20 * minute), ['resolved vault-fills/v1/vault/'])
})

test('a certificate that ends is told, of an agent and of the console itself', () => {
  const watch = new Watch()
  const seen = vaultSeen([sourceSeen('erp')], {
    agents: [agentSeen('db-1', { certificateExpires: isoAt(4 * dayMs) })],
    certificateExpires: isoAt(dayMs),
  })
  assert.deepEqual(watch.see(seen), [
    'raised certificate-ends/v1/vault/ critical',
    'raised certificate-ends/v1/agent/db-1 warning',
  ])
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('erp')], { agents: undefined }), 2 * minute), [
    'resolved certificate-ends/v1/vault/',
  ])
})

test('what an alarm was about can go: a source, an agent, a whole vault', () => {
  const watch = new Watch()
  const damaged = sourceSeen('erp', { state: 'damaged', problems: [{ code: 'damaged', message: 'segment 3' }] })
  const spare = agentSeen('spare', { certificateExpires: isoAt(dayMs) })
  assert.deepEqual(watch.see(vaultSeen([damaged], { agents: [spare] })), [
    'raised certificate-ends/v1/agent/spare critical',
    'raised source-damaged/v1/source/erp critical',
  ])
  assert.deepEqual(watch.see(vaultSeen([], { agents: undefined })), ['resolved source-damaged/v1/source/erp'])
  assert.deepEqual(watch.see([]), ['resolved certificate-ends/v1/agent/spare'])
})

test('other problems of a source are one alarm, the worst of them told', () => {
  const watch = new Watch()
  const problems = [
    { code: 'unreadable', message: '/srv/data/secret cannot be read' },
    { code: 'zero-loss-degraded', message: 'commits go on without the vault' },
  ]
  assert.deepEqual(watch.see(vaultSeen([sourceSeen('erp', { problems })]), 2 * minute), [
    'raised source-problem/v1/source/erp critical',
  ])
  assert.deepEqual(watch.open[0]?.values, {
    source: 'erp',
    code: 'zero-loss-degraded',
    detail: 'commits go on without the vault',
    more: 1,
  })
})

test('a thousand sources are judged within the time that is there for it', () => {
  const watch = new Watch()
  const sources = Array.from({ length: 1000 }, (_, at) => sourceSeen(`s${at}`, { state: 'late', lagMs: 9000 }))
  const began = process.cpuUsage()
  assert.equal(watch.see(vaultSeen(sources), 30_000).length, 1000)
  const { user } = process.cpuUsage(began)
  assert.ok(user / 31 < 250_000, `${user / 31} µs of processor time for one look`)
})
