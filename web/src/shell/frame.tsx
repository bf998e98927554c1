import { MenuFoldOutlined, MenuUnfoldOutlined } from '@ant-design/icons'
import { type ReactNode, Suspense } from 'react'
import { NavLink, Outlet } from 'react-router'
import { useMay } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { Header } from './header.tsx'
import { prefer, usePreferences } from './preferences.ts'
import { pages } from './routes.tsx'
import { ToneShape } from './state-mark.tsx'
import { Loading } from './states.tsx'

/** What stands around every page: navigation, header, and what is to be said before anything else. */
export function Frame(): ReactNode {
  const t = useTexts()
  const { isNavigationNarrow } = usePreferences()
  const isOld = useLive().connection.kind === 'lost'
  return (
    <div className={isNavigationNarrow ? 'frame is-narrow' : 'frame'}>
      <a className="skip" href="#content">
        {t.shell.skip}
      </a>
      <Navigation />
      <Header />
      <main id="content" className={isOld ? 'content is-old' : 'content'} tabIndex={-1}>
        <Warnings />
        <Suspense fallback={<Loading rows={8} />}>
          <Outlet />
        </Suspense>
      </main>
    </div>
  )
}

function Navigation(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { isNavigationNarrow } = usePreferences()
  const turn = isNavigationNarrow ? t.shell.widen : t.shell.narrow
  return (
    <nav className="navigation" aria-label={t.shell.navigation}>
      <NavLink to="/" className="brand" aria-label={t.shell.product}>
        <Brand />
        <span className="brand-name">{t.shell.product}</span>
      </NavLink>
      <ul>
        {pages.map(({ path, navigation, action }) =>
          navigation === undefined || !may(action) ? null : (
            <li key={path}>
              <NavLink to={path} end={path === '/'} title={navigation.text(t)}>
                <navigation.icon aria-hidden />
                <span className="navigation-text">{navigation.text(t)}</span>
              </NavLink>
            </li>
          ),
        )}
      </ul>
      <button
        type="button"
        className="navigation-turn"
        aria-label={turn}
        title={turn}
        onClick={() => prefer({ isNavigationNarrow: !isNavigationNarrow })}
      >
        {isNavigationNarrow ? <MenuUnfoldOutlined aria-hidden /> : <MenuFoldOutlined aria-hidden />}
      </button>
    </nav>
  )
}

/** What makes everything below it older than it seems. */
function Warnings(): ReactNode {
  const t = useTexts()
  const { connection, vaults } = useLive()
  const formats = useFormats()
  const away = [...vaults.values()].filter(({ entry }) => !entry.connected)
  return (
    <div className="warnings" aria-live="polite">
      {connection.kind === 'lost' ? (
        <p className="warning tone-bad">
          <ToneShape tone="bad" />
          {t.shell.lostBanner(formats.time(connection.sinceMs))}
        </p>
      ) : (
        away.map(({ entry }) => (
          <p key={entry.id} className="warning tone-away">
            <ToneShape tone="away" />
            {t.shell.vaultAway(entry.name, entry.since === null ? '–' : formats.moment(entry.since))} {entry.error}
          </p>
        ))
      )}
    </div>
  )
}

function Brand(): ReactNode {
  return (
    <svg className="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M7 9h18" stroke="#f0b03f" strokeWidth="2.8" strokeLinecap="round" />
      <path
        d="M4 18c4 0 4-4 8-4s4 4 8 4 4-4 8-4"
        fill="none"
        stroke="#57c7b3"
        strokeWidth="2.8"
        strokeLinecap="round"
      />
      <path
        d="M4 25c4 0 4-3 8-3s4 3 8 3 4-3 8-3"
        fill="none"
        stroke="#57c7b3"
        strokeOpacity=".55"
        strokeWidth="2.4"
        strokeLinecap="round"
      />
    </svg>
  )
}
