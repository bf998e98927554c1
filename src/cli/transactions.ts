import type { Command } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { formatLsn, parseTimeline } from '../model/lsn.ts'
import { formatMoment, type Moment } from '../model/moment.ts'
import { parsePostgresPoint } from '../model/postgres-point.ts'
import { type Bound, listTransactions, type Recoverable } from '../recover/postgres/transactions.ts'
import { connect } from './connect.ts'
import { formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { tellEntry } from './postgres.ts'
import { apiTreeReader } from './tree-reader.ts'

interface TransactionsOptions {
  from?: string
  to?: string
  limit: string
  timeline?: string
  json?: boolean
}

export function transactionsCommand(program: Command, parts: Parts): void {
  program
    .command('transactions')
    .argument('<source>')
    .description('what a PostgreSQL source can be recovered to: commits, prepared transactions, restore points')
    .option('--from <place>', 'from this moment or lsn:X/Y on')
    .option('--to <place>', 'up to this moment or lsn:X/Y')
    .option('--limit <count>', 'at most this many, the newest', '50')
    .option('--timeline <number>', 'of a branch that was left, instead of the newest')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
In the order of the log, which is the order of commits and neither that of transaction ids nor quite that of times.
Example:
  tidemark transactions shop --from "10m ago" && tidemark restore shop --at before:xid:74123 --to /srv/shop --start
${exitStatusHelp}`,
    )
    .action(async (source: string, options: TransactionsOptions, command: Command) => {
      const limit = Number(options.limit)
      if (!Number.isInteger(limit) || limit < 1 || limit > 1_000_000)
        throw new TidemarkError('bad-request', {
          message: `--limit ${options.limit} is no count`,
          hint: 'give a number from 1 to 1000000',
        })
      const bound = (text: string | undefined): Bound | undefined =>
        text === undefined || text === 'latest' ? undefined : parseBound(text, parts.clock.now() as Moment)
      const rows = await listTransactions(apiTreeReader(connect(command, parts), source, parts.signal), {
        from: bound(options.from),
        to: bound(options.to),
        limit,
        timeline: options.timeline === undefined ? undefined : parseTimeline(options.timeline),
      })
      if (options.json)
        for (const { entry, timeline } of rows)
          parts.out.write(`${JSON.stringify({ ...tellEntry(entry), timeline })}\n`)
      else parts.out.write(describe(rows))
    })
}

function parseBound(text: string, now: Moment): Bound {
  const point = parsePostgresPoint(text, now)
  if (point.kind === 'moment') return { moment: point.moment }
  if (point.kind === 'lsn') return { lsn: point.lsn }
  throw new TidemarkError('bad-request', {
    message: `${text} is neither a moment nor an LSN`,
    hint: 'give "10m ago", "2026-11-22 14:03:11" or "lsn:0/3000D18"',
  })
}

function describe(rows: readonly Recoverable[]): string {
  if (rows.length === 0) return 'nothing to recover to there\n'
  return formatTable(
    ['LSN', 'XID', 'TIME', 'DATABASE', 'KIND', 'NAME'],
    rows.map(({ entry }) => {
      const transaction = entry.kind === 'restore-point' ? undefined : entry
      return [
        formatLsn(entry.start),
        transaction === undefined ? '' : String(transaction.xid),
        formatMoment(entry.time),
        transaction?.database === undefined ? '' : String(transaction.database),
        entry.kind,
        entry.kind === 'restore-point' ? entry.name : 'gid' in entry ? (entry.gid ?? '') : '',
      ]
    }),
    [1, 3],
  )
}
