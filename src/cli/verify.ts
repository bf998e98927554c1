import type { Command } from 'commander'
import { apiPath, jsonLines } from '../api/client.ts'
import { verifyEvent } from '../api/schemas.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount } from './format.ts'
import { exitStatus, exitStatusHelp, type Parts } from './parts.ts'

export function verifyCommand(program: Command, parts: Parts): void {
  program
    .command('verify')
    .argument('<source>')
    .description('read back every byte of a point at the vault and check it')
    .option('--at <point>', 'the moment', 'latest')
    .option('--json', 'one JSON object a line: progress, then the result')
    .addHelpText('after', `\nExample:\n  tidemark verify documents --at "1d ago"\n${exitStatusHelp}`)
    .action(async (source: string, options: { at: string; json?: boolean }, command: Command) => {
      const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/verify`, { at: options.at })
      const events = jsonLines(await connect(command, parts).stream('POST', path, undefined, parts.signal), verifyEvent)
      for await (const event of events) {
        if (options.json) parts.out.write(`${JSON.stringify(event)}\n`)
        else if (event.done) {
          for (const { path: file, message } of event.failures) parts.out.write(`wrong: ${file}: ${message}\n`)
          parts.out.write(
            `${formatCount(event.files)} files, ${formatBytes(event.bytes)} read back, ${event.failures.length} wrong\n`,
          )
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
