import type { Command } from 'commander'
import { archiveFormats } from '../api/around.ts'
import { apiPath } from '../api/client.ts'
import { TidemarkError } from '../base/errors.ts'
import { parseTarget, pointHelp } from './browse.ts'
import { connect } from './connect.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

export function archiveCommand(program: Command, parts: Parts): void {
  program
    .command('archive')
    .argument('<source:path>')
    .description('a directory or file as it stood at any moment, as tar or zip to standard output')
    .option('--at <point>', 'the moment', 'latest')
    .option('--format <format>', 'tar, with owners, times and hard links; or zip, for a PC', 'tar')
    .addHelpText(
      'after',
      `${pointHelp}
Every byte is checked before it goes out; where one is damaged the archive breaks off and the command fails. Sockets, devices and
pipes are left out, names that a zip cannot hold are changed: NAME.notes.txt in the archive tells which. "restore" brings back everything.
Examples:
  tidemark archive documents:/srv/docs --at "1h ago" | tar -x -C /tmp/before
  tidemark archive documents:/srv/docs --at mark:before-upgrade --format zip > docs.zip
${exitStatusHelp}`,
    )
    .action(async (target: string, { at, format }: { at: string; format: string }, command: Command) => {
      if (!archiveFormats.some((one) => one === format))
        throw new TidemarkError('bad-request', { message: `--format ${format} is not known`, hint: 'give tar or zip' })
      if (parts.out.isTerminal)
        throw new TidemarkError('bad-request', {
          message: 'an archive is not for a terminal',
          hint: 'send it to a file with "> NAME" or to a program with "| tar -x"',
        })
      const { source, path } = parseTarget(target)
      const from = apiPath(`/v1/sources/${encodeURIComponent(source)}/archive`, { at, format, path })
      for await (const piece of await connect(command, parts).stream('GET', from, undefined, parts.signal)) {
        parts.out.write(piece)
        await parts.out.drained()
      }
    })
}
