import { account } from './en/account.ts'
import { alarmRules } from './en/alarm-rules.ts'
import { alarms } from './en/alarms.ts'
import { audit } from './en/audit.ts'
import { channels } from './en/channels.ts'
import { reports } from './en/reports.ts'
import { thresholds } from './en/thresholds.ts'
import { users } from './en/users.ts'
import { browse } from './en/browse.ts'
import { overview } from './en/overview.ts'
import { preflight } from './en/preflight.ts'
import { restore } from './en/restore.ts'
import { servers } from './en/servers.ts'
import { shell } from './en/shell.ts'
import { signIn } from './en/sign-in.ts'
import { states } from './en/states.ts'
import { system } from './en/system.ts'
import { systems } from './en/systems.ts'
import { tasks } from './en/tasks.ts'
import { timeline } from './en/timeline.ts'
import { units } from './en/units.ts'
import { vaults } from './en/vaults.ts'

/** One part for each page. What is here must be in every language: another one that lacks it does not compile. */
export const en = {
  units,
  shell,
  states,
  signIn,
  overview,
  servers,
  vaults,
  timeline,
  systems,
  system,
  browse,
  preflight,
  restore,
  tasks,
  account,
  alarmRules,
  alarms,
  audit,
  channels,
  reports,
  thresholds,
  users,
}

export type Texts = typeof en
