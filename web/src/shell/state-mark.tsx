import { Tooltip } from 'antd'
import type { ReactNode } from 'react'
import { useTexts } from '../language/language.ts'
import { type ShownState, type Tone, toneOf } from './source-states.ts'

/** A shape for each tone, so that a state is told without its colour too. */
const shapes: Record<Tone, ReactNode> = {
  good: <path d="M2.5 8.5l3.6 3.5L13.5 4" fill="none" stroke="currentColor" strokeWidth="2.6" />,
  working: <path d="M8 2.5a5.5 5.5 0 1 1-5.5 5.5" fill="none" stroke="currentColor" strokeWidth="2.6" />,
  late: <path d="M8 1.8L15 14H1z" fill="currentColor" />,
  away: <path d="M2.5 8h2.6M6.7 8h2.6M10.9 8h2.6" fill="none" stroke="currentColor" strokeWidth="2.8" />,
  bad: <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" fill="currentColor" />,
  idle: <circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" strokeWidth="2" />,
}

export function ToneShape({ tone }: { tone: Tone }): ReactNode {
  return (
    <svg className={`tone-shape tone-${tone}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {shapes[tone]}
    </svg>
  )
}

/** The state of a source or system: shape, colour and word; its sentence, with the next step, where one points at it. */
export function StateMark({ state }: { state: ShownState }): ReactNode {
  const t = useTexts()
  return (
    <Tooltip title={t.states.sentences[state]}>
      <span className={`state-mark tone-${toneOf(state)}`}>
        <ToneShape tone={toneOf(state)} />
        {t.states.words[state]}
      </span>
    </Tooltip>
  )
}
