import type { z } from 'zod'
import type { EntryAnswer, holeRow, ResolvedPointAnswer, SourceState, SourceStatus } from '../api/schemas.ts'
import type { ErrorCode, TidemarkError } from '../base/errors.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import { type BinaryString, displayName, toBuffer } from '../model/path.ts'
import type { RecoveryPoint, Span } from '../model/recovery-point.ts'
import type { CaptureReport } from '../model/report.ts'
import type { SourceDefinition } from '../model/source.ts'
import type { LiveSource } from './live.ts'
import type { LookedAt } from './measures/recorder.ts'
import type { Verification } from './measures/verification-rows.ts'

/** How what the vault knows is told through the API. */

/** A path in its readable form, and exactly where that form loses something. */
export function tellPath(path: BinaryString): { path: string; pathBytes?: string } {
  const shown = displayName(path)
  const exact = Buffer.from(shown, 'utf8').equals(toBuffer(path))
  return exact ? { path: `/${shown}` } : { path: `/${shown}`, pathBytes: toBuffer(path).toString('base64') }
}

export const tellNs = (ns: bigint): EntryAnswer['modified'] => isoMoment(Number(ns > 0n ? ns / 1000n : 0n) as Moment)

export interface SourceFacts {
  readonly definition: SourceDefinition
  readonly agentName: string
  readonly agentConnected: boolean
  readonly live: LiveSource
  readonly durable: number
  readonly moment: Moment | undefined
  /** What the journal cannot be read past, or why its index does not come further. */
  readonly failure: TidemarkError | undefined
  readonly indexed: number
  readonly stalled: boolean
  /** By the vault's monotonic clock. */
  readonly nowMs: number
}

/** States in which nothing is captured: what a lag would be said of does not grow old. */
const idle: readonly SourceState[] = ['waiting', 'paused', 'vanished', 'retired']

/** What is measured of a source, once a second. */
export function lookAtSource(facts: SourceFacts): LookedAt {
  const { definition, live, nowMs } = facts
  const known = live.meter.lagMs(nowMs * 1000)
  const state = stateOf(facts, known)
  const lagMs = idle.includes(state) ? undefined : known
  const isLate = lagMs !== undefined && lagMs > definition.policy.lagMsMax
  return { id: definition.id, state, lagMs, isLate, changes: live.meter.totals.changes, bytes: live.meter.totals.bytes }
}

/** What is known of the past of a source. */
export interface PastFacts {
  readonly earliest: Moment | undefined
  readonly hole: Span | undefined
  readonly verified: Verification | undefined
}

/** A report older than this says nothing of the present. */
const freshLagMs = 60_000
/** Failures that are no damage: they pass by themselves, or once there is room. */
const passing: readonly ErrorCode[] = ['vault-full', 'interrupted']

export function tellSource(facts: SourceFacts, { earliest, hole, verified }: PastFacts): SourceStatus {
  const { definition, live, agentName, agentConnected } = facts
  const { report } = live.meter
  const lagMs = live.meter.lagMs(facts.nowMs * 1000)
  const { changesPerSecond, bytesPerSecond } = live.meter.rates(facts.nowMs)
  const state = stateOf(facts, lagMs)
  const covered = live.meter.covered
  return {
    id: definition.id,
    name: definition.name,
    kind: definition.kind,
    ...(definition.system === undefined ? {} : { system: definition.system }),
    agent: { id: definition.agent, name: agentName, connected: agentConnected },
    paths: [...definition.paths],
    exclude: [...definition.exclude],
    ...(definition.postgres === undefined ? {} : { postgres: definition.postgres }),
    ...(definition.volume === undefined ? {} : { volume: definition.volume }),
    policy: definition.policy,
    state,
    lagMs: lagMs ?? null,
    lagBytes: lagBytes(report, facts.durable),
    dirty: report?.dirty ?? 0,
    sequence: facts.durable,
    moment: tellMoment(facts.moment),
    covered: tellMoment(covered),
    indexed: facts.indexed,
    earliest: tellMoment(earliest),
    changesPerSecond,
    bytesPerSecond,
    ...(report?.progress && isScanning(state)
      ? { progress: { ...report.progress, secondsLeft: secondsLeft(report.progress, bytesPerSecond) } }
      : {}),
    ...(report?.compared === undefined || report.compared === 0 ? {} : { compared: isoMoment(report.compared) }),
    watching: report?.watching ?? '',
    problems: problemsOf(facts, state),
    verified: verified === undefined ? null : tellVerified(verified),
    hole: hole === undefined ? null : tellHole(hole),
  }
}

const tellMoment = (moment: Moment | undefined): string | null => (moment === undefined ? null : isoMoment(moment))

/** What a point means, and why the tree may be behind its source there, if it may. */
export function tellRecoveryPoint({ sequence, moment, settled, hole, suspect }: RecoveryPoint): ResolvedPointAnswer {
  const reason = hole ? `changes were not kept one by one: ${hole.reason}` : suspect?.reason
  return { sequence, moment: isoMoment(moment), settled, ...(reason === undefined ? {} : { suspect: reason }) }
}

export const tellHole = ({ since, until, reason }: Span): z.infer<typeof holeRow> => ({
  moment: isoMoment(since),
  until: tellMoment(until),
  reason,
})

const tellVerified = ({ at, moment, good, text }: Verification): SourceStatus['verified'] => ({
  moment: isoMoment(at),
  point: isoMoment(moment),
  good,
  text,
})

/** What was on its way when the agent told it may have come since. */
export function lagBytes(report: CaptureReport | undefined, durable: number): number {
  if (report === undefined) return 0
  return (report.upTo > durable ? (report.backlogBytes ?? 0) : 0) + (report.uncapturedBytes ?? 0)
}

const isScanning = (state: SourceState): boolean => state === 'baseline' || state === 'reconciling'

function stateOf(
  { definition, live, agentConnected, failure, stalled }: SourceFacts,
  lagMs: number | undefined,
): SourceState {
  const { report } = live.meter
  if (failure !== undefined && !passing.includes(failure.code)) return 'damaged'
  if (definition.retired !== undefined) return 'retired'
  if (definition.paused) return 'paused'
  if (report === undefined) return agentConnected || !live.isShipping ? 'waiting' : 'offline'
  if (!live.isShipping) return 'offline'
  if (stalled) return 'stalled'
  if (report.state === 'vanished') return 'vanished'
  if (report.state === 'baseline' || report.state === 'starting') return 'baseline'
  if (report.state === 'reconciling' && (lagMs === undefined || lagMs > definition.policy.lagMsMax))
    return 'reconciling'
  if (lagMs === undefined) return 'baseline'
  if (lagMs > Math.max(freshLagMs, definition.policy.lagMsMax)) return 'stalled'
  // What is not indexed cannot be seen yet.
  if (lagMs > definition.policy.lagMsMax || failure !== undefined) return 'late'
  return 'protected'
}

const secondsLeft = (
  { bytes, bytesTotal }: { bytes: number; bytesTotal: number },
  bytesPerSecond: number,
): number | null => (bytesTotal > bytes && bytesPerSecond > 0 ? (bytesTotal - bytes) / bytesPerSecond : null)

function problemsOf({ live, failure, stalled, agentName }: SourceFacts, state: SourceState): SourceStatus['problems'] {
  const problems = (live.meter.report?.problems ?? []).map(({ code, message, hint }) => ({
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
  }))
  if (failure !== undefined)
    problems.unshift({
      code: failure.code,
      message: failure.message,
      hint: failure.hint ?? 'keep the vault as it is; "tidemark verify" names what is wrong',
    })
  if (stalled)
    problems.unshift({
      code: 'vault-full',
      message: 'the file system of the vault is full: nothing is acknowledged',
      hint: 'make room on it; it goes on by itself',
    })
  if (state === 'offline')
    problems.unshift({
      code: 'unreachable',
      message: `agent "${agentName}" is not connected`,
      hint: 'start it ("tidemark agent run") or mend the line',
    })
  return problems
}
