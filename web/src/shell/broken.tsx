import { Button } from 'antd'
import type { ReactNode } from 'react'
import { Link, useRouteError } from 'react-router'
import { useTexts } from '../language/language.ts'
import { Notice } from './states.tsx'

/** What browsers and Vite say of a file that did not come. */
const notFetched = /dynamically imported module|importing a module script|preload CSS/i

/** A page that threw, or whose file could not be loaded: the rest of the console stays. */
export function Broken(): ReactNode {
  const t = useTexts()
  const error = useRouteError()
  const message = error instanceof Error ? error.message : String(error)
  const isMissing = notFetched.test(message)
  return (
    <Notice
      tone="bad"
      title={isMissing ? t.states.pageMissing : t.states.pageBroken}
      hint={isMissing ? t.states.pageMissingHint : t.states.pageBrokenHint}
      isAlert
    >
      <pre className="state-code">{message}</pre>
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
