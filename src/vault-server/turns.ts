import { eventsAtMostEveryMs } from '../api/events.ts'
import { lagClassesMs } from '../api/measures.ts'
import type { SourceStatus, VaultStatus } from '../api/schemas.ts'
import type { Context } from './context.ts'

/** Readers that ask within so short a time are told the same. */
const turnMs = eventsAtMostEveryMs / 2

/** A source as it is told, and by what it is seen that it has changed. */
export interface Seen {
  readonly source: SourceStatus
  /** All that does not move all the time. */
  readonly state: string
  /** Lag, rates, sequence, in steps that are worth telling. */
  readonly figures: string
}

/** How everything is at one instant. */
export interface Turn {
  readonly head: Omit<VaultStatus, 'sources'>
  readonly sources: readonly Seen[]
  readonly agents: string
  readonly space: string
}

/** Looks at everything for all who watch: what that costs does not grow with them. */
export class Turns {
  readonly #context: Pick<Context, 'vault' | 'live' | 'clock' | 'statuses'>
  #last: { readonly atMs: number; readonly turn: Promise<Turn> } | undefined

  constructor(context: Pick<Context, 'vault' | 'live' | 'clock' | 'statuses'>) {
    this.#context = context
  }

  now(): Promise<Turn> {
    const atMs = this.#context.clock.monotonicMs()
    if (this.#last !== undefined && atMs - this.#last.atMs < turnMs) return this.#last.turn
    const turn = this.#take()
    this.#last = { atMs, turn }
    // A failure is told to those who ask now, and not kept for those who ask later.
    turn.catch(() => (this.#last = undefined))
    return turn
  }

  async #take(): Promise<Turn> {
    const { vault, live, statuses } = this.#context
    const [head, sources] = await Promise.all([statuses.vault(), statuses.sources(vault.openSources)])
    return {
      head,
      sources: sources.map(seen),
      agents: vault.registry.agents
        .map(({ id, name, revoked }) => `${id} ${name} ${revoked} ${live.isConnected(id)}`)
        .join('\n'),
      space: spaceOf(head),
    }
  }
}

function seen(source: SourceStatus): Seen {
  const { lagMs, lagBytes, dirty, sequence, moment, covered, indexed, changesPerSecond, bytesPerSecond, ...rest } =
    source
  const { progress, ...state } = rest
  const lagClass = lagMs === null ? -1 : lagClassesMs.findIndex((limit) => lagMs <= limit)
  const figures = [
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
  ]
  return { source, state: JSON.stringify([state, progress !== undefined]), figures: JSON.stringify(figures) }
}

const spaceStepBytes = 16 * 1024 * 1024
const spaceOf = ({ stalled, freeBytes, storedBytes }: Turn['head']): string =>
  JSON.stringify([stalled, ...[freeBytes, storedBytes].map((bytes) => Math.round(bytes / spaceStepBytes))])
