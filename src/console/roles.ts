import type { Action, Role } from '../api/console.ts'

/** Who may do what; docs/decisions/0010-console.md tells why. The three duties share nothing that could cover another's tracks. */
export const roleActions: Readonly<Record<Role, readonly Action[]>> = {
  'system-administrator': ['see', 'servers', 'protect', 'vaults', 'channels', 'acknowledge'],
  'security-administrator': ['users'],
  'audit-administrator': ['audit'],
  'operator': ['see', 'contents', 'mark', 'verify', 'restore', 'acknowledge'],
  'viewer': ['see'],
}

/** The duties of which one account always stays. */
export const duties: readonly Role[] = ['system-administrator', 'security-administrator', 'audit-administrator']

/** What the command line may do at the console's own socket, as the user whom its directory belongs to. */
export const machineActions: readonly Action[] = ['see', 'vaults', 'users', 'audit', 'channels']
