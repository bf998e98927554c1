import { join } from 'node:path'
import { until } from '../command.ts'
import { isInstalled } from '../machine.ts'
import { PgBackRest } from '../peers/pgbackrest.ts'
import { discardTree, Place, settle } from '../place.ts'
import { Cluster, killServerOf, openFolder, openSession, urlOf } from '../postgres/cluster.ts'
import { fill, writeWal } from '../postgres/load.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'pg-restore'

export const pgRestore: Row = {
  name: row,
  title: 'PostgreSQL: restored and recovered to the end of its log',
  measure,
}

const mebibyte = 1024 * 1024

interface Restored {
  /** Until the base is in its place, and from the server's start until it takes writes. */
  readonly baseSeconds: number
  readonly recoverySeconds: number
  readonly cpuSeconds: number
  /** Where it answers. */
  readonly url: string
}

interface Contestant {
  readonly name: string
  restore(target: string): Promise<Restored>
}

async function measure(assignment: Assignment): Promise<void> {
  const { record, runs, isQuick, tell } = assignment
  using place = new Place(row)
  const pgbackrest = isInstalled('pgbackrest') ? new PgBackRest(place.directory) : undefined
  await using cluster = await Cluster.create(place.directory, 'primary', pgbackrest?.parameters)
  await pgbackrest?.init(cluster)
  await fill(cluster, (isQuick ? 300 : 3072) * mebibyte)
  await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), {
    profileDirectory: assignment.profileDirectory,
  })
  await tidemark.protectPostgres('cluster', cluster.url)
  await pgbackrest?.backup('full')
  const baseBytes = Number(await cluster.value('SELECT sum(pg_database_size(oid)) FROM pg_database'))
  const { start, end } = await writeWal(cluster, (isQuick ? 60 : 600) * mebibyte)
  const walBytes = end - start
  const rows = await cluster.value('SELECT count(*) FROM written')
  await tidemark.untilCovered('cluster')
  // With all of its log archived, it is needed no more.
  await cluster.stop()
  await tidemark.stopAgent()
  const contestants = [ourRestore(tidemark)]
  if (pgbackrest) contestants.push(peerRestore(pgbackrest, place.directory))
  for (let count = 0; count < runs; count++) {
    for (const { name, restore } of inTurn(contestants, count)) {
      await settle(join(cluster.data, 'base'))
      const folder = openFolder(place.directory, `restored-${count}-${name === ours ? 'ours' : 'peer'}`)
      const target = join(folder, 'data')
      try {
        const { baseSeconds, recoverySeconds, cpuSeconds, url } = await restore(target)
        const found = await countWritten(url)
        if (found !== rows) throw new Error(`${name} has restored ${found} rows of ${rows}`)
        const walRate = walBytes / 1e6 / recoverySeconds
        tell(
          `${name}: base ${(baseBytes / 1e6 / baseSeconds).toFixed(0)} MB/s in ${baseSeconds.toFixed(1)} s, ` +
            `${(walBytes / 1e6).toFixed(0)} MB of WAL in ${recoverySeconds.toFixed(1)} s; ${cpuSeconds.toFixed(1)} CPU s`,
        )
        record.add({ row, what: 'base', unit: 'MB/s' }, name, baseBytes / 1e6 / baseSeconds)
        record.add({ row, what: 'WAL fetched and replayed', unit: 'MB/s' }, name, walRate)
        record.add({ row, what: 'all: time until it takes writes', unit: 's' }, name, baseSeconds + recoverySeconds)
        record.add({ row, what: 'all but the server: CPU time', unit: 'CPU s' }, name, cpuSeconds)
      } finally {
        await killServerOf(target)
        discardTree(folder)
      }
    }
  }
}

interface Receipt {
  readonly baseMs: number
  readonly server: { readonly recoveryMs: number; readonly socketFolder: string; readonly port: number }
}

/** The command starts the server, which asks the vault for the log. */
function ourRestore(tidemark: Tidemark): Contestant {
  return {
    name: ours,
    async restore(target) {
      using watched = tidemark.watchVault()
      const options = ['--to', target, '--start', '--port', '5440', '--json']
      const { output, cpuSeconds } = await tidemark.command(['restore', 'cluster', ...options])
      const { receipt } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as { receipt: Receipt }
      const { baseMs, server } = receipt
      return {
        baseSeconds: baseMs / 1000,
        recoverySeconds: server.recoveryMs / 1000,
        cpuSeconds: cpuSeconds + watched.usage().cpuSeconds,
        url: urlOf(server.socketFolder, server.port),
      }
    },
  }
}

function peerRestore(pgbackrest: PgBackRest, place: string): Contestant {
  let count = 0
  return {
    name: pgbackrest.name,
    async restore(target) {
      const { seconds, cpuSeconds } = await pgbackrest.restore(target)
      const cluster = Cluster.of(place, `peer-${count++}`, target)
      const began = performance.now()
      await cluster.start()
      await until(
        'the server to take writes',
        async () => (await cluster.value('SELECT pg_is_in_recovery()')) === 'f',
        { everyMs: 10 },
      )
      const recoverySeconds = (performance.now() - began) / 1000
      return { baseSeconds: seconds, recoverySeconds, cpuSeconds, url: cluster.url }
    },
  }
}

async function countWritten(url: string): Promise<string> {
  await using session = await openSession(url)
  return (await session.query('SELECT count(*) FROM written')).at(-1)?.rows[0]?.[0] ?? ''
}
