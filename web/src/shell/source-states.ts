import type { SourceState } from '../../../src/api/schemas.ts'

/** What a state is to somebody who looks: one colour and one shape each. */
export type Tone = 'good' | 'working' | 'late' | 'away' | 'bad' | 'idle'

/** A source of a vault that is away is in a state that nobody here knows. */
export type ShownState = SourceState | 'unknown'

/** Worst first: the worst source decides what its system is in. */
const worstFirst = {
  damaged: 'bad',
  stalled: 'bad',
  vanished: 'bad',
  unknown: 'away',
  offline: 'away',
  late: 'late',
  reconciling: 'working',
  baseline: 'working',
  waiting: 'idle',
  paused: 'idle',
  protected: 'good',
  retired: 'idle',
} as const satisfies Record<ShownState, Tone>

const order = Object.keys(worstFirst) as readonly ShownState[]

export const toneOf = (state: ShownState): Tone => worstFirst[state]

/** Lower is worse. */
export const rankOf = (state: ShownState): number => order.indexOf(state)

/** Of no source at all: `waiting`. */
export function worstOf(states: Iterable<ShownState>): ShownState {
  let worst: ShownState | undefined
  for (const state of states) if (worst === undefined || rankOf(state) < rankOf(worst)) worst = state
  return worst ?? 'waiting'
}
