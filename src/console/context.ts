import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import type { AlarmWatch } from './alarms/alarm-watch.ts'
import type { Accounts } from './accounts.ts'
import type { Audit } from './audit.ts'
import type { Database } from './database.ts'
import type { Federation } from './federation.ts'
import type { Live } from './live.ts'
import type { Sealing } from './sealing.ts'
import type { Sessions } from './sessions.ts'
import type { SiteTable } from './site-table.ts'
import type { Tries } from './tries.ts'

/** What the routes of the console's API work with. */
export interface Context {
  readonly directory: string
  readonly database: Database
  readonly sealing: Sealing
  readonly accounts: Accounts
  readonly sessions: Sessions
  readonly tries: Tries
  readonly audit: Audit
  /** What happens, told at once to whoever listens. */
  readonly live: Live
  readonly federation: Federation
  readonly alarms: AlarmWatch
  readonly siteTable: SiteTable
  readonly clock: Clock
  readonly random: Random
  /** Told, in a line each, of what the operator would want to find in a log. */
  readonly tell: Tell
}
