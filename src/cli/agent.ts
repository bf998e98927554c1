import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { Command } from 'commander'
import { vaultStatus } from '../api/schemas.ts'
import type { Discovered } from '../api/tasks.ts'
import { TidemarkError } from '../base/errors.ts'
import { collectLessOften } from '../base/heap.ts'
import { namePattern } from '../model/source.ts'
import { account } from './account.ts'
import { agentDirectory, connect } from './connect.ts'
import { formatBytes, formatCount, formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { processLog, watchedAddress, type WatchedOptions, withWatchedOptions } from './watched-options.ts'
import { parseAddress } from './option-values.ts'

export function agentCommands(program: Command, parts: Parts): void {
  const agent = program.command('agent').description('the agent: the process on a protected server')
  discoverCommand(agent, parts)
  const directoryOf = ({ dir }: { dir?: string }): string => dir ?? agentDirectory(parts)

  agent
    .command('join')
    .argument('<host:port>', "the vault's address")
    .description(
      'enrol this server with a vault; the token comes from TIDEMARK_TOKEN or a file, never the command line',
    )
    .option('--token-file <file>', 'a file with the token ("-" for standard input)')
    .option('--name <name>', 'what the vault calls this server; default its host name')
    .option('--dir <directory>', "the agent's directory; default TIDEMARK_HOME/agent")
    .addHelpText(
      'after',
      `
An agent whose certificate has expired joins again in its own directory, and stays who it is: it proves itself by its
key. Where that, or the whole machine, is lost, make a token with "tidemark vault token --replaces AGENT".

Example:
  TIDEMARK_TOKEN=AbC… tidemark agent join vault.county.example:7433
${exitStatusHelp}`,
    )
    .action(async (address: string, options: { tokenFile?: string; name?: string; dir?: string }) => {
      const name = options.name ?? hostname()
      if (!namePattern.test(name))
        throw new TidemarkError('bad-request', {
          message: `"${name}" is no name`,
          hint: 'give one with --name: letters, digits, "-", "_", "."',
        })
      const { joinVault } = await import('../agent/identity.ts')
      const joined = await joinVault(
        {
          directory: directoryOf(options),
          ...parseAddress(address, 'the address'),
          token: tokenOf(options, parts),
          name,
        },
        parts,
      )
      parts.out.write(
        `this server is now agent "${joined.name}" (${joined.agent}) of vault ${joined.vault}\n  next: "tidemark agent run", then "tidemark protect"\n`,
      )
    })

  withWatchedOptions(agent.command('run'), 'agent')
    .description('protect this server until stopped')
    .option('--dir <directory>', "the agent's directory; default TIDEMARK_HOME/agent")
    .addHelpText(
      'after',
      `
What --metrics opens is plain HTTP, for GET /metrics, /healthz and /readyz alone; the agent's socket answers them always.

Examples:
  tidemark agent run
  tidemark agent run --metrics --log-format json
${exitStatusHelp}`,
    )
    .action(async (options: WatchedOptions & { dir?: string }) => {
      collectLessOften()
      const { runAgentProcess } = await import('./agent-process.ts')
      await runAgentProcess(directoryOf(options), {
        ...parts,
        ...processLog(options, 'agent', parts),
        metrics: watchedAddress(options, 'agent'),
      })
    })
}

/** What an agent is asked for by its vault, and an operator may ask as well. */
function discoverCommand(agent: Command, parts: Parts): void {
  agent
    .command('discover')
    .description('what there is to protect on this server: databases, file systems, large directories')
    .option('--json', 'one JSON object')
    .addHelpText('after', `\nExample:\n  tidemark agent discover\n${exitStatusHelp}`)
    .action(async ({ json }: { json?: boolean }, command: Command) => {
      const { sources } = await connect(command, parts).json('GET', '/v1/status', vaultStatus)
      const { discover } = await import('../agent/discovery/discover.ts')
      const found = await discover(sources, { ...parts, account: account() }, parts.signal)
      parts.out.write(json ? `${JSON.stringify({ discovered: found })}\n` : describeDiscovered(found))
    })
}

function describeDiscovered({ hostname: host, system, postgres, mounts, directories, stopped }: Discovered): string {
  const servers = postgres.map(({ url, version, source, problems }) => [
    url,
    version,
    source ?? '',
    problems[0]?.message ?? '',
  ])
  const hints = postgres.flatMap(({ url, problems }) =>
    problems.map(({ message, hint }) => `${url}: ${message}\n${hint === undefined ? '' : `  next: ${hint}\n`}`),
  )
  return [
    `${host}, ${system}\n\n`,
    servers.length === 0 ? 'no PostgreSQL server runs here, or this user may not see it\n' : '',
    servers.length > 0 ? formatTable(['POSTGRESQL', 'VERSION', 'SOURCE', 'IN THE WAY'], servers) : '',
    ...hints,
    '\n',
    formatTable(
      ['FILE SYSTEM', 'TYPE', 'SIZE', 'USED', 'SOURCE'],
      mounts.map(({ path, type, bytes, usedBytes, source }) => [
        path,
        type,
        formatBytes(bytes),
        formatBytes(usedBytes),
        source ?? '',
      ]),
      [2, 3],
    ),
    '\n',
    formatTable(
      ['DIRECTORY', 'SIZE', 'FILES', 'SOURCE'],
      directories.map(({ path, bytes, files, source }) => [path, formatBytes(bytes), formatCount(files), source ?? '']),
      [1, 2],
    ),
    stopped === undefined ? '' : `not all directories were looked at: the walk ended ${stopped}\n`,
  ].join('')
}

export function tokenOf({ tokenFile }: { readonly tokenFile?: string }, { environment }: Parts): string {
  const token =
    tokenFile === undefined ? environment['TIDEMARK_TOKEN'] : readFileSync(tokenFile === '-' ? 0 : tokenFile, 'utf8')
  if (token === undefined || token.trim() === '') {
    throw new TidemarkError('token-refused', {
      message: 'no token was given',
      hint: 'make one with "tidemark vault token" at the vault and set TIDEMARK_TOKEN',
    })
  }
  return token.trim()
}
