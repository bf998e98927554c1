import type { Command } from 'commander'
import { z } from 'zod'
import { role, roles, user, userAnswer, userName } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { withConsole } from './console-connect.ts'
import { formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

/** Accounts, for whoever the directory of the console belongs to: he lets in who has lost his password. */
export function consoleUserCommands(console: Command, parts: Parts): void {
  console
    .command('users')
    .description('the accounts of the console')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .option('--json', 'one JSON object a line')
    .addHelpText('after', `\nExample:\n  tidemark console users\n${exitStatusHelp}`)
    .action(async (options: { dir?: string; json?: boolean }) => {
      const users = await withConsole(options, parts, (client) => client.json('GET', '/api/users', z.array(user)))
      if (options.json) for (const one of users) parts.out.write(`${JSON.stringify(one)}\n`)
      else
        parts.out.write(
          formatTable(
            ['ACCOUNT', 'ROLE', 'STATE', 'AUTHENTICATOR', 'LAST SIGN-IN'],
            users.map((one) => [
              one.name,
              one.role,
              one.enabled ? (one.mustChangePassword ? 'password to be changed' : 'enabled') : 'disabled',
              one.hasTotp ? 'yes' : 'no',
              one.lastSignIn === null ? 'never' : formatMoment(isoToMoment(one.lastSignIn)),
            ]),
          ),
        )
    })

  console
    .command('user')
    .argument('<name>', 'the account')
    .description('make an account, or change one; every change ends its sessions and is in the audit log')
    .option('--add <role>', 'make it; its password is told once')
    .option('--role <role>', 'give it another role')
    .option('--reset-password', 'make a new password, told once')
    .option('--reset-totp', 'forget its authenticator')
    .option('--disable', 'let it in no more')
    .option('--enable', 'let it in again')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Roles: ${roles.join(', ')}.

Examples:
  tidemark console user li --add operator
  tidemark console user secadmin --reset-password --reset-totp
${exitStatusHelp}`,
    )
    .action(async (name: string, options: UserOptions) => {
      const answer = await withConsole(options, parts, (client) => {
        const { add } = options
        if (add !== undefined)
          return client.json('POST', '/api/users', userAnswer, { name: known(userName, name), role: known(role, add) })
        return client.json('PATCH', `/api/users/${encodeURIComponent(name)}`, userAnswer, changeOf(options))
      })
      if (options.json) return parts.out.write(`${JSON.stringify(answer)}\n`)
      const { user: changed, password } = answer
      parts.out.write(`${changed.name}: ${changed.role}, ${changed.enabled ? 'enabled' : 'disabled'}\n`)
      if (password !== undefined) parts.out.write(`password, to be changed at the first sign-in: ${password}\n`)
      return undefined
    })
}

interface UserOptions {
  readonly add?: string
  readonly role?: string
  readonly resetPassword?: boolean
  readonly resetTotp?: boolean
  readonly disable?: boolean
  readonly enable?: boolean
  readonly dir?: string
  readonly json?: boolean
}

function changeOf(options: UserOptions): Record<string, unknown> {
  const change = {
    ...(options.role === undefined ? {} : { role: known(role, options.role) }),
    ...(options.resetPassword === true ? { resetPassword: true } : {}),
    ...(options.resetTotp === true ? { resetTotp: true } : {}),
    ...(options.disable === options.enable ? {} : { enabled: options.enable === true }),
  }
  if (Object.keys(change).length > 0) return change
  throw new TidemarkError('bad-request', {
    message: 'nothing was said that should become of the account',
    hint: 'give one of --add, --role, --reset-password, --reset-totp, --disable, --enable',
  })
}

function known<T>(schema: z.ZodType<T>, text: string): T {
  const parsed = schema.safeParse(text)
  if (parsed.success) return parsed.data
  throw new TidemarkError('bad-request', {
    message: `"${text}" will not do`,
    hint: `names are of letters, digits, "-", "_", "."; roles are ${roles.join(', ')}`,
  })
}
