import type { ReactNode } from 'react'
import { useTexts } from '../language/language.ts'

/** What the colours and hatches of the tracks mean. */
export function Legend(): ReactNode {
  const t = useTexts()
  const { legend } = t.timeline
  const rows = [
    ['activity', legend.activity],
    ['mark', legend.mark],
    ['transaction', legend.transaction],
    ['suspect', legend.suspect],
    ['hole', legend.hole],
    ['good', legend.verified],
    ['bad', legend.failed],
    ['line', legend.unverified],
    ['outside', legend.outside],
  ] as const
  return (
    <ul className="timeline-legend" aria-label={legend.label}>
      {rows.map(([kind, text]) => (
        <li key={kind}>
          <span className={`timeline-sample timeline-sample-${kind}`} aria-hidden="true" />
          {text}
        </li>
      ))}
    </ul>
  )
}
