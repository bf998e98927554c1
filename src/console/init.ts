import { resolve } from 'node:path'
import { roles, type Role } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { type ConsoleParts, openConsole } from './open.ts'
import { generatePassword } from './passwords.ts'
import { createPlace } from './place.ts'
import { duties } from './roles.ts'

export interface InitRequest {
  readonly directory: string
  /** Those that are to be made; a duty that is not among them gets an account of its own. */
  readonly users: readonly { readonly name: string; readonly role: Role }[]
}

export interface FirstAccount {
  readonly name: string
  readonly role: Role
  readonly password: string
}

/** Names of the accounts that are made where none is asked for. */
const dutyNames: Partial<Record<Role, string>> = {
  'system-administrator': 'sysadmin',
  'security-administrator': 'secadmin',
  'audit-administrator': 'auditadmin',
}

/**
 * Makes a console and its first accounts, one of each duty at least. Their passwords are told here and nowhere else, and
 * must be changed at the first sign-in. What was there before is never written over.
 */
export async function initConsole(
  request: InitRequest,
  parts: ConsoleParts,
): Promise<{ directory: string; accounts: FirstAccount[] }> {
  const directory = resolve(request.directory)
  await createPlace(directory, parts.random)
  using _lock = lockDirectory(directory)
  using context = await openConsole(directory, parts)
  if (context.accounts.list().length > 0) {
    throw new TidemarkError('already-exists', {
      message: `there is a console in ${directory} already`,
      hint: 'start it with "tidemark console run"; a password that is lost is set anew by "tidemark console user"',
    })
  }
  const missing = duties.filter((duty) => !request.users.some(({ role }) => role === duty))
  const wanted = [...missing.map((role) => ({ name: dutyNames[role] ?? role, role })), ...request.users]
  const accounts = wanted
    .map(({ name, role }) => ({ name, role, password: generatePassword(parts.random) }))
    .sort((a, b) => roles.indexOf(a.role) - roles.indexOf(b.role))
  const inserts = await Promise.all(accounts.map((account) => context.accounts.prepare(account)))
  context.database.atomically(() => {
    for (const insert of inserts) insert()
    for (const { name, role } of accounts) {
      context.audit.record({
        user: null,
        address: 'console',
        action: 'users',
        subject: name,
        outcome: 'done',
        detail: `made as ${role} with the console`,
      })
    }
  })
  return { directory, accounts }
}
