import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { advanceLsn, type Lsn, timeline, walSegmentName } from '../../src/model/lsn.ts'
import { type Finished, until } from '../command.ts'
import { ReceiveWal } from '../peers/pg-receivewal.ts'
import { Place, settle } from '../place.ts'
import { Cluster } from '../postgres/cluster.ts'
import { fill, writeWal } from '../postgres/load.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'pg-wal'

export const pgWal: Row = { name: row, title: 'PostgreSQL: WAL that waits at the server', measure }

const mebibyte = 1024 * 1024
const segmentBytes = 16 * mebibyte

interface Contestant {
  readonly name: string
  /** All WAL from before the load to `end`, until it is durable. */
  drain(run: number, end: Lsn): Promise<Omit<Finished, 'output'>>
  /** SHA-256 of a segment as it was received. */
  segment(run: number, name: string): Promise<string>
}

/** Everybody has a slot for every run from before the load, and follows it from there, one after the other. */
async function measure(assignment: Assignment): Promise<void> {
  const { record, runs, isQuick, tell, profileDirectory } = assignment
  using place = new Place(row)
  await using cluster = await Cluster.create(place.directory, 'primary')
  await fill(cluster, 64 * mebibyte)
  await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), { profileDirectory })
  const contestants = [
    await ourDrain(tidemark, cluster, runs, assignment),
    await receiveWal(cluster, place.directory, runs, 'pg_receivewal', []),
    await receiveWal(cluster, place.directory, runs, 'pg_receivewal --synchronous', ['--synchronous']),
  ]
  const { start, end } = await writeWal(cluster, (isQuick ? 150 : 1536) * mebibyte)
  const bytes = end - start
  tell(`${(bytes / 1e6).toFixed(0)} MB of WAL wait`)
  const middle = walSegmentName(timeline(1), advanceLsn(start, Math.floor(bytes / 2)), segmentBytes)
  for (let count = 0; count < runs; count++) {
    for (const contestant of inTurn(contestants, count)) {
      await settle(join(cluster.data, 'pg_wal'))
      const { seconds, cpuSeconds, memoryBytes } = await contestant.drain(count, end)
      tell(`${contestant.name}: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ${cpuSeconds.toFixed(2)} CPU s`)
      record.add({ row, what: 'durable', unit: 'MB/s' }, contestant.name, bytes / 1e6 / seconds)
      record.add({ row, what: 'CPU time', unit: 'CPU s/GiB' }, contestant.name, (cpuSeconds * 1024 * mebibyte) / bytes)
      record.add({ row, what: 'memory', unit: 'MB' }, contestant.name, memoryBytes / 1e6)
    }
    const received = await Promise.all(contestants.map((contestant) => contestant.segment(count, middle)))
    if (new Set(received).size > 1) throw new Error(`segment ${middle} is not the same to all: ${received.join(' ')}`)
  }
}

/** Both ends: read, compressed, sent over TLS, encrypted, synced, and indexed in the end. */
async function ourDrain(
  tidemark: Tidemark,
  cluster: Cluster,
  runs: number,
  { record, tell }: Assignment,
): Promise<Contestant> {
  const nameOf = (run: number): string => `wal-${run}`
  const slots: string[] = []
  for (let count = 0; count < runs; count++) {
    await tidemark.protectPostgres(nameOf(count), cluster.url)
    slots.push(await tidemark.slotOf(nameOf(count)))
    await tidemark.pause(nameOf(count))
  }
  return {
    name: ours,
    async drain(run, end) {
      const name = nameOf(run)
      const before = tidemark.vaultBytes
      using watched = tidemark.watch()
      const began = performance.now()
      await tidemark.resume(name)
      await until(
        'the WAL to be durable',
        async () =>
          (await cluster.lsn(`SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '${slots[run]}'`)) >= end,
      )
      const seconds = (performance.now() - began) / 1000
      await tidemark.untilIndexed(name)
      const indexedSeconds = (performance.now() - began) / 1000
      const usage = watched.usage()
      await tidemark.pause(name)
      const stored = (tidemark.vaultBytes - before) / 1e6
      tell(`indexed after ${indexedSeconds.toFixed(2)} of ${seconds.toFixed(2)} s, ${stored.toFixed(0)} MB stored`)
      record.add({ row, what: 'stored', unit: 'MB' }, ours, stored)
      return { ...usage, seconds }
    },
    segment: (run, name) => tidemark.digest(nameOf(run), `/wal/${name}`),
  }
}

async function receiveWal(
  cluster: Cluster,
  place: string,
  runs: number,
  name: string,
  options: readonly string[],
): Promise<Contestant> {
  const receivers: ReceiveWal[] = []
  for (let count = 0; count < runs; count++) {
    const slot = `peer_${options.length}_${count}`
    await cluster.sql(`SELECT pg_create_physical_replication_slot('${slot}', true)`)
    receivers.push(new ReceiveWal(cluster, place, slot, options))
  }
  return {
    name,
    drain: (run, end) => receiver(run).drain(end),
    segment: (run, segment) => digestOf(join(receiver(run).directory, segment)),
  }

  function receiver(run: number): ReceiveWal {
    const one = receivers[run]
    if (one === undefined) throw new Error(`there is no slot for run ${run}`)
    return one
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer)
  return hash.digest('hex')
}
