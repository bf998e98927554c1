import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import { Accounts } from './accounts.ts'
import { Audit } from './audit.ts'
import type { Context } from './context.ts'
import { Database } from './database.ts'
import { Passwords } from './passwords.ts'
import { databasePath, readSecretKey } from './place.ts'
import { Sealing } from './sealing.ts'
import { Sessions } from './sessions.ts'
import { SiteTable } from './site-table.ts'
import { Tries } from './tries.ts'
import { VaultTable } from './vault-table.ts'

export interface ConsoleParts {
  readonly clock: Clock
  readonly random: Random
  /** Told, in a line each, of what the operator would want to find in a log. */
  readonly tell: Tell
  /** log2 of what a password's hash costs, instead of what is safe: for tests. */
  readonly passwordCost?: number
}

/** What is there before vaults are read. */
export type Held = Omit<Context, 'live' | 'federation' | 'alarms'> & { readonly vaultTable: VaultTable }

/** What a console's directory holds, at work. The directory is locked by the caller. */
export async function openConsole(directory: string, parts: ConsoleParts): Promise<Held & Disposable> {
  const sealing = new Sealing(await readSecretKey(directory), parts.random)
  const database = new Database(databasePath(directory))
  const { clock, random, tell } = parts
  const audit = new Audit(database, clock, random)
  return {
    directory,
    database,
    sealing,
    clock,
    random,
    tell,
    accounts: new Accounts({ database, sealing, clock, random, passwords: new Passwords(random, parts.passwordCost) }),
    sessions: new Sessions(database, parts),
    tries: new Tries(clock),
    vaultTable: new VaultTable(database, directory),
    siteTable: new SiteTable(database),
    audit,
    [Symbol.dispose]: () => database[Symbol.dispose](),
  }
}
