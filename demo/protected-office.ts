import type { SourceStatus } from '../src/api/schemas.ts'
import { formatBytes, formatCount, formatDurationMs } from '../src/cli/format.ts'
import { isoMoment, type Moment, moment } from '../src/model/moment.ts'
import { urlOf } from './cluster.ts'
import type { Office } from './office.ts'
import { ransomware } from './ransomware.ts'
import { pause, say, until } from './screen.ts'
import type { Site } from './site.ts'

/** The business system. */
export const system = 'office'

const workMs = 15_000
const editPauseMs = 12
const sampleMs = 100
const tellMs = 3000
const afterwardsMs = 1000
/** Nothing is committed for so long on either side of the chosen moment: more than a tick of the record's clock. */
const stillMs = 5

/** Protects the directory and the database; people and orders go on while both are copied for the first time. */
export async function protect(site: Site, { documents, cluster, editor, orders }: Office): Promise<void> {
  await site.run('protect', 'files', documents, '--name', 'documents', '--system', system)
  await site.run('protect', 'postgres', urlOf(cluster, 'tidemark'), '--name', 'database', '--system', system)
  orders.start()
  let toldAtMs = performance.now()
  await until('the first copy', async () => {
    editor.edit()
    const { documents: files, database } = await site.status()
    if (performance.now() - toldAtMs > 1000) {
      toldAtMs = performance.now()
      say('baseline', `documents ${copied(files)} · database ${copied(database)}`)
    }
    return files.state === 'protected' && database.state === 'protected'
  })
  say('protected', 'both, as one system; work went on meanwhile, and goes on')
}

function copied({ state, progress }: SourceStatus): string {
  const text =
    progress && `${formatCount(progress.files).padStart(5)} files, ${formatBytes(progress.bytes).padStart(8)}`
  return (text ?? (state === 'protected' ? 'complete' : 'begins')).padEnd(21)
}

/** In milliseconds, as the vault measured them. */
export interface Lags {
  readonly documents: number[]
  readonly database: number[]
}

/** Some seconds of work on both, with their lag. */
export async function work(site: Site, { editor, orders }: Office): Promise<Lags> {
  const lags: Lags = { documents: [], database: [] }
  const end = performance.now() + workMs
  let sampledAtMs = 0
  let told: { readonly atMs: number; readonly changes: number; readonly commits: number } | undefined
  while (performance.now() < end) {
    editor.edit()
    await pause(editPauseMs)
    const atMs = performance.now()
    if (atMs - sampledAtMs < sampleMs) continue
    sampledAtMs = atMs
    const { documents, database } = await site.status()
    if (documents.lagMs !== null) lags.documents.push(documents.lagMs)
    if (database.lagMs !== null) lags.database.push(database.lagMs)
    const count = { atMs, changes: documents.sequence, commits: orders.commits }
    told ??= count
    if (atMs - told.atMs < tellMs) continue
    const rate = (value: number): string => formatCount(Math.round((value * 1000) / (atMs - (told?.atMs ?? 0))))
    say(
      'live',
      `documents ${column(rate(count.changes - told.changes), 5)} changes/s, lag ${lag(lags.documents)} · ` +
        `database ${column(rate(count.commits - told.commits), 5)} commits/s, lag ${lag(lags.database)}`,
    )
    told = count
  }
  return lags
}

const column = (text: string, width: number): string => text.padStart(width)
const lag = (lags: readonly number[]): string => column(formatDurationMs(lags.at(-1) ?? Number.NaN), 6)

/** The last moment before the accident, with what the files held. Of the rows the record of the orders knows. */
export interface LastGood {
  readonly moment: Moment
  readonly documents: ReadonlyMap<string, string>
}

/** A table is dropped, orders go on into another, and the files are encrypted and deleted. */
export async function accident(site: Site, { documents, editor, orders, administrator }: Office): Promise<LastGood> {
  // A file is captured some milliseconds after it was written; then nobody edits until the accident.
  await vaultHasAll(site, now())
  await orders.hold()
  await pause(stillMs)
  const lastGood = { moment: now(), documents: new Map(editor.record) }
  await pause(stillMs)
  const happened = now()
  await administrator.query('CREATE TABLE orders_again (LIKE orders INCLUDING ALL); DROP TABLE orders')
  say('accident', `the table "orders" is dropped at ${isoMoment(happened)}`)
  const { commits } = orders
  orders.release('orders_again')
  const counts = ransomware(documents)
  const [encrypted, renamed, deleted] = [counts.encrypted, counts.renamed, counts.deleted].map(formatCount)
  say('', `${encrypted} files are encrypted in place, ${renamed} encrypted and renamed, ${deleted} deleted`)
  await pause(afterwardsMs)
  await orders.stop()
  say('', `${formatCount(orders.commits - commits)} transactions follow it, with orders in another table`)
  await vaultHasAll(site, now())
  return lastGood
}

const now = (): Moment => moment(Date.now() * 1000)

const vaultHasAll = (site: Site, before: Moment): Promise<void> =>
  until('the vault', async () => {
    const { documents, database } = await site.status()
    return [documents, database].every(({ covered }) => covered !== null && covered > isoMoment(before))
  })
