import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Finished, run, runScript } from '../command.ts'
import { ReceiveWal } from '../peers/pg-receivewal.ts'
import { Place, settle } from '../place.ts'
import { Cluster } from '../postgres/cluster.ts'
import { fill, writeWal } from '../postgres/load.ts'
import { postgresProgram } from '../postgres/programs.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import type { Scanned } from './pg-scan-wal.ts'

const row = 'pg-scan'

export const pgScan: Row = { name: row, title: 'PostgreSQL: commits found in WAL', measure }

const mebibyte = 1024 * 1024

interface Contestant {
  readonly name: string
  scan(): Promise<Finished>
}

/** Everybody is a process of its own that reads whole segments and throws away what it finds. */
async function measure({ record, runs, isQuick, tell }: Assignment): Promise<void> {
  using place = new Place(row)
  const { directory, segments } = await someWal(place.directory, (isQuick ? 150 : 1536) * mebibyte)
  const ends = [segments[0] as string, segments.at(-1) as string].map((name) => join(directory, name))
  const contestants: Contestant[] = [
    { name: ours, scan: () => scan(directory, false) },
    { name: `${ours}, checksums too`, scan: () => scan(directory, true) },
    { name: 'pg_waldump', scan: () => waldump(ends) },
    { name: 'pg_waldump -r Transaction', scan: () => waldump(['-r', 'Transaction', ...ends]) },
  ]
  const { commits, bytes } = JSON.parse((await scan(directory, false)).output) as Scanned
  const counted = (await waldump(['-r', 'Transaction', ...ends], 'grep -c "desc: COMMIT"')).output.trim()
  if (counted !== String(commits)) throw new Error(`${commits} commits were found where pg_waldump tells ${counted}`)
  tell(`${commits} commits in ${(bytes / 1e6).toFixed(0)} MB`)
  for (let count = 0; count < runs; count++) {
    for (const contestant of inTurn(contestants, count)) {
      await settle(directory)
      const { seconds, cpuSeconds } = await contestant.scan()
      tell(`${contestant.name}: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ${cpuSeconds.toFixed(2)} CPU s`)
      record.add({ row, what: 'scanned', unit: 'MB/s' }, contestant.name, bytes / 1e6 / seconds)
      record.add({ row, what: 'CPU time', unit: 'CPU s/GiB' }, contestant.name, (cpuSeconds * 1024 * mebibyte) / bytes)
    }
  }
}

/** Only whole segments: the last one, which is not, is left out. */
async function someWal(place: string, bytes: number): Promise<{ directory: string; segments: string[] }> {
  await using cluster = await Cluster.create(place, 'primary')
  await fill(cluster, 64 * mebibyte)
  await cluster.sql(`SELECT pg_create_physical_replication_slot('scanned', true)`)
  const { end } = await writeWal(cluster, bytes)
  const receiver = new ReceiveWal(cluster, place, 'scanned')
  await receiver.drain(end)
  const segments = readdirSync(receiver.directory).filter((name) => /^[0-9A-F]{24}$/.test(name))
  return { directory: receiver.directory, segments: segments.toSorted() }
}

const scan = (directory: string, checksums: boolean): Promise<Finished> =>
  run([
    ...[process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'pg-scan-wal.ts')],
    ...[directory, ...(checksums ? ['--checksums'] : [])],
  ])

/** It ends with an error where the WAL does, in the midst of a record. */
const waldump = (parameters: readonly string[], reader = 'cat > /dev/null'): Promise<Finished> =>
  runScript(`"$@" | ${reader}`, [postgresProgram('pg_waldump'), ...parameters])
