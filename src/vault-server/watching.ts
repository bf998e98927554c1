import { eventsAtMostEveryMs, heartbeatMs, type VaultEvent } from '../api/events.ts'
import { lagClassesMs } from '../api/measures.ts'
import type { SourceStatus } from '../api/schemas.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Context } from './context.ts'

/** Figures that move all the time (lag, rates, sequence) of a source whose state does not change are told so often. */
const figuresMs = 2_000
/** Of such sources in one turn: a thousand busy ones are told one after the other. */
const figuresPerTurnMax = 100

interface Told {
  readonly state: string
  readonly figures: string
  readonly atMs: number
}

/**
 * What the vault tells to one reader of its events, for as long as it reads: everything at first, then what differs from what
 * this reader was told. A turn begins when the reader has taken the one before, so a slow one gets newer states, not more.
 */
export async function* watchVault(
  { vault, live, clock, statuses, tasks }: Context,
  signal: AbortSignal,
): AsyncGenerator<VaultEvent> {
  const { registry } = vault
  const agentsNow = (): string =>
    registry.agents.map(({ id, name, revoked }) => `${id} ${name} ${revoked} ${live.isConnected(id)}`).join('\n')
  const [head, first] = await Promise.all([statuses.vault(), statuses.sources(vault.openSources)])
  yield { kind: 'vault', vault: { ...head, sources: first } }
  const told = new Map(first.map((source) => [source.id, toldOf(source, clock.monotonicMs())]))
  let agents = agentsNow()
  let space = JSON.stringify([head.stalled, ...roughly(head)])
  let { revision } = tasks.changedSince(0)
  let saidMs = clock.monotonicMs()
  for (;;) {
    await clock.sleep(eventsAtMostEveryMs, signal)
    const events: VaultEvent[] = []
    const nowMs = clock.monotonicMs()
    const sources = await statuses.sources(vault.openSources)
    let figures = 0
    // Those told longest ago come first.
    for (const source of sources.toSorted((a, b) => (told.get(a.id)?.atMs ?? 0) - (told.get(b.id)?.atMs ?? 0))) {
      const before = told.get(source.id)
      const now = toldOf(source, nowMs)
      const isDue =
        before?.state !== now.state ||
        (before.figures !== now.figures && nowMs - before.atMs >= figuresMs && figures++ < figuresPerTurnMax)
      if (!isDue) continue
      told.set(source.id, now)
      events.push({ kind: 'source', source })
    }
    const present = new Set(sources.map(({ id }) => id))
    for (const id of told.keys()) {
      if (present.has(id)) continue
      told.delete(id)
      events.push({ kind: 'source-gone', id })
    }
    const changed = tasks.changedSince(revision)
    revision = changed.revision
    for (const id of changed.ids) events.push({ kind: 'task', id })
    if (agents !== (agents = agentsNow())) events.push({ kind: 'agents' })
    const { stalled, freeBytes, storedBytes, now } = await statuses.vault()
    if (space !== (space = JSON.stringify([stalled, ...roughly({ freeBytes, storedBytes })]))) {
      events.push({ kind: 'space', now, stalled, freeBytes, storedBytes })
    }
    if (events.length === 0 && nowMs - saidMs >= heartbeatMs) {
      events.push({ kind: 'heartbeat', now: isoMoment(clock.now() as Moment) })
    }
    if (events.length > 0) saidMs = nowMs
    yield* events
  }
}

/** The state without what moves all the time, and that by itself. */
function toldOf(source: SourceStatus, atMs: number): Told {
  const { lagMs, lagBytes, dirty, sequence, moment, covered, indexed, changesPerSecond, bytesPerSecond, ...rest } =
    source
  const { progress, ...state } = rest
  const lagClass = lagMs === null ? -1 : lagClassesMs.findIndex((limit) => lagMs <= limit)
  return {
    state: JSON.stringify([state, progress !== undefined]),
    figures: JSON.stringify([
      lagClass,
      lagBytes,
      dirty,
      sequence,
      moment,
      indexed,
      progress,
      Math.round(changesPerSecond),
      Math.round(bytesPerSecond),
      // Of a quiet source the lag goes up and down below a class; what is covered goes on all the time.
      lagClass > 0 ? covered : '',
    ]),
    atMs,
  }
}

/** In steps that are worth telling. */
const mebi = 1024 * 1024
const roughly = ({ freeBytes, storedBytes }: { freeBytes: number; storedBytes: number }): number[] =>
  [freeBytes, storedBytes].map((bytes) => Math.round(bytes / (16 * mebi)))
