import assert from 'node:assert/strict'
import { systemClock } from '../../src/base/clock.ts'
import type { Connection } from '../../src/capture/postgres/protocol/connection.ts'
import type { Seeded } from '../sim/random.ts'
import type { Cluster } from './postgres.ts'

/** A transaction whose client was told that it is committed. */
export interface Committed {
  readonly client: number
  readonly xid: number
  /** When its first statement was sent, and when its commit was told; microseconds of this machine's clock. */
  readonly began: number
  readonly told: number
  /** The value that each key of this client has had since; undefined where the row was deleted. */
  readonly changes: readonly (readonly [key: number, value: string | undefined])[]
}

const keysOfClient = 40

/**
 * Clients that change rows of their own in one table, and remember what they were told: transactions of several rows, some with
 * a savepoint rolled back, some rolled back, some committed in two phases. What a server holds is judged by this memory alone.
 */
export class RecordedLoad {
  /** By client, in its order. */
  readonly committed: readonly Committed[][]
  readonly rolledBack: number[] = []
  readonly #cluster: Cluster
  readonly #random: Seeded
  readonly #stop = new AbortController()
  readonly #clients: Promise<void>[]

  private constructor(cluster: Cluster, random: Seeded, clients: number) {
    this.#cluster = cluster
    this.#random = random
    this.committed = Array.from({ length: clients }, () => [])
    this.#clients = this.committed.map((_, client) => this.#run(client))
    // Told by `stop`.
    for (const one of this.#clients) one.catch(() => undefined)
  }

  static async begin(cluster: Cluster, random: Seeded, clients: number): Promise<RecordedLoad> {
    await cluster.sql('CREATE TABLE made (client int, key int, value text, PRIMARY KEY (client, key))')
    return new RecordedLoad(cluster, random, clients)
  }

  /** Resolves when every client has committed so many more. */
  async more(count: number): Promise<void> {
    const wanted = this.committed.map((of) => of.length + count)
    while (this.committed.some((of, client) => of.length < (wanted[client] as number))) {
      await Promise.race([systemClock.sleep(10), ...this.#clients])
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#clients)
  }

  /** The table after this many transactions of each client, in the form of `read`. */
  rowsAfter(counts: readonly number[]): string[] {
    return counts.flatMap((count, client) => {
      const rows = new Map<number, string>()
      for (const { changes } of (this.committed[client] as Committed[]).slice(0, count)) {
        for (const [key, value] of changes) {
          if (value === undefined) rows.delete(key)
          else rows.set(key, value)
        }
      }
      return [...rows].sort(([a], [b]) => a - b).map(([key, value]) => `${client}|${key}|${value}`)
    })
  }

  static readonly read = 'SELECT client, key, value FROM made ORDER BY client, key'

  async #run(client: number): Promise<void> {
    const random = this.#random.fork(`client ${client}`)
    await using connection = await this.#cluster.connect('database')
    for (let number = 0; !this.#stop.signal.aborted; number++) {
      await this.#transaction(connection, client, number, random)
      await systemClock.sleep(random.integer(10, 60))
    }
  }

  async #transaction(connection: Connection, client: number, number: number, random: Seeded): Promise<void> {
    const changes = Array.from({ length: random.skewed(1, 12) }, () => {
      const value = random.chance(0.15) ? undefined : `${number} ${'x'.repeat(random.skewed(0, 3000))}`
      return [random.integer(1, keysOfClient), value] as const
    })
    const statements = changes.map(([key, value]) =>
      value === undefined
        ? `DELETE FROM made WHERE client = ${client} AND key = ${key}`
        : `INSERT INTO made VALUES (${client}, ${key}, '${value}') ON CONFLICT (client, key) DO UPDATE SET value = excluded.value`,
    )
    if (random.chance(0.25)) {
      const undone = `SAVEPOINT s; DELETE FROM made WHERE client = ${client}; ROLLBACK TO s`
      statements.splice(random.integer(0, statements.length), 0, undone)
    }
    const kind = random.pick(['commit', 'commit', 'commit', 'commit', 'two phases', 'roll back'])
    const gid = `${client}-${number}`
    const ending = { 'commit': 'COMMIT', 'two phases': `PREPARE TRANSACTION '${gid}'`, 'roll back': 'ROLLBACK' }[kind]
    const began = systemClock.now()
    const told = await connection.query(`BEGIN; ${statements.join('; ')}; SELECT txid_current(); ${ending}`)
    const xid = Number(told.find(({ rows }) => rows.length > 0)?.rows[0]?.[0])
    assert.ok(xid > 0)
    if (kind === 'two phases') await connection.query(`COMMIT PREPARED '${gid}'`)
    if (kind === 'roll back') this.rolledBack.push(xid)
    else this.committed[client]?.push({ client, xid, began, told: systemClock.now(), changes })
  }
}
