import type { SourceState } from '../../../src/api/schemas.ts'

/** What a state is to somebody who looks: one colour and one shape each. */
export type Tone = 'good' | 'working' | 'late' | 'away' | 'bad' | 'idle'

/** Worst first: the worst source decides what its system is in. */
const worstFirst = {
  damaged: 'bad',
  stalled: 'bad',
  vanished: 'bad',
  offline: 'away',
  late: 'late',
  reconciling: 'working',
  baseline: 'working',
  waiting: 'idle',
  paused: 'idle',
  protected: 'good',
  retired: 'idle',
} as const satisfies Record<SourceState, Tone>

const order = Object.keys(worstFirst) as readonly SourceState[]

export const toneOf = (state: SourceState): Tone => worstFirst[state]

/** Lower is worse. */
export const rankOf = (state: SourceState): number => order.indexOf(state)

/** Of no source at all: `waiting`. */
export function worstOf(states: Iterable<SourceState>): SourceState {
  let worst: SourceState | undefined
  for (const state of states) if (worst === undefined || rankOf(state) < rankOf(worst)) worst = state
  return worst ?? 'waiting'
}
