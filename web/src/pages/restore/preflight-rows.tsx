import type { ReactNode } from 'react'
import { useTexts } from '../../language/language.ts'
import type { Tone } from '../../shell/source-states.ts'
import { ToneShape } from '../../shell/state-mark.tsx'
import { type PreflightRow, usePreflightTexts } from './preflight-texts.ts'
import './restore.css'

const tones: Readonly<Record<PreflightRow['verdict'], Tone>> = { good: 'good', warning: 'late', refused: 'bad' }

/** What was asked before a restore, and how it was answered; the worst first. */
export function PreflightRows({ rows }: { readonly rows: readonly PreflightRow[] }): ReactNode {
  const t = useTexts()
  const textsOf = usePreflightTexts()
  const order = Object.keys(tones).reverse()
  return (
    <ul className="preflight">
      {rows
        .toSorted((one, other) => order.indexOf(one.verdict) - order.indexOf(other.verdict))
        .map((row) => ({ ...row, ...textsOf(row) }))
        .map(({ check, verdict, message, sentence, hint }) => (
          <li key={`${check} ${message}`}>
            <span className={`state-mark tone-${tones[verdict]}`}>
              <ToneShape tone={tones[verdict]} />
              {t.restore.verdicts[verdict]}
            </span>
            <strong>{t.restore.checks[check]}</strong>
            <span>
              {sentence}
              {hint === undefined ? null : <span className="quiet"> {hint}</span>}
            </span>
          </li>
        ))}
    </ul>
  )
}
