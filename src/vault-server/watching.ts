import { eventsAtMostEveryMs, heartbeatMs, type VaultEvent } from '../api/events.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Context } from './context.ts'
import type { Seen } from './turns.ts'

/** Figures that move all the time (lag, rates, sequence) of a source whose state does not change are told so often. */
const figuresMs = 2_000
/** Of such sources in one turn: a thousand busy ones are told one after the other. */
const figuresPerTurnMax = 100

interface Told extends Seen {
  readonly atMs: number
}

/**
 * What the vault tells to one reader of its events, for as long as it reads: everything at first, then what differs from what
 * this reader was told. A turn begins when the reader has taken the one before, so a slow one gets newer states, not more.
 */
export async function* watchVault(
  { clock, turns, tasks }: Pick<Context, 'clock' | 'turns' | 'tasks'>,
  signal: AbortSignal,
): AsyncGenerator<VaultEvent> {
  const first = await turns.now()
  let { agents, space } = first
  let { revision } = tasks.changedSince(0)
  let saidMs = clock.monotonicMs()
  const told = new Map(first.sources.map((one) => [one.source.id, { ...one, atMs: saidMs }]))
  yield { kind: 'vault', vault: { ...first.head, sources: first.sources.map(({ source }) => source) } }
  for (;;) {
    await clock.sleep(eventsAtMostEveryMs, signal)
    const turn = await turns.now()
    const nowMs = clock.monotonicMs()
    const events: VaultEvent[] = []
    for (const one of due(turn.sources, told, nowMs)) {
      told.set(one.source.id, { ...one, atMs: nowMs })
      events.push({ kind: 'source', source: one.source })
    }
    if (told.size > turn.sources.length) {
      const present = new Set(turn.sources.map(({ source }) => source.id))
      for (const id of told.keys()) {
        if (present.has(id)) continue
        told.delete(id)
        events.push({ kind: 'source-gone', id })
      }
    }
    const changed = tasks.changedSince(revision)
    revision = changed.revision
    for (const id of changed.ids) events.push({ kind: 'task', id })
    if (agents !== (agents = turn.agents)) events.push({ kind: 'agents' })
    if (space !== (space = turn.space)) {
      const { now, stalled, freeBytes, storedBytes } = turn.head
      events.push({ kind: 'space', now, stalled, freeBytes, storedBytes })
    }
    if (events.length === 0 && nowMs - saidMs >= heartbeatMs) {
      events.push({ kind: 'heartbeat', now: isoMoment(clock.now() as Moment) })
    }
    if (events.length > 0) saidMs = nowMs
    yield* events
  }
}

/** Whose state is another, and of those whose figures alone are the ones that were told longest ago. */
function due(sources: readonly Seen[], told: ReadonlyMap<string, Told>, nowMs: number): Seen[] {
  const changed: Seen[] = []
  const moved: { readonly one: Seen; readonly atMs: number }[] = []
  for (const one of sources) {
    const before = told.get(one.source.id)
    if (before?.state !== one.state) changed.push(one)
    else if (before.figures !== one.figures && nowMs - before.atMs >= figuresMs) moved.push({ one, atMs: before.atMs })
  }
  if (moved.length > figuresPerTurnMax) moved.sort((a, b) => a.atMs - b.atMs)
  return [...changed, ...moved.slice(0, figuresPerTurnMax).map(({ one }) => one)]
}
