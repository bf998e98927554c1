import type { Command } from 'commander'
import { apiPath, jsonLines } from '../api/client.ts'
import { markAnswer, pointRow, type PointRow } from '../api/schemas.ts'
import { type Moment, formatMoment, fromMilliseconds } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatCount, formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

export function pointsCommand(program: Command, parts: Parts): void {
  program
    .command('points')
    .argument('<source>')
    .description('recovery points: moments of activity, marks, holes')
    .option('--from <point>', 'from this point on')
    .option('--to <point>', 'up to this point')
    .option('--limit <count>', 'at most this many, the newest', '50')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
Any moment between two lines can be restored too: activity is shown in spans. Of a volume the flushes among the changes
are counted: "flush" is the last one, "flush:MOMENT" the last one up to a moment.
Examples:
  tidemark points documents --from "2h ago"
  tidemark points documents --from "2026-11-22 14:00" --to "2026-11-22 14:10" --limit 500
${exitStatusHelp}`,
    )
    .action(
      async (
        source: string,
        options: { from?: string; to?: string; limit: string; json?: boolean },
        command: Command,
      ) => {
        const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/points`, {
          from: options.from,
          to: options.to,
          limit: options.limit,
        })
        const rows: PointRow[] = []
        for await (const row of jsonLines(
          await connect(command, parts).stream('GET', path, undefined, parts.signal),
          pointRow,
        )) {
          if (options.json) parts.out.write(`${JSON.stringify(row)}\n`)
          else rows.push(row)
        }
        if (!options.json) parts.out.write(describePoints(rows))
      },
    )
}

export function markCommand(program: Command, parts: Parts): void {
  program
    .command('mark')
    .argument('<source>')
    .argument('<label>', 'what to call this place; "--at mark:LABEL" finds it again')
    .description('name this moment in the journal')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Example:
  tidemark mark documents before-upgrade && tidemark restore documents --at mark:before-upgrade --to /srv/check
${exitStatusHelp}`,
    )
    .action(async (source: string, label: string, options: { json?: boolean }, command: Command) => {
      const path = `/v1/sources/${encodeURIComponent(source)}/marks`
      const answer = await connect(command, parts).json('POST', path, markAnswer, { label })
      parts.out.write(
        options.json ? `${JSON.stringify(answer)}\n` : `marked: seq:${answer.sequence} is mark:${label}\n`,
      )
    })
}

const local = (iso: string): string => formatMoment(isoToMoment(iso))

/** The API's moments have microseconds, which Date does not keep. */
export const isoToMoment = (iso: string): Moment =>
  (fromMilliseconds(Date.parse(`${iso.slice(0, 19)}Z`)) + Number(iso.slice(20, 26))) as Moment

const flushesOf = ({ flushes }: PointRow): string | undefined =>
  flushes && `${formatCount(flushes.count)} flushes, the last at seq:${flushes.last}`

function describePoints(rows: readonly PointRow[]): string {
  if (rows.length === 0) return 'no recovery points there\n'
  return formatTable(
    ['POINT', 'MOMENT', 'UNTIL', 'KIND', 'CHANGES', ''],
    rows.map((row) => [
      `seq:${row.sequence}`,
      local(row.moment),
      row.until === undefined ? '' : local(row.until),
      row.kind,
      row.changes === undefined ? '' : formatCount(row.changes),
      [row.label, row.settled ? 'settled' : undefined, flushesOf(row)].filter((word) => word !== undefined).join(' '),
    ]),
    [4],
  )
}
