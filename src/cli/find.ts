import type { Command } from 'commander'
import { apiPath, jsonLines } from '../api/client.ts'
import { searchEnd, searchLine, type SearchRow } from '../api/around.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatTable } from './format.ts'
import { rowCount } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

interface FindOptions {
  below?: string
  gone?: boolean
  limit: string
  json?: boolean
}

const rowsAtOnce = 1_000
const limitMax = 100_000

export function findCommand(program: Command, parts: Parts): void {
  program
    .command('find')
    .argument('<source>')
    .argument('<name>', 'a part of the name, in any case')
    .description('files and directories by name, at any moment of the kept past')
    .option('--below <path>', 'below this directory only')
    .option('--gone', 'only what was removed or renamed, the last first')
    .option('--limit <count>', 'at most this many, the newest', '200')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
UNTIL is when it was removed or renamed; the POINT beside it is the last one at which it can be read or restored.
Example:
  tidemark find documents report --gone && tidemark cat documents:/srv/docs/report.odt --at seq:81233 > report.odt
${exitStatusHelp}`,
    )
    .action(async (source: string, name: string, options: FindOptions, command: Command) => {
      const limit = rowCount('--limit', options.limit, limitMax)
      const client = connect(command, parts)
      const rows: SearchRow[] = []
      let next: string | undefined
      do {
        const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/search`, {
          name,
          path: options.below,
          gone: options.gone === true ? 'true' : undefined,
          limit: Math.min(rowsAtOnce, limit - rows.length),
          cursor: next,
        })
        next = undefined
        for await (const line of jsonLines(await client.stream('GET', path, undefined, parts.signal), searchLine)) {
          if ('path' in line) {
            rows.push(line)
            if (options.json) parts.out.write(`${JSON.stringify(line)}\n`)
          } else next = searchEnd.parse(line).next ?? undefined
        }
      } while (next !== undefined && rows.length < limit)
      if (options.json) return
      parts.out.write(describe(rows))
      if (next !== undefined) parts.err.write(`there may be more than ${formatCount(limit)}; name a larger --limit\n`)
    })
}

function describe(rows: readonly SearchRow[]): string {
  if (rows.length === 0) return 'no such name at any moment kept\n'
  return formatTable(
    ['SINCE', 'UNTIL', 'POINT', 'SIZE', 'PATH'],
    rows.map(({ path, type, since, until, untilSequence, bytes }) => [
      formatMoment(isoToMoment(since)),
      until === null ? '' : formatMoment(isoToMoment(until)),
      untilSequence === null ? 'latest' : `seq:${untilSequence - 1}`,
      type === 'file' ? formatBytes(bytes) : type,
      path,
    ]),
    [3],
  )
}
