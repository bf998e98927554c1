import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lsn } from '../../src/model/lsn.ts'
import { pause, run, Service } from '../command.ts'
import type { Cluster } from './cluster.ts'
import { owner, postgresProgram } from './programs.ts'

/** Accounts of one unit of pgbench's scale take so much, with their index. */
const scaleBytes = 15.5e6
const documentBytes = 1100

/** Half of it pgbench's accounts, which are mostly spaces; half documents, which compress two to one. */
export async function fill(cluster: Cluster, bytes: number): Promise<void> {
  const scale = Math.max(1, Math.round(bytes / 2 / scaleBytes))
  await pgbench(cluster, ['--initialize', '--quiet', '--scale', String(scale)])
  const documents = Math.round(bytes / 2 / documentBytes)
  await cluster.sql(`
    CREATE TABLE document (id int PRIMARY KEY, body text NOT NULL) WITH (fillfactor = 90);
    ALTER TABLE document ALTER body SET STORAGE PLAIN;
    INSERT INTO document SELECT id, ${body('id')} FROM generate_series(1, ${documents}) AS id`)
  await cluster.sql('VACUUM ANALYZE')
  await cluster.sql('CHECKPOINT')
}

/** About 960 bytes of hexadecimal digits. */
const body = (seed: string): string =>
  `(SELECT string_agg(md5((${seed})::text || ' ' || part), '') FROM generate_series(1, 30) AS part)`

/** Writes to this share of what `fill` made: rows that stand together, as new ones do. */
export async function change(cluster: Cluster, share: number, run: number): Promise<void> {
  await cluster.sql(`
    UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= (SELECT ${share} * max(aid) FROM pgbench_accounts);
    UPDATE document SET body = ${body(`id + ${run + 1} * 7919`)} WHERE id <= (SELECT ${share} * max(id) FROM document)`)
  await cluster.sql('CHECKPOINT')
}

const writing = `
\\set aid random(1, 100000 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO written (body) SELECT ${body(':aid')} FROM generate_series(1, 4);
END;
`

/** Short transactions until there is so much more WAL, then a new segment. Where it began and ended. */
export async function writeWal(cluster: Cluster, bytes: number): Promise<{ readonly start: Lsn; readonly end: Lsn }> {
  const script = join(cluster.folder, 'writing.sql')
  writeFileSync(script, writing)
  await cluster.sql('CREATE TABLE IF NOT EXISTS written (body text NOT NULL)')
  const start = await cluster.flushed()
  const quick = { PGOPTIONS: '-c synchronous_commit=off' }
  while ((await cluster.flushed()) - start < bytes)
    await pgbench(cluster, ['--no-vacuum', '--file', script, '--client=4', '--transactions=1000'], quick)
  await cluster.sql('SELECT pg_switch_wal()')
  await cluster.sql('CHECKPOINT')
  return { start, end: await cluster.flushed() }
}

export interface Commits {
  readonly perSecond: number
  /** Of every transaction that was measured. */
  readonly latenciesMs: readonly number[]
}

/** Simple updates, prepared, of so many clients at once. */
export async function commits(cluster: Cluster, clients: number, seconds: number): Promise<Commits> {
  const prefix = join(cluster.folder, 'transactions')
  const { output } = await pgbench(cluster, [
    ...['--skip-some-updates', '--no-vacuum', '--protocol=prepared', '--client', String(clients)],
    ...['--time', String(seconds), '--log', `--log-prefix=${prefix}`],
  ])
  const perSecond = Number(/tps = ([\d.]+)/.exec(output)?.[1])
  const latenciesMs = globSync(`${prefix}.*`).flatMap((path) => {
    const times = readFileSync(path, 'latin1').trim().split('\n').map(latencyMs)
    rmSync(path)
    return times
  })
  return { perSecond, latenciesMs }
}

/** The third word of a line is the transaction's time in microseconds. */
const latencyMs = (line: string): number => Number(line.split(' ')[2]) / 1000

export interface Load extends AsyncDisposable {
  untilBusy(seconds: number): Promise<void>
  /** Transactions of this load, and of all before, that clients have been told are committed. */
  acknowledged(): Promise<number>
}

/** The same clients, until disposed or until their server dies. */
export async function underLoad(cluster: Cluster, clients: number): Promise<Load> {
  const before = Number(await cluster.value('SELECT count(*) FROM pgbench_history'))
  const prefix = join(cluster.folder, 'transactions')
  const options = ['--skip-some-updates', '--no-vacuum', '--protocol=prepared', '--client', String(clients)]
  const service = new Service(
    [postgresProgram('pgbench'), ...options, '--time=3600', '--log', `--log-prefix=${prefix}`],
    { user: owner, environment: cluster.environment, directory: cluster.folder, stopSignal: 'SIGKILL' },
  )
  return {
    untilBusy: (seconds) => pause(seconds * 1000),
    acknowledged: async () => {
      service.assertRunning()
      const lines = globSync(`${prefix}.*`).map((path) => readFileSync(path, 'latin1').split('\n').length - 1)
      return before + lines.reduce((sum, count) => sum + count, 0)
    },
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  }
}

const pgbench = (cluster: Cluster, parameters: readonly string[], environment: Record<string, string> = {}) =>
  run([postgresProgram('pgbench'), ...parameters], {
    user: owner,
    environment: { ...cluster.environment, ...environment },
    directory: cluster.folder,
  })
