import { join } from 'node:path'
import { formatBytes, formatCount, formatDurationMs, formatTable } from '../src/cli/format.ts'
import { isoMoment } from '../src/model/moment.ts'
import { postgresFolder } from '../test/support/postgres-program.ts'
import { connectTo, serverUserName, stopCluster } from './cluster.ts'
import { type Comparison, compare, digestTree, treeBytes } from './comparison.ts'
import { compareRows } from './database-comparison.ts'
import type { Office } from './office.ts'
import { type Lags, type LastGood, system } from './protected-office.ts'
import { percentile, say } from './screen.ts'
import type { Site } from './site.ts'

export interface RestoredOffice {
  readonly documents: string
  /** The data directory, with a server that runs in it. */
  readonly cluster: string
  readonly ms: number
}

/** Both sources at the one moment, the database recovered and open. */
export async function restore(site: Site, { documents, major }: Office, { moment }: LastGood): Promise<RestoredOffice> {
  const target = join(site.place, 'restored')
  const cluster = join(target, 'database')
  site.onEnd(() => stopCluster(cluster))
  say('restore', `tidemark restore --system ${system} --at ${isoMoment(moment)} --to ${target} --start`)
  const from = performance.now()
  const user = serverUserName()
  await site.run(
    ...['restore', '--system', system, '--at', isoMoment(moment), '--to', target],
    ...['--start', '--pg-bin', join(postgresFolder(major), 'bin')],
    ...(user === undefined ? [] : ['--user', user]),
  )
  const ms = performance.now() - from
  say('', `both are back after ${formatDurationMs(ms)}, the database recovered and open`)
  return { documents: join(target, 'documents', documents), cluster, ms }
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
  restored: RestoredOffice,
  { files, rows, before, after }: Compared,
): Promise<boolean> {
  const { documents, database } = await site.status()
  const differences = [...files.differences, ...rows.differences]
  const lag = (values: readonly number[], share: number): string => formatDurationMs(percentile(values, share))
  const table = [
    ['lag, measured at the vault, p50', lag(lags.documents, 0.5), lag(lags.database, 0.5)],
    ['lag, measured at the vault, p99', lag(lags.documents, 0.99), lag(lags.database, 0.99)],
    ['edits, transactions', formatCount(editor.edits), formatCount(before + after)],
    ['changes in the journal', formatCount(documents.sequence), formatCount(database.sequence)],
    ['bytes restored', formatBytes(treeBytes(restored.documents)), formatBytes(treeBytes(restored.cluster))],
    ['time to restore both', '', formatDurationMs(restored.ms)],
    ['compared', `${formatCount(files.compared)} files`, `${formatCount(rows.compared)} rows`],
    ['differences', formatCount(files.differences.length), formatCount(rows.differences.length)],
  ]
  process.stdout.write(`\n${formatTable(['proof', 'documents', 'database'], table, [1, 2])}\n`)
  process.stdout.write(
    differences.length === 0
      ? `Every transaction committed before the moment (${formatCount(before)}) is there, and none of the ${formatCount(after)} after it.\n`
      : differences
          .slice(0, 20)
          .map((one) => `  ${one}\n`)
          .join(''),
  )
  return differences.length === 0
}
