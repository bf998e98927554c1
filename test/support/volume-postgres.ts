import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, rmdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import type { Connection } from '../../src/capture/postgres/protocol/connection.ts'
import { Cluster } from './postgres.ts'
import { initdb, type PostgresMajor, serverOwner } from './postgres-program.ts'
import type { Found, TransactionRecord } from './volume-record.ts'

const clients = 3
const transactionParts = 3
/** So that points lie before, in and after checkpoints. */
const checkpointEvery = 120
const nameOf = (client: number): string => `postgres client ${client}`
/** As a server that means it; small, since many of them are started. */
const settings = {
  fsync: true,
  full_page_writes: true,
  synchronous_commit: 'on',
  shared_buffers: '8MB',
  max_connections: 12,
  min_wal_size: '16MB',
  max_wal_size: '32MB',
  autovacuum: false,
}

/** A cluster whose files are on a volume; its socket and log are not. */
export const clusterOn = (t: TestContext, major: PostgresMajor, folder: string): Promise<Cluster> =>
  Cluster.from(t, major, (data) => {
    rmdirSync(data)
    symlinkSync(folder, data)
  })

/** A new one, running. */
export async function newClusterOn(t: TestContext, major: PostgresMajor, folder: string): Promise<Cluster> {
  mkdirSync(folder, { mode: 0o700 })
  const owner = serverOwner()
  if (owner) chownSync(folder, owner.uid, owner.gid)
  initdb(major, folder, ['--data-checksums', '--wal-segsize=4'])
  chmodSync(folder, 0o700)
  const cluster = await clusterOn(t, major, folder)
  cluster.configure(settings)
  // Neither initdb nor we have synced anything until here.
  execFileSync('sync', ['-f', folder])
  await cluster.start()
  await cluster.sql(`CREATE TABLE entry (client int, number int, part int, filler text, PRIMARY KEY (client, number, part));
    CREATE TABLE counter (client int PRIMARY KEY, value int);
    INSERT INTO counter SELECT client, 0 FROM generate_series(1, ${clients}) client;
    CREATE EXTENSION amcheck; CHECKPOINT`)
  return cluster
}

export const dataFolder = (mounted: string): string => join(mounted, 'postgres')

/** Clients that commit as fast as they are answered, and note it. */
export class PostgresLoad implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #clients: Promise<unknown>

  constructor(cluster: Cluster, record: TransactionRecord) {
    const all = Array.from({ length: clients }, (_, index) => this.#run(cluster, record, index + 1))
    this.#clients = Promise.all(all)
    // Told by whoever disposes of it.
    this.#clients.catch(() => undefined)
  }

  async #run(cluster: Cluster, record: TransactionRecord, client: number): Promise<void> {
    await using connection = await cluster.connect('database')
    for (let number = 1; !this.#stop.signal.aborted; number++) {
      record.begun(nameOf(client), number, systemClock.now())
      await connection.query(transaction(client, number))
      record.told(nameOf(client), number, systemClock.now())
      if ((number + client * 20) % checkpointEvery === 0) await connection.query('CHECKPOINT')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#clients
  }
}

const transaction = (client: number, number: number): string => `BEGIN;
  INSERT INTO entry SELECT ${client}, ${number}, part, repeat(md5('${client} ${number}'), part * 10)
    FROM generate_series(1, ${transactionParts}) part;
  UPDATE counter SET value = ${number} WHERE client = ${client};
  COMMIT`

/** Starts the server of the files at `folder`, as after a power cut, and looks at everything in it. */
export async function foundInPostgres(t: TestContext, major: PostgresMajor, folder: string): Promise<readonly Found[]> {
  const cluster = await clusterOn(t, major, folder)
  try {
    await cluster.start()
    await using connection = await cluster.connect('database')
    const damage = await damageIn(connection)
    const found: Found[] = []
    for (let client = 1; client <= clients; client++) found.push(await foundOf(connection, client))
    return found.map((one) => ({ ...one, problems: [...damage, ...one.problems] }))
  } catch (error) {
    return [{ user: nameOf(1), last: 0, problems: [String(error)] }]
  } finally {
    await cluster.kill()
  }
}

async function foundOf(connection: Connection, client: number): Promise<Found> {
  const told = await connection.query(`SELECT (SELECT value FROM counter WHERE client = ${client}),
    count(*), count(*) FILTER (WHERE parts = ${transactionParts}), coalesce(max(number), 0) FROM (
      SELECT number, count(*) AS parts FROM entry WHERE client = ${client} GROUP BY number) AS of_number`)
  const [value, any, whole, newest] = (told.at(-1)?.rows[0] ?? []).map(Number)
  const isWhole = any === value && whole === value && newest === value
  const problems = isWhole ? [] : [`counts ${value}, and holds ${any}, ${whole} of them whole, up to ${newest}`]
  return { user: nameOf(client), last: value ?? 0, problems }
}

/** What pg_amcheck asks: every page against its checksum, every B-tree against its table, every table in itself. */
async function damageIn(connection: Connection): Promise<string[]> {
  try {
    await connection.query(`SELECT bt_index_check(index.oid, true) FROM pg_class index JOIN pg_am am ON am.oid = index.relam
      WHERE am.amname = 'btree' AND index.relkind = 'i' AND index.relpersistence = 'p'`)
    const told = await connection.query(`SELECT relname, blkno, msg FROM pg_class of_table, verify_heapam(of_table.oid)
      WHERE of_table.relkind = 'r' AND of_table.relpersistence = 'p'`)
    return (told.at(-1)?.rows ?? []).map((row) => row.join(' '))
  } catch (error) {
    return [String(error)]
  }
}
