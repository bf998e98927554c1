import { DownOutlined, GlobalOutlined, MoonOutlined, SunOutlined, UserOutlined } from '@ant-design/icons'
import { Button, Dropdown, Tooltip } from 'antd'
import type { ReactNode } from 'react'
import { Link, useLocation } from 'react-router'
import { useMay, useMe, useSession } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { zoneName } from '../formats/moment.ts'
import { languageNames, useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { AlarmIndicator } from './alarm-indicator.tsx'
import { type LanguageName, prefer, type ThemeChoice, usePreferences } from './preferences.ts'
import { pageOf } from './routes.tsx'
import { useThemeName } from './theme.ts'

export function Header(): ReactNode {
  const t = useTexts()
  const { pathname } = useLocation()
  const page = pageOf(pathname)
  return (
    <header className="header">
      <h1>{(page?.title ?? page?.navigation?.text)?.(t)}</h1>
      <div className="header-end">
        <AlarmIndicator />
        <LiveIndicator />
        <Clock />
        <LanguageMenu />
        <ThemeMenu />
        <UserMenu />
      </div>
    </header>
  )
}

/** Says plainly whether what is on the screen is how things are. */
export function LiveIndicator(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { connection } = useLive()
  const formats = useFormats()
  if (!may('see')) return null
  switch (connection.kind) {
    case 'live':
      return (
        <Tooltip title={t.shell.liveHint}>
          <span className="live tone-good">{t.shell.live}</span>
        </Tooltip>
      )
    case 'connecting':
      return (
        <Tooltip title={t.shell.connectingHint}>
          <span className="live tone-idle">{t.shell.connecting}</span>
        </Tooltip>
      )
    case 'lost':
      return <span className="live tone-bad">{t.shell.lost(formats.time(connection.sinceMs))}</span>
  }
}

function Clock(): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow()
  return (
    <Tooltip title={t.shell.zone(zoneName())}>
      <span className="clock">
        {formats.moment(now)} <span className="quiet">{zoneName()}</span>
      </span>
    </Tooltip>
  )
}

export function LanguageMenu(): ReactNode {
  const t = useTexts()
  const { language } = usePreferences()
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        selectedKeys: [language],
        items: Object.entries(languageNames).map(([key, label]) => ({ key, label, lang: key })),
        onClick: ({ key }) => prefer({ language: key as LanguageName }),
      }}
    >
      <Button
        type="text"
        icon={<GlobalOutlined aria-hidden />}
        aria-label={`${t.shell.language}: ${languageNames[language]}`}
      >
        {languageNames[language]}
      </Button>
    </Dropdown>
  )
}

export function ThemeMenu(): ReactNode {
  const t = useTexts()
  const { theme } = usePreferences()
  const name = useThemeName()
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        selectedKeys: [theme],
        items: (['light', 'dark', 'system'] as const).map((key) => ({ key, label: t.shell.themes[key] })),
        onClick: ({ key }) => prefer({ theme: key as ThemeChoice }),
      }}
    >
      <Button
        type="text"
        icon={name === 'dark' ? <MoonOutlined aria-hidden /> : <SunOutlined aria-hidden />}
        aria-label={`${t.shell.theme}: ${t.shell.themes[theme]}`}
      />
    </Dropdown>
  )
}

function UserMenu(): ReactNode {
  const t = useTexts()
  const { me } = useMe()
  const { leave } = useSession()
  if (me === null || me === undefined) return null
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        items: [
          { key: 'role', label: t.shell.roles[me.role], disabled: true },
          { type: 'divider' },
          { key: 'account', label: <Link to="/account">{t.shell.account}</Link> },
          { key: 'leave', label: t.shell.signOut, onClick: () => void leave() },
        ],
      }}
    >
      <Button type="text" icon={<UserOutlined aria-hidden />} aria-label={`${t.shell.user}: ${me.user}`}>
        {me.user} <DownOutlined aria-hidden />
      </Button>
    </Dropdown>
  )
}
