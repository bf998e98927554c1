import {
  AppstoreOutlined,
  AuditOutlined,
  BarChartOutlined,
  BellOutlined,
  CloudServerOutlined,
  DashboardOutlined,
  DatabaseOutlined,
  FolderOpenOutlined,
  RollbackOutlined,
  UnorderedListOutlined,
  TeamOutlined,
} from '@ant-design/icons'
import type { ComponentType } from 'react'
import type { Action } from '../../../src/api/console.ts'
import type { Texts } from '../language/en.ts'

/** One page: a file of its own that is loaded when it is first opened, and exports its `Component`. */
export interface Page {
  readonly path: string
  readonly load: () => Promise<{ readonly Component: ComponentType }>
  /** Who may not do it is not offered the page; absent: everybody may who is signed in. */
  readonly action?: Action | undefined
  /** Of a page that stands beside the navigation; one that is reached from another page shows where it belongs. */
  readonly title?: (t: Texts) => string
  /** Absent for a page that is reached from another one. */
  readonly navigation?: {
    readonly icon: ComponentType<{ 'aria-hidden'?: boolean }>
    readonly text: (t: Texts) => string
  }
}

/** In the order of the navigation. */
export const pages: readonly Page[] = [
  {
    path: '/',
    action: 'see',
    load: () => import('../pages/overview.tsx'),
    navigation: { icon: DashboardOutlined, text: (t) => t.shell.overview },
  },
  {
    path: '/systems',
    action: 'see',
    load: () => import('../pages/systems.tsx'),
    navigation: { icon: AppstoreOutlined, text: (t) => t.shell.systems },
  },
  { path: '/systems/:system', action: 'see', load: () => import('../pages/system.tsx') },
  {
    path: '/browse',
    action: 'contents',
    load: () => import('../pages/browse.tsx'),
    navigation: { icon: FolderOpenOutlined, text: (t) => t.shell.browse },
  },
  { path: '/browse/:vault/:source', action: 'contents', load: () => import('../pages/browse.tsx') },
  {
    path: '/restore',
    action: 'restore',
    load: () => import('../pages/restore.tsx'),
    navigation: { icon: RollbackOutlined, text: (t) => t.shell.restore },
  },
  {
    path: '/tasks',
    action: 'see',
    load: () => import('../pages/tasks.tsx'),
    navigation: { icon: UnorderedListOutlined, text: (t) => t.shell.tasks },
  },
  {
    path: '/servers',
    action: 'see',
    load: () => import('../pages/servers.tsx'),
    navigation: { icon: CloudServerOutlined, text: (t) => t.shell.servers },
  },
  { path: '/servers/:vault/:agent', action: 'see', load: () => import('../pages/server.tsx') },
  {
    path: '/vaults',
    action: 'see',
    load: () => import('../pages/vaults.tsx'),
    navigation: { icon: DatabaseOutlined, text: (t) => t.shell.vaults },
  },
  { path: '/vaults/:vault', action: 'see', load: () => import('../pages/vault.tsx') },
  {
    path: '/alarms',
    action: 'see',
    load: () => import('../pages/alarms.tsx'),
    navigation: { icon: BellOutlined, text: (t) => t.shell.alarms },
  },
  {
    path: '/reports',
    action: 'see',
    load: () => import('../pages/reports.tsx'),
    navigation: { icon: BarChartOutlined, text: (t) => t.shell.reports },
  },
  {
    path: '/users',
    action: 'users',
    load: () => import('../pages/users.tsx'),
    navigation: { icon: TeamOutlined, text: (t) => t.shell.users },
  },
  {
    path: '/audit',
    action: 'audit',
    load: () => import('../pages/audit.tsx'),
    navigation: { icon: AuditOutlined, text: (t) => t.shell.audit },
  },
  { path: '/account', title: (t) => t.shell.account, load: () => import('../pages/account.tsx') },
]

/** Stands alone, without the frame of the others. */
export const wall: Page = { path: '/wall', action: 'see', load: () => import('../pages/wall.tsx') }

/** The navigation's page that the path `at` belongs to. */
export function pageOf(at: string): Page | undefined {
  return pages.find(({ path, navigation, title }) => {
    if (navigation === undefined && title === undefined) return false
    return at === path || (path !== '/' && at.startsWith(`${path}/`))
  })
}
