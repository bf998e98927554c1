import type { Texts } from './en.ts'
import { account } from './zh-CN/account.ts'
import { alarmRules } from './zh-CN/alarm-rules.ts'
import { alarms } from './zh-CN/alarms.ts'
import { audit } from './zh-CN/audit.ts'
import { channels } from './zh-CN/channels.ts'
import { reports } from './zh-CN/reports.ts'
import { thresholds } from './zh-CN/thresholds.ts'
import { users } from './zh-CN/users.ts'
import { browse } from './zh-CN/browse.ts'
import { overview } from './zh-CN/overview.ts'
import { preflight } from './zh-CN/preflight.ts'
import { restore } from './zh-CN/restore.ts'
import { servers } from './zh-CN/servers.ts'
import { shell } from './zh-CN/shell.ts'
import { signIn } from './zh-CN/sign-in.ts'
import { states } from './zh-CN/states.ts'
import { system } from './zh-CN/system.ts'
import { systems } from './zh-CN/systems.ts'
import { tasks } from './zh-CN/tasks.ts'
import { timeline } from './zh-CN/timeline.ts'
import { units } from './zh-CN/units.ts'
import { vaults } from './zh-CN/vaults.ts'

export const zhCn: Texts = {
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
