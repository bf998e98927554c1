import type { Command } from 'commander'
import { type ApiClient, apiPath } from '../api/client.ts'
import { type TransactionRow, transactionsAnswer } from '../api/around.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatTable } from './format.ts'
import { rowCount } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

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
      const limit = rowCount('--limit', options.limit, 1_000_000)
      const rows = await newestRows(connect(command, parts), source, options, limit)
      if (options.json) for (const row of rows) parts.out.write(`${JSON.stringify(row)}\n`)
      else parts.out.write(describe(rows))
    })
}

const rowsAtOnce = 5_000

/** In the order of the log. */
async function newestRows(
  client: ApiClient,
  source: string,
  { from, to, timeline }: TransactionsOptions,
  limit: number,
): Promise<TransactionRow[]> {
  const newestFirst: TransactionRow[] = []
  for (let upTo = to; newestFirst.length < limit;) {
    const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/transactions`, {
      from,
      to: upTo,
      timeline,
      limit: Math.min(rowsAtOnce, limit - newestFirst.length),
    })
    const { transactions, more } = await client.json('GET', path, transactionsAnswer)
    newestFirst.push(...transactions)
    upTo = transactions.at(-1)?.before
    if (!more || upTo === undefined) break
  }
  return newestFirst.reverse()
}

function describe(rows: readonly TransactionRow[]): string {
  if (rows.length === 0) return 'nothing to recover to there\n'
  return formatTable(
    ['LSN', 'XID', 'TIME', 'DATABASE', 'KIND', 'NAME'],
    rows.map(({ lsn, xid, moment, database, kind, name }) => [
      lsn,
      xid === undefined ? '' : String(xid),
      formatMoment(isoToMoment(moment)),
      database ?? '',
      kind,
      name ?? '',
    ]),
    [1, 3],
  )
}
