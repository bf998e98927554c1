import { join } from 'node:path'
import { formatBytes, formatCount, formatDurationMs, formatTable } from '../src/cli/format.ts'
import { isoMoment } from '../src/model/moment.ts'
import { z } from 'zod'
import { postgresFolder } from '../test/support/postgres-program.ts'
import { connectTo, serverUserName, stopCluster } from './cluster.ts'
import { type Comparison, compare, digestTree } from './comparison.ts'
import { compareRows } from './database-comparison.ts'
import type { Office } from './office.ts'
import { type Lags, type LastGood, system } from './protected-office.ts'
import { percentile, say } from './screen.ts'
import type { Site } from './site.ts'

export interface RestoredOffice {
  readonly documents: string
  /** The data directory, with a server that runs in it. */
  readonly cluster: string
  /** What the restores of the two tell of themselves. */
  readonly receipts: { readonly documents: Receipt; readonly database: Receipt }
}

interface Receipt {
  readonly bytes: number
  readonly ms: number
}

/** Both sources at the one moment, the database recovered and open. */
export async function restore(site: Site, { documents, major }: Office, { moment }: LastGood): Promise<RestoredOffice> {
  const target = join(site.place, 'restored')
  const cluster = join(target, 'database')
  site.onEnd(() => stopCluster(cluster))
  say('restore', `both to ${isoMoment(moment)}, the last moment before it,`)
  say('', `by "tidemark restore --system ${system} --at MOMENT --to DIRECTORY --start"`)
  const from = performance.now()
  const user = serverUserName()
  const told = await site.run(
    ...['restore', '--system', system, '--at', isoMoment(moment), '--to', target, '--json'],
    ...['--start', '--pg-bin', join(postgresFolder(major), 'bin')],
    ...(user === undefined ? [] : ['--user', user]),
  )
  say('', `both are back after ${formatDurationMs(performance.now() - from)}; the database has recovered and is open`)
  return { documents: join(target, 'documents', documents), cluster, receipts: receiptsOf(told) }
}

const receiptLine = z.object({
  receipt: z.union([
    z
      .object({ source: z.literal('documents'), bytes: z.number(), seconds: z.number() })
      .transform(({ source, bytes, seconds }) => ({ source, bytes, ms: seconds * 1000 })),
    z
      .object({
        source: z.literal('database'),
        bytes: z.number(),
        plan: z.object({ wal: z.object({ bytes: z.number() }) }),
        baseMs: z.number(),
        server: z.object({ recoveryMs: z.number() }),
      })
      .transform(({ source, bytes, plan, baseMs, server }) => ({
        source,
        bytes: bytes + plan.wal.bytes,
        ms: baseMs + server.recoveryMs,
      })),
  ]),
})

function receiptsOf(told: string): RestoredOffice['receipts'] {
  const lines = told
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object)
  const receipts = lines.filter((line) => 'receipt' in line).map((line) => receiptLine.parse(line).receipt)
  const of = (name: string): Receipt => {
    const found = receipts.find(({ source }) => source === name)
    if (found === undefined) throw new Error(`the restore has told nothing of ${name}`)
    return found
  }
  return { documents: of('documents'), database: of('database') }
}

export interface Compared {
  readonly files: Comparison
  readonly rows: Comparison
  /** Transactions committed before the moment, and after it. */
  readonly before: number
  readonly after: number
}

/** Every file with the editor's record, every row with that of the orders, at that moment. */
export async function compareAll(
  { record }: Office,
  { moment, documents }: LastGood,
  restored: RestoredOffice,
): Promise<Compared> {
  const { rows, before, after } = record.rowsAt(moment)
  await using connection = await connectTo(restored.cluster)
  const compared = {
    rows: await compareRows(connection, rows),
    files: compare(documents, digestTree(restored.documents)),
  }
  return { ...compared, before, after }
}

/** Prints what was measured, and returns whether everything is as it was. */
export async function prove(
  site: Site,
  { editor }: Office,
  lags: Lags,
  { receipts }: RestoredOffice,
  { files, rows, before, after }: Compared,
): Promise<boolean> {
  const { documents, database } = await site.status()
  const differences = [...files.differences, ...rows.differences]
  const lag = (values: readonly number[], share: number): string => formatDurationMs(percentile(values, share))
  const table = [
    ['lag, measured at the vault, p50', lag(lags.documents, 0.5), lag(lags.database, 0.5)],
    ['lag, measured at the vault, p99', lag(lags.documents, 0.99), lag(lags.database, 0.99)],
    ['edits, transactions committed', formatCount(editor.edits), formatCount(before + after)],
    ['changes in the journal', formatCount(documents.sequence), formatCount(database.sequence)],
    ['bytes restored', formatBytes(receipts.documents.bytes), formatBytes(receipts.database.bytes)],
    ['restore time', formatDurationMs(receipts.documents.ms), formatDurationMs(receipts.database.ms)],
    ['compared', `${formatCount(files.compared)} files`, `${formatCount(rows.compared)} rows`],
    ['differences', formatCount(files.differences.length), formatCount(rows.differences.length)],
  ]
  process.stdout.write(`\n${formatTable(['proof', 'documents', 'database'], table, [1, 2])}\n`)
  process.stdout.write(
    differences.length === 0
      ? `All ${formatCount(before)} transactions committed before that moment are there, and none of the ${formatCount(after)} after it.\n`
      : differences
          .slice(0, 20)
          .map((one) => `  ${one}\n`)
          .join(''),
  )
  return differences.length === 0
}
