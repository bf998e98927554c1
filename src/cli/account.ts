import { homedir, userInfo } from 'node:os'
import type { Account } from '../capture/postgres/server.ts'

/** As whom this process speaks to database servers. */
export function account(): Account {
  const { PGPASSWORD, PGPASSFILE } = process.env
  return { user: userInfo().username, homeFolder: homedir(), environment: { PGPASSWORD, PGPASSFILE } }
}
