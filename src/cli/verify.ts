import type { Command } from 'commander'
import { apiPath, jsonLines } from '../api/client.ts'
import { verifyEvent } from '../api/schemas.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount } from './format.ts'
import { exitStatus, exitStatusHelp, type Parts } from './parts.ts'
import { statusOf } from './postgres.ts'
import { type PostgresVerifyOptions, verifyPostgres } from './verify-postgres.ts'

interface VerifyOptions extends PostgresVerifyOptions {
  at: string
}

const collect = (value: string, before: string[]): string[] => [...before, value]

export function verifyCommand(program: Command, parts: Parts): void {
  program
    .command('verify')
    .argument('<source>')
    .description('read back every byte of a point at the vault and check it; of PostgreSQL: recover and check it')
    .option('--at <point>', 'the moment', 'latest')
    .option('--query <sql>', 'of PostgreSQL: has to succeed, and not be false; may be repeated', collect, [])
    .option('--database <name>', 'of PostgreSQL: where queries run', 'postgres')
    .option(
      '--scratch <directory>',
      'of PostgreSQL: where it is restored for the check (default: the temporary folder)',
    )
    .option('--pg-bin <directory>', 'of PostgreSQL: the server programs; else on PATH, and where packages put them')
    .option('--user <name>', 'of PostgreSQL, for root: whom the server runs as (default: postgres)')
    .option('--json', 'one JSON object a line: progress, then the result')
    .addHelpText(
      'after',
      `
A PostgreSQL source is restored into a scratch folder, started, recovered, checked and removed; the result becomes a mark.
Examples:
  tidemark verify documents --at "1d ago"
  tidemark verify shop --database shop --query "select count(*) > 0 from orders"
${exitStatusHelp}`,
    )
    .action(async (source: string, options: VerifyOptions, command: Command) => {
      const client = connect(command, parts)
      const status = await statusOf(client, source)
      if (status.kind === 'postgres') return await verifyPostgres(client, status, options.at, options, command, parts)
      const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/verify`, { at: options.at })
      const events = jsonLines(await client.stream('POST', path, undefined, parts.signal), verifyEvent)
      for await (const event of events) {
        if (options.json) parts.out.write(`${JSON.stringify(event)}\n`)
        else if (event.done) {
          for (const { path: file, message } of event.failures) parts.out.write(`wrong: ${file}: ${message}\n`)
          parts.out.write(
            `${formatCount(event.files)} files, ${formatBytes(event.bytes)} read back, ${event.failures.length} wrong\n`,
          )
          if (event.notRecorded !== undefined) parts.out.write(`not recorded at the vault: ${event.notRecorded}\n`)
        } else if (parts.err.isTerminal) {
          parts.err.write(
            `\r${formatCount(event.files)}/${formatCount(event.filesTotal)} files, ${formatBytes(event.bytes)}\x1b[K`,
          )
          if (event.files === event.filesTotal) parts.err.write('\n')
        }
        if (event.done) parts.exitWith(event.failures.length > 0 ? exitStatus.notVerified : exitStatus.done)
      }
    })
}
