import { join } from 'node:path'
import { until } from '../command.ts'
import { ReceiveWal } from '../peers/pg-receivewal.ts'
import { Place } from '../place.ts'
import { Cluster } from '../postgres/cluster.ts'
import { commits, fill } from '../postgres/load.ts'
import { ours, percentile } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'pg-commit'

export const pgCommit: Row = { name: row, title: 'PostgreSQL: what protection costs each commit', measure }

const mebibyte = 1024 * 1024

interface Trial {
  readonly what: 'commits wait for the other side' | 'commits do not wait'
  readonly who: string
  /** Protected until disposed. */
  protect(): Promise<AsyncDisposable>
}

async function measure(assignment: Assignment): Promise<void> {
  const { record, runs, isQuick, tell, profileDirectory } = assignment
  using place = new Place(row)
  await using cluster = await Cluster.create(place.directory, 'primary')
  await fill(cluster, (isQuick ? 150 : 1024) * mebibyte)
  await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), { profileDirectory })
  const trials: Trial[] = [
    { what: 'commits do not wait', who: 'unprotected', protect: async () => unprotected },
    { what: 'commits do not wait', who: ours, protect: () => protectedBy(tidemark, cluster, false) },
    { what: 'commits wait for the other side', who: ours, protect: () => protectedBy(tidemark, cluster, true) },
    {
      what: 'commits wait for the other side',
      who: 'pg_receivewal --synchronous',
      protect: () => receivedBy(cluster, place.directory),
    },
  ]
  for (let count = 0; count < runs; count++) {
    for (const { what, who, protect } of inTurn(trials, count)) {
      await using _protection = await protect()
      for (const clients of [1, 8]) {
        // All begin with the same debt of full pages.
        await cluster.sql('CHECKPOINT')
        using watched = tidemark.watch()
        const { perSecond, latenciesMs } = await commits(cluster, clients, isQuick ? 5 : 20)
        const p99 = percentile(latenciesMs, 0.99)
        const label = `${clients} ${clients === 1 ? 'client' : 'clients'}, ${what}`
        record.add({ row, what: label, unit: 'commits/s' }, who, perSecond)
        const cpuMs = (watched.usage().cpuSeconds * 1000) / latenciesMs.length
        tell(
          `${who}, ${label}: ${perSecond.toFixed(0)} commits/s, p99 ${p99.toFixed(2)} ms, ${cpuMs.toFixed(2)} CPU ms of ours for each`,
        )
        if (who === ours) record.add({ row, what: `${label}: CPU time of both ends for each`, unit: 'ms' }, who, cpuMs)
        record.add({ row, what: `${label}: p50`, unit: 'ms' }, who, percentile(latenciesMs, 0.5))
        record.add({ row, what: `${label}: p99`, unit: 'ms' }, who, p99)
      }
    }
  }
}

const unprotected: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} }

let protections = 0

async function protectedBy(tidemark: Tidemark, cluster: Cluster, zeroLoss: boolean): Promise<AsyncDisposable> {
  const name = `commits-${protections++}`
  await tidemark.protectPostgres(name, cluster.url, { zeroLoss })
  const slot = await tidemark.slotOf(name)
  if (zeroLoss) await untilWaitedFor(cluster, slot)
  return {
    async [Symbol.asyncDispose]() {
      await tidemark.command(['unprotect', name])
      await forget(cluster, slot)
    },
  }
}

async function receivedBy(cluster: Cluster, place: string): Promise<AsyncDisposable> {
  const slot = `peer_${protections++}`
  await cluster.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
  const service = new ReceiveWal(cluster, place, slot, ['--synchronous']).follow()
  await until('pg_receivewal to have caught up', async () => {
    service.assertRunning()
    return (await stateOf(cluster, slot)) === 'streaming'
  })
  await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${slot}'`)
  await cluster.sql('SELECT pg_reload_conf()')
  await untilWaitedFor(cluster, slot)
  return {
    async [Symbol.asyncDispose]() {
      await cluster.sql('ALTER SYSTEM RESET synchronous_standby_names')
      await cluster.sql('SELECT pg_reload_conf()')
      await service[Symbol.asyncDispose]()
      await forget(cluster, slot)
    },
  }
}

const stateOf = (cluster: Cluster, name: string): Promise<string> =>
  cluster.value(`SELECT state FROM pg_stat_replication WHERE application_name = '${name}'`)

/** It is switched on for a receiver that has caught up: before, commits would wait for what nobody measures here. */
const untilWaitedFor = (cluster: Cluster, name: string): Promise<void> =>
  until(
    `commits to wait for ${name}`,
    async () =>
      (await cluster.value(`SELECT sync_state FROM pg_stat_replication WHERE application_name = '${name}'`)) === 'sync',
    { msMax: 60_000 },
  )

/** Nobody follows any more, and what was not received is not kept. */
async function forget(cluster: Cluster, slot: string): Promise<void> {
  await until(`${slot} to be let go`, async () => (await stateOf(cluster, slot)) === '', { msMax: 60_000 })
  await until(
    'commits to wait for nobody',
    async () => (await cluster.value('SHOW synchronous_standby_names')) === '',
    {
      msMax: 60_000,
    },
  )
  await cluster.sql(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${slot}'`)
}
