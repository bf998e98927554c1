import type { Command } from 'commander'
import type { z } from 'zod'
import { apiPath, jsonLines } from '../api/client.ts'
import { markAnswer, pointRow, type PointRow } from '../api/schemas.ts'
import { type Moment, formatMoment, fromMilliseconds } from '../model/moment.ts'
import { connect } from './connect.ts'
import { whileFrozen } from './freeze.ts'
import { formatCount, formatTable } from './format.ts'
import { duration } from './option-values.ts'
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

interface MarkOptions {
  freeze?: string
  thaw?: string
  freezeMax: string
  json?: boolean
}

export function markCommand(program: Command, parts: Parts): void {
  program
    .command('mark')
    .argument('<source>')
    .argument('<label>', 'what to call this place; "--at mark:LABEL" finds it again')
    .description('name this moment in the journal')
    .option('--freeze <command>', 'run before it; where it fails there is no mark')
    .option('--thaw <command>', 'run after it, whatever happens')
    .option('--freeze-max <duration>', 'nothing stays frozen for longer', '10s')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  tidemark mark documents before-upgrade && tidemark restore documents --at mark:before-upgrade --to /srv/check
  tidemark mark erp-disk quiet --freeze 'fsfreeze -f /srv/erp' --thaw 'fsfreeze -u /srv/erp'
${exitStatusHelp}`,
    )
    .action(async (source: string, label: string, options: MarkOptions, command: Command) => {
      const path = `/v1/sources/${encodeURIComponent(source)}/marks`
      const client = connect(command, parts)
      const mark = (): Promise<z.infer<typeof markAnswer>> => client.json('POST', path, markAnswer, { label })
      const { freeze, thaw } = options
      const limitMs = duration('--freeze-max', options.freezeMax) ?? 0
      const tell = (line: string): void => parts.err.write(`${line}\n`)
      const isFrozen = freeze !== undefined || thaw !== undefined
      const answer = isFrozen
        ? await whileFrozen({ freeze, thaw, limitMs, clock: parts.clock }, tell, mark)
        : await mark()
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
