import type { Command } from 'commander'
import { z } from 'zod'
import { vaultEntry } from '../api/console.ts'
import { formatMoment } from '../model/moment.ts'
import { tokenOf } from './agent.ts'
import { withConsole } from './console-connect.ts'
import { formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

/** Which vaults the console sees. */
export function consoleVaultCommands(console: Command, parts: Parts): void {
  console
    .command('vaults')
    .description('the vaults that the console reads, and whether they are reached')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .option('--json', 'one JSON object a line')
    .addHelpText('after', `\nExample:\n  tidemark console vaults\n${exitStatusHelp}`)
    .action(async (options: { dir?: string; json?: boolean }) => {
      const entries = await withConsole(options, parts, (client) =>
        client.json('GET', '/api/vaults', z.array(vaultEntry)),
      )
      if (options.json) for (const entry of entries) parts.out.write(`${JSON.stringify(entry)}\n`)
      else
        parts.out.write(
          formatTable(
            ['VAULT', 'ADDRESS', 'SITE', 'STATE', 'SINCE', 'WHY'],
            entries.map(({ name, url, site, connected, since, error }) => [
              name,
              url,
              site ?? '',
              connected ? 'connected' : since === null ? 'not reached yet' : 'away',
              since === null ? '' : formatMoment(isoToMoment(since)),
              error ?? '',
            ]),
          ),
        )
    })

  console
    .command('add-vault')
    .argument('<host:port>', "the vault's address, as agents dial it")
    .description('let this console in at a vault; the token comes from TIDEMARK_TOKEN, a file or --token')
    .option('--token <token>', 'from "tidemark vault token --console"; seen by whoever lists processes, good once')
    .option('--token-file <file>', 'a file with the token ("-" for standard input)')
    .option('--site <name>', 'where the vault stands')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
A vault that has moved, or whose certificate for this console was revoked or has ended, is added again.

Examples:
  TIDEMARK_TOKEN=AbC… tidemark console add-vault vault.county.example:7433
  tidemark console add-vault vault.county.example:7433 --token-file - --site county < token
${exitStatusHelp}`,
    )
    .action(async (url: string, options: AddOptions) => {
      const token = options.token ?? tokenOf(options, parts)
      const entry = await withConsole(options, parts, (client) =>
        client.json('POST', '/api/vaults', vaultEntry, { url, token, site: options.site }),
      )
      parts.out.write(
        options.json ? `${JSON.stringify(entry)}\n` : `vault "${entry.name}" (${entry.id}) is added at ${entry.url}\n`,
      )
    })

  console
    .command('remove-vault')
    .argument('<vault>', 'its name or id')
    .description('read a vault no more; what it keeps stays as it is')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .addHelpText('after', `\nExample:\n  tidemark console remove-vault north\n${exitStatusHelp}`)
    .action(async (vault: string, options: { dir?: string }) => {
      await withConsole(options, parts, (client) =>
        client.json('DELETE', `/api/vaults/${encodeURIComponent(vault)}`, z.object({})),
      )
      parts.out.write(
        `vault "${vault}" is removed\n  next: "tidemark vault consoles --revoke" at the vault, so that it lets this console in no more\n`,
      )
    })
}

interface AddOptions {
  readonly token?: string
  readonly tokenFile?: string
  readonly site?: string
  readonly dir?: string
  readonly json?: boolean
}
