import type { Command } from 'commander'
import { z } from 'zod'
import { consoleRecord } from '../api/consoles.ts'
import { tokenAnswer } from '../api/schemas.ts'
import { TidemarkError } from '../base/errors.ts'
import { collectLessOften } from '../base/heap.ts'
import { namePattern } from '../model/source.ts'
import { formatMoment } from '../model/moment.ts'
import { connect, vaultDirectory } from './connect.ts'
import { formatCount, formatTable } from './format.ts'
import { isoToMoment } from './points.ts'
import { vaultSpaceCommand } from './vault-space.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { duration, parseAddress } from './option-values.ts'
import { processLog, watchedAddress, type WatchedOptions, withWatchedOptions } from './watched-options.ts'

const collect = (value: string, before: string[]): string[] => [...before, value]
const defaultListen = '127.0.0.1:7433'

// What serves is loaded only when it is needed: most commands are short.
export function vaultCommands(program: Command, parts: Parts): void {
  const vault = program.command('vault').description('the vault: the place in another town that keeps the journals')
  const directoryOf = ({ dir }: { dir?: string }): string => dir ?? vaultDirectory(parts)
  const tell = (line: string): void => void parts.err.write(`${line}\n`)

  vault
    .command('init')
    .description('create a vault: its key, its authority, its directory')
    .option('--dir <directory>', 'where; default TIDEMARK_HOME/vault')
    .option('--name <name>', 'what to call it', 'vault')
    .option('--address <host>', 'a name or address that agents will dial; may be repeated', collect, [])
    .option('--key-file <file>', 'keep the vault key there instead of in the directory')
    .option('--passphrase-file <file>', 'derive the vault key from the passphrase in this file')
    .addHelpText(
      'after',
      `\nExample:\n  tidemark vault init --name county --address vault.county.example --key-file /etc/tidemark/vault.key\n${exitStatusHelp}`,
    )
    .action(
      async (options: { dir?: string; name: string; address: string[]; keyFile?: string; passphraseFile?: string }) => {
        if (!namePattern.test(options.name))
          throw new TidemarkError('bad-request', {
            message: `"${options.name}" is no name`,
            hint: 'use letters, digits, "-", "_", "."',
          })
        const { initVault } = await import('../vault-server/init.ts')
        const made = await initVault({ ...options, directory: directoryOf(options), addresses: options.address }, parts)
        parts.out.write(`vault "${options.name}" created in ${made.directory}\n`)
        parts.out.write(
          `  key: ${made.key}. Keep a copy of it elsewhere: without it nothing in the vault can ever be read.\n`,
        )
        parts.out.write('  next: "tidemark vault run", then "tidemark vault token" for each server to protect\n')
      },
    )

  withWatchedOptions(vault.command('run'), 'vault')
    .description('serve the vault until stopped')
    .option('--dir <directory>', 'its directory; default TIDEMARK_HOME/vault')
    .option(
      '--listen <host:port>',
      'where agents connect; nothing listens beyond loopback until told here',
      defaultListen,
    )
    .addHelpText(
      'after',
      `
What --metrics opens is plain HTTP, for GET /metrics, /healthz and /readyz alone; the vault's socket answers them always.

Examples:
  tidemark vault run --listen 0.0.0.0:7433
  tidemark vault run --listen 0.0.0.0:7433 --metrics 10.0.0.7:9433 --log-format json
${exitStatusHelp}`,
    )
    .action(async (options: WatchedOptions & { dir?: string; listen: string }) => {
      collectLessOften()
      const { runVault } = await import('../vault-server/run.ts')
      await runVault(
        {
          directory: directoryOf(options),
          ...parseAddress(options.listen, '--listen'),
          metrics: watchedAddress(options, 'vault'),
        },
        { ...parts, ...processLog(options, 'vault', parts) },
        parts.signal,
      )
    })

  vault
    .command('token')
    .description('a one-time token with which one server, or one console, may join')
    .option('--valid <duration>', 'how long it may be used', '1h')
    .option('--console', 'for a console: it may do what the operator of the vault may')
    .option('--replaces <agent>', 'good only to take the place of this agent, whose machine or key is lost')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
With --replaces, what the lost agent protected goes on from where its journals end. An agent that still has its key
needs no such token.

Examples:
  tidemark vault token --valid 30m
  tidemark vault token --replaces registry-server
  tidemark vault token --console
${exitStatusHelp}`,
    )
    .action(async (options: TokenOptions, command: Command) => {
      if (options.console === true) return consoleToken(options, command)
      const answer = await connect(command, parts).json('POST', '/v1/tokens', tokenAnswer, {
        validMs: duration('--valid', options.valid),
        replaces: options.replaces,
      })
      parts.out.write(
        options.json
          ? `${JSON.stringify(answer)}\n`
          : `${answer.token}\n\nOn the server to protect, until ${formatMoment(isoToMoment(answer.expires))}:\n  TIDEMARK_TOKEN=${answer.token} tidemark agent join HOST:PORT\n`,
      )
    })

  const consoleToken = async ({ valid, replaces, json }: TokenOptions, command: Command): Promise<void> => {
    if (replaces !== undefined)
      throw new TidemarkError('bad-request', {
        message: '--replaces is for agents',
        hint: 'a console that is lost is revoked ("tidemark vault consoles --revoke NAME") and joins anew',
      })
    const validMs = duration('--valid', valid)
    const answer = await connect(command, parts).json('POST', '/v1/consoles/tokens', tokenAnswer, { validMs })
    parts.out.write(
      json
        ? `${JSON.stringify(answer)}\n`
        : `${answer.token}\n\nAt the console, until ${formatMoment(isoToMoment(answer.expires))}: add this vault on its page, or\n  TIDEMARK_TOKEN=${answer.token} tidemark console add-vault HOST:PORT\n`,
    )
  }

  vault
    .command('consoles')
    .description('the consoles that may steer this vault')
    .option('--revoke <console>', 'let this one in no more')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `\nExamples:\n  tidemark vault consoles\n  tidemark vault consoles --revoke duty-room\n${exitStatusHelp}`,
    )
    .action(async ({ revoke, json }: { revoke?: string; json?: boolean }, command: Command) => {
      const client = connect(command, parts)
      if (revoke !== undefined)
        await client.json('POST', `/v1/consoles/${encodeURIComponent(revoke)}/revoke`, z.object({}))
      const consoles = await client.json('GET', '/v1/consoles', z.array(consoleRecord))
      if (json) for (const one of consoles) parts.out.write(`${JSON.stringify(one)}\n`)
      else
        parts.out.write(
          formatTable(
            ['CONSOLE', 'STATE', 'SINCE'],
            consoles.map(({ name, revoked, connected, enrolled }) => [
              name,
              revoked ? 'revoked' : connected ? 'connected' : 'away',
              formatMoment(isoToMoment(enrolled)),
            ]),
          ),
        )
    })

  vaultSpaceCommand(vault, parts)

  vault
    .command('reindex')
    .description('rebuild what is derived (catalogue and indexes) from the journals; the vault must be stopped')
    .option('--dir <directory>', 'its directory; default TIDEMARK_HOME/vault')
    .option('--json', 'one JSON object')
    .addHelpText('after', `\nExample:\n  tidemark vault reindex\n${exitStatusHelp}`)
    .action(async (options: { dir?: string; json?: boolean }) => {
      const { reindexVault } = await import('../vault-server/reindex.ts')
      const rebuilt = await reindexVault({ directory: directoryOf(options) }, { ...parts, tell }, parts.signal)
      parts.out.write(
        options.json
          ? `${JSON.stringify(rebuilt)}\n`
          : `${formatCount(rebuilt.journals)} journals with ${formatCount(rebuilt.changes)} changes indexed again\n`,
      )
    })
}

interface TokenOptions {
  readonly valid: string
  readonly console?: boolean
  readonly replaces?: string
  readonly json?: boolean
}
