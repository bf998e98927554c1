import { type Command, Option } from 'commander'
import { z } from 'zod'
import { type ApiClient, apiPath } from '../api/client.ts'
import { auditFormats, auditRecord, auditVerification } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment, isoMoment, type Moment, parseMoment } from '../model/moment.ts'
import { withConsole } from './console-connect.ts'
import { formatCount, formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

/** What was done at the console, and that nothing of it was changed since. */
export function consoleAuditCommand(console: Command, parts: Parts): void {
  console
    .command('audit')
    .description('the audit log: the newest records, all of them as a file, or the proof of its chain')
    .option('--verify', 'walk the chain; exit status 4 where it is broken')
    .addOption(new Option('--export <format>', 'all records, to standard output').choices(auditFormats))
    .option('--from <moment>', 'since then')
    .option('--to <moment>', 'until then')
    .option('--user <name>', 'of this account')
    .option('--text <text>', 'that contain this')
    .option('--limit <count>', 'at most so many', '100')
    .option('--dir <directory>', "the console's directory; default TIDEMARK_HOME/console")
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
The hash of the last record, noted on paper each month, proves that none before it was changed or left out.

Examples:
  tidemark console audit --user li --from '7d ago'
  tidemark console audit --verify
  tidemark console audit --export csv > audit.csv
${exitStatusHelp}`,
    )
    .action(async (options: AuditOptions) =>
      withConsole(options, parts, (client) => {
        if (options.verify === true) return verify(client, options, parts)
        if (options.export !== undefined) return exportAll(client, options, parts)
        return search(client, options, parts)
      }),
    )
}

interface AuditOptions {
  readonly verify?: boolean
  readonly export?: string
  readonly from?: string
  readonly to?: string
  readonly user?: string
  readonly text?: string
  readonly limit: string
  readonly dir?: string
  readonly json?: boolean
}

async function verify(client: ApiClient, { json }: AuditOptions, { out }: Parts): Promise<void> {
  const told = await client.json('POST', '/api/audit/verification', auditVerification, {})
  if (!told.intact) {
    throw new TidemarkError('verification-failed', {
      message: `the audit log is broken at record ${told.firstBroken}: it, or what stood there, was changed or removed`,
      hint: 'keep console.sqlite as it is for who inquires; export what there is with --export',
    })
  }
  out.write(
    json
      ? `${JSON.stringify(told)}\n`
      : `intact: ${formatCount(told.records)} records, the last with the hash\n  ${told.lastHash}\n`,
  )
}

async function exportAll(client: ApiClient, options: AuditOptions, { out, clock, signal }: Parts): Promise<void> {
  const path = apiPath('/api/audit/export', { ...wanted(options, clock.now()), format: options.export })
  for await (const piece of await client.stream('GET', path, undefined, signal)) {
    out.write(piece)
    await out.drained()
  }
}

async function search(client: ApiClient, options: AuditOptions, { out, clock }: Parts): Promise<void> {
  const path = apiPath('/api/audit', { ...wanted(options, clock.now()), limit: options.limit })
  const records = await client.json('GET', path, z.array(auditRecord))
  if (options.json) for (const record of records) out.write(`${JSON.stringify(record)}\n`)
  else
    out.write(
      formatTable(
        ['NUMBER', 'MOMENT', 'USER', 'FROM', 'ACTION', 'OUTCOME', 'SUBJECT', 'DETAIL'],
        records.map((record) => [
          String(record.number),
          formatMoment(isoToMoment(record.at)),
          record.user ?? '',
          record.address,
          record.action,
          record.outcome,
          record.subject,
          record.detail,
        ]),
      ),
    )
}

const wanted = ({ from, to, user, text }: AuditOptions, now: number): Record<string, string | undefined> => ({
  from: from === undefined ? undefined : isoMoment(momentOf('--from', from, now)),
  to: to === undefined ? undefined : isoMoment(momentOf('--to', to, now)),
  user,
  text,
})

function momentOf(option: string, text: string, now: number): Moment {
  const found = parseMoment(text, now as Moment)
  if (found !== undefined) return found
  throw new TidemarkError('bad-request', {
    message: `${option} ${text} is no moment`,
    hint: 'write 2026-11-22T14:03, or "7d ago"',
  })
}
