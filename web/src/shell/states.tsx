import { Button, Skeleton } from 'antd'
import type { ReactNode } from 'react'
import { ApiFailure, strangeAnswerCode, unreachableCode } from '../api/client.ts'
import { useTexts } from '../language/language.ts'
import type { Tone } from './source-states.ts'
import { ToneShape } from './state-mark.tsx'

/** What a page or a panel shows when it has not what it is for: each says what to do next. */

export function Loading({ rows = 4 }: { rows?: number }): ReactNode {
  const t = useTexts()
  return (
    <div className="state-loading" role="status" aria-label={t.states.loading}>
      <Skeleton active title={false} paragraph={{ rows }} />
    </div>
  )
}

/** Nothing is there, which is not a fault; `children` is what to do about it. */
export function Empty({ title, hint, children }: { title: string; hint: string; children?: ReactNode }): ReactNode {
  return (
    <Notice tone="idle" title={title} hint={hint}>
      {children}
    </Notice>
  )
}

export function Failed({ failure, again }: { failure: Error; again?: (() => void) | undefined }): ReactNode {
  const t = useTexts()
  const { title, hint, code } = useFailureTexts(failure)
  return (
    <Notice tone="bad" title={title} hint={hint} isAlert>
      {code === undefined ? null : (
        <p className="state-code">
          {t.states.code} <code>{code}</code>
        </p>
      )}
      {again === undefined ? null : (
        <Button size="small" onClick={again}>
          {t.states.again}
        </Button>
      )}
    </Notice>
  )
}

/** A failure within a form or drawer, in one box. */
export function FailureLine({ failure }: { failure: Error | null }): ReactNode {
  const { title, hint } = useFailureTexts(failure ?? new Error(''))
  if (failure === null) return null
  return (
    <div className="failure-line" role="alert">
      <ToneShape tone="bad" />
      <div>
        <strong>{title}</strong>
        <div>{hint}</div>
      </div>
    </div>
  )
}

export function Notice({
  tone,
  title,
  hint,
  isAlert = false,
  children,
}: {
  tone: Tone
  title: string
  hint: string
  isAlert?: boolean
  children?: ReactNode
}): ReactNode {
  return (
    <div className="state-notice" role={isAlert ? 'alert' : 'status'}>
      <ToneShape tone={tone} />
      <h2>{title}</h2>
      <p>{hint}</p>
      {children}
    </div>
  )
}

function useFailureTexts(failure: Error): { title: string; hint: string; code?: string } {
  const t = useTexts()
  if (!(failure instanceof ApiFailure)) return { title: failure.message, hint: t.states.failedHint }
  if (failure.code === unreachableCode) return { title: t.states.unreachable, hint: t.states.unreachableHint }
  if (failure.code === strangeAnswerCode)
    return { title: t.states.strange, hint: t.states.strangeHint, code: failure.message }
  const { code, message, hint } = failure
  const words: Readonly<Record<string, string>> = t.states.failures
  const title = words[code]
  if (title === undefined) return { title: message, hint: hint ?? t.states.failedHint, code }
  return { title, hint: hint === undefined ? message : `${message}; ${hint}`, code }
}
