import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { type Role, role, roles, userName } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import type { HttpsRequest } from '../console/listening.ts'
import { consoleAuditCommand } from './console-audit.ts'
import { consoleDirectory, consolePages } from './console-connect.ts'
import { consoleUserCommands } from './console-users.ts'
import { consoleVaultCommands } from './console-vaults.ts'
import { formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { parseAddress } from './option-values.ts'
import { processLog, watchedAddress, type WatchedOptions, withWatchedOptions } from './watched-options.ts'

const defaultConsoleListen = '127.0.0.1:7435'

const collect = (value: string, before: string[]): string[] => [...before, value]

// What serves is loaded only when it is needed: most commands are short.
export function consoleCommands(program: Command, parts: Parts): void {
  const console = program.command('console').description('the console: every vault and agent on one screen')
  const directoryOf = ({ dir }: { dir?: string }): string => dir ?? consoleDirectory(parts)
  const tell = (line: string): void => void parts.err.write(`${line}\n`)

  console
    .command('init')
    .description('create a console: its directory, and an account for each of the three duties')
    .option('--dir <directory>', 'where; default TIDEMARK_HOME/console')
    .option('--user <name:role>', `an account, in place of a duty's or besides; may be repeated`, collect, [])
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
The passwords are told once, here, and must be changed at the first sign-in. Give each account to another person.
Roles: ${roles.join(', ')}.

Examples:
  tidemark console init
  tidemark console init --user wang:system-administrator --user li:operator
${exitStatusHelp}`,
    )
    .action(async (options: { dir?: string; user: string[]; json?: boolean }) => {
      const { initConsole } = await import('../console/init.ts')
      const made = await initConsole(
        { directory: directoryOf(options), users: options.user.map(parseUser) },
        { ...parts, tell },
      )
      if (options.json === true) return parts.out.write(`${JSON.stringify(made)}\n`)
      parts.out.write(`console created in ${made.directory}\n\n`)
      parts.out.write(
        formatTable(
          ['ACCOUNT', 'ROLE', 'PASSWORD, TO BE CHANGED'],
          made.accounts.map((account) => [account.name, account.role, account.password]),
        ),
      )
      return parts.out.write('\nThe passwords are not kept anywhere else.\n  next: "tidemark console run"\n')
    })

  withWatchedOptions(console.command('run'), 'console')
    .description('serve the console until stopped')
    .option('--dir <directory>', 'its directory; default TIDEMARK_HOME/console')
    .option('--listen <host:port>', 'where browsers connect', defaultConsoleListen)
    .option('--https', 'with a certificate that the console makes for itself')
    .addOption(new Option('--certificate <file>', 'a certificate, PEM, with those that signed it').conflicts('https'))
    .addOption(new Option('--key <file>', 'its key, PEM').conflicts('https'))
    .option('--name <host>', 'a name that the console is reached by; may be repeated', collect, [])
    .option('--plain', 'beyond loopback without HTTPS: passwords cross the network in the clear')
    .addHelpText(
      'after',
      `
Beyond loopback it listens over HTTPS only. A certificate that is replaced is taken within the hour.

Examples:
  tidemark console run
  tidemark console run --listen 0.0.0.0:7435 --https --name console.county.example
  tidemark console run --listen 0.0.0.0:443 --certificate console.pem --key console.key
${exitStatusHelp}`,
    )
    .action(async (options: RunOptions) => {
      const { runConsole } = await import('../console/run.ts')
      const listen = parseAddress(options.listen, '--listen')
      await runConsole(
        {
          directory: directoryOf(options),
          listen: { ...listen, https: httpsOf(options, listen.host), isPlainAllowed: options.plain === true },
          pages: consolePages,
          names: [hostname(), ...options.name],
          metrics: watchedAddress(options, 'console'),
        },
        { ...parts, ...processLog(options, 'console', parts) },
        parts.signal,
      )
    })
  consoleVaultCommands(console, parts)
  consoleUserCommands(console, parts)
  consoleAuditCommand(console, parts)
}

interface RunOptions extends WatchedOptions {
  readonly dir?: string
  readonly listen: string
  readonly https?: boolean
  readonly certificate?: string
  readonly key?: string
  readonly name: string[]
  readonly plain?: boolean
}

function httpsOf({ https, certificate, key, name }: RunOptions, host: string): HttpsRequest | undefined {
  if (certificate !== undefined && key !== undefined) return { certificateFile: certificate, keyFile: key }
  if (certificate !== undefined || key !== undefined)
    throw new TidemarkError('bad-request', {
      message: 'a certificate and its key belong together',
      hint: 'give both --certificate and --key',
    })
  const any = ['0.0.0.0', '::']
  const names = ['localhost', '127.0.0.1', '::1', hostname(), ...(any.includes(host) ? [] : [host]), ...name]
  return https === true ? { isSelfMade: true, names: [...new Set(names)] } : undefined
}

function parseUser(text: string): { name: string; role: Role } {
  const at = text.lastIndexOf(':')
  const name = userName.safeParse(text.slice(0, at))
  const wanted = role.safeParse(text.slice(at + 1))
  if (at > 0 && name.success && wanted.success) return { name: name.data, role: wanted.data }
  throw new TidemarkError('bad-request', {
    message: `--user ${text} is not NAME:ROLE`,
    hint: `a name of letters, digits, "-", "_", "."; a role of: ${roles.join(', ')}`,
  })
}
