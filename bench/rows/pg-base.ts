import { join } from 'node:path'
import { isInstalled } from '../machine.ts'
import { BaseBackup } from '../peers/pg-basebackup.ts'
import { PgBackRest } from '../peers/pgbackrest.ts'
import { Restic } from '../peers/restic.ts'
import { Place, settle, storedBytes } from '../place.ts'
import { Cluster, openSession } from '../postgres/cluster.ts'
import { change, fill } from '../postgres/load.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'
import type { Usage } from '../usage.ts'

const row = 'pg-base'

export const pgBase: Row = {
  name: row,
  title: 'PostgreSQL: base backup, and another one after a change of 1 %',
  measure,
}

const mebibyte = 1024 * 1024
const changedShare = 0.01

interface Backup extends Usage {
  readonly seconds: number
}

/** Of one cluster, from nothing; what it stores is seen once a backup is done. */
interface Contestant {
  readonly name: string
  first(): Promise<Backup>
  again(): Promise<Backup>
  /** Until the log of what was changed is there too, which is no part of a base backup. */
  caughtUp?(): Promise<void>
  storedBytes(): number
  /** From the protected server to the other side, where both are not one. */
  sentBytes?(): number
  [Symbol.asyncDispose]?(): Promise<void>
}

type Entrant = (cluster: Cluster, place: string, assignment: Assignment) => Promise<Contestant>

async function measure(assignment: Assignment): Promise<void> {
  const { record, runs, isQuick, tell } = assignment
  const entrants = [tidemark, basebackup]
  if (isInstalled('pgbackrest')) entrants.push(pgbackrest)
  if (isInstalled('restic')) entrants.push(restic)
  using around = new Place(row)
  await using cluster = await Cluster.create(around.directory, 'primary')
  await fill(cluster, (isQuick ? 300 : 3072) * mebibyte)
  let changes = 0
  for (let count = 0; count < runs; count++) {
    for (const entrant of inTurn(entrants, count)) {
      using place = new Place(row)
      const contestant = await entrant(cluster, place.directory, assignment)
      try {
        const add = (what: string, unit: 'MB/s' | 'MB' | 'CPU s/GiB' | 's', value: number): void =>
          record.add({ row, what, unit }, contestant.name, value)
        const bytes = await databaseBytes(cluster)
        await settle(join(cluster.data, 'base'))
        const first = await contestant.first()
        const firstStored = contestant.storedBytes()
        const firstSent = contestant.sentBytes?.()
        await change(cluster, changedShare, changes++)
        await contestant.caughtUp?.()
        await settle(join(cluster.data, 'base'))
        const stored = contestant.storedBytes()
        const sent = contestant.sentBytes?.()
        const again = await contestant.again()
        const storedAgain = contestant.storedBytes() - stored
        add('first', 'MB/s', bytes / 1e6 / first.seconds)
        add('first: CPU time', 'CPU s/GiB', (first.cpuSeconds * 1024 * mebibyte) / bytes)
        add('first: memory', 'MB', first.memoryBytes / 1e6)
        add('first: stored', 'MB', firstStored / 1e6)
        add('again: time', 's', again.seconds)
        add('again: CPU time', 'CPU s/GiB', (again.cpuSeconds * 1024 * mebibyte) / bytes)
        add('again: stored', 'MB', storedAgain / 1e6)
        if (firstSent !== undefined && sent !== undefined) {
          add('first: sent', 'MB', firstSent / 1e6)
          add('again: sent', 'MB', ((contestant.sentBytes?.() ?? 0) - sent) / 1e6)
        }
        tell(
          `${contestant.name}: ${(bytes / 1e6 / first.seconds).toFixed(0)} MB/s, ${first.cpuSeconds.toFixed(1)} CPU s, ` +
            `${(firstStored / 1e6).toFixed(0)} MB stored; again ${again.seconds.toFixed(1)} s, ${(storedAgain / 1e6).toFixed(1)} MB more`,
        )
      } finally {
        await contestant[Symbol.asyncDispose]?.()
      }
    }
  }
}

const databaseBytes = async (cluster: Cluster): Promise<number> =>
  Number(await cluster.value('SELECT sum(pg_database_size(oid)) FROM pg_database'))

const tidemark: Entrant = async (cluster, place, { profileDirectory }) => {
  const one = await Tidemark.start(join(place, 'tidemark'), { profileDirectory })
  const timed = async (act: () => Promise<void>): Promise<Backup> => {
    using watched = one.watch()
    const began = performance.now()
    await act()
    const seconds = (performance.now() - began) / 1000
    await one.untilIndexed('cluster')
    return { seconds, ...watched.usage() }
  }
  return {
    name: ours,
    first: () => timed(() => one.protectPostgres('cluster', cluster.url)),
    again: () =>
      timed(async () => {
        await one.ask('POST', '/v1/sources/cluster/reconcile')
        await one.untilBaselines('cluster', 2)
      }),
    caughtUp: () => one.untilCovered('cluster'),
    storedBytes: () => one.vaultBytes - one.derivedBytes,
    sentBytes: () => one.agentSentBytes,
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]()
      await cluster.dropSlots()
    },
  }
}

const basebackup: Entrant = async (cluster, place) => {
  const one = new BaseBackup(cluster, place)
  const backup = (): Promise<Backup> => one.backup()
  return { name: one.name, first: backup, again: backup, storedBytes: () => storedBytes(one.directory) }
}

/** Its WAL is archived, as a backup without it would be none; that is stored too. */
const pgbackrest: Entrant = async (cluster, place) => {
  const one = new PgBackRest(place)
  await cluster.restart(one.parameters)
  await one.init(cluster)
  return {
    name: one.name,
    first: () => one.backup('full'),
    again: () => one.backup('incr'),
    storedBytes: () => storedBytes(join(one.repository, 'backup')),
    [Symbol.asyncDispose]: () => cluster.restart({ archive_mode: 'off', archive_command: '' }),
  }
}

/** Of the files as they lie there, in backup mode. */
const restic: Entrant = async (cluster, place) => {
  const one = new Restic(place)
  await one.init()
  const backup = async (): Promise<Backup> => {
    await using session = await openSession(cluster.url)
    const began = performance.now()
    await session.query(`SELECT pg_backup_start('restic', true)`)
    const finished = await one.backup(join(cluster.data, 'base'))
    await session.query('SELECT pg_backup_stop(false)')
    return { ...finished, seconds: (performance.now() - began) / 1000 }
  }
  return { name: one.name, first: backup, again: backup, storedBytes: () => storedBytes(one.repository) }
}
