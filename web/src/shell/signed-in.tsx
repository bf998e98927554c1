import { lazy, type ReactNode, Suspense } from 'react'
import { Navigate, Outlet, useLocation } from 'react-router'
import type { Action } from '../../../src/api/console.ts'
import { useMay, useMe } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { Live } from '../live/live.tsx'
import { pages } from './routes.tsx'
import { Failed, Loading, Notice } from './states.tsx'

const SignIn = lazy(async () => ({ default: (await import('../pages/sign-in.tsx')).SignIn }))
const ChangePassword = lazy(async () => ({ default: (await import('../pages/sign-in.tsx')).ChangePassword }))

/** Everything behind it is for who is signed in with a password of his own. */
export function SignedIn(): ReactNode {
  const { me, failure, again } = useMe()
  if (failure !== null && me === undefined) return <Failed failure={failure} again={again} />
  if (me === undefined) return <Loading />
  return (
    <Suspense fallback={<Loading />}>
      {me === null ? (
        <SignIn />
      ) : me.mustChangePassword ? (
        <ChangePassword />
      ) : (
        <Live>
          <Outlet />
        </Live>
      )}
    </Suspense>
  )
}

export function Guarded({ action, page }: { action: Action | undefined; page: ReactNode }): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { pathname } = useLocation()
  if (may(action)) return page
  const own = pages.find((one) => one.navigation !== undefined && may(one.action))
  if (pathname === '/' && own !== undefined) return <Navigate to={own.path} replace />
  return <Notice tone="idle" title={t.shell.notAllowed} hint={t.shell.notAllowedHint} />
}
