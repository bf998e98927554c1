import { Button } from 'antd'
import type { ReactNode } from 'react'
import { Link, useRouteError } from 'react-router'
import { useTexts } from '../language/language.ts'
import { Notice } from './states.tsx'

/** A page that threw, or whose file could not be loaded: the rest of the console stays. */
export function Broken(): ReactNode {
  const t = useTexts()
  const error = useRouteError()
  return (
    <Notice tone="bad" title={t.states.pageBroken} hint={t.states.pageBrokenHint} isAlert>
      <pre className="state-code">{error instanceof Error ? error.message : String(error)}</pre>
      <Button onClick={() => window.location.reload()}>{t.states.reload}</Button>
    </Notice>
  )
}

export function NotFound(): ReactNode {
  const t = useTexts()
  return (
    <Notice tone="idle" title={t.shell.notFound} hint={t.shell.notFoundHint}>
      <Link to="/">{t.shell.toOverview}</Link>
    </Notice>
  )
}
