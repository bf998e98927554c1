import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nbdServers } from '../peers/nbd-servers.ts'
import { Place } from '../place.ts'
import { Cluster } from '../postgres/cluster.ts'
import { commits, fill } from '../postgres/load.ts'
import { percentile } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { mountAnew } from '../volume/mounted.ts'
import type { Served } from '../volume/served.ts'
import { tidemarkVolume } from '../volume/tidemark-volume.ts'

const row = 'volume-pgbench'

export const volumePgbench: Row = { name: row, title: 'Volumes: commits of a PostgreSQL on ext4', measure }

const mebibyte = 1024 * 1024

/** Each has a file system and a database of its own, all the time, through FUSE and a loop device. */
async function measure({ record, runs, isQuick, profileDirectory, tell }: Assignment): Promise<void> {
  using place = new Place(row)
  chmodSync(place.directory, 0o711)
  await using stack = new AsyncDisposableStack()
  const all: { who: string; disk: Served; cluster: Cluster }[] = []
  for (const [number, { who, serve }] of [tidemarkVolume({ profileDirectory }), ...nbdServers].entries()) {
    const folder = join(place.directory, String(number))
    mkdirSync(folder, { mode: 0o711 })
    const file = join(folder, 'disk.img')
    writeFileSync(file, '')
    truncateSync(file, (isQuick ? 1024 : 3072) * mebibyte)
    const disk = stack.use(await serve(file, folder))
    const mounted = stack.use(await mountAnew(disk.uri, folder))
    const cluster = stack.use(await Cluster.create(mounted.folder, 'pg'))
    await fill(cluster, (isQuick ? 100 : 512) * mebibyte)
    await disk.untilQuiet()
    all.push({ who, disk, cluster })
    tell(`${who}: a database is filled`)
  }
  for (let count = 0; count < runs; count++) {
    for (const { who, disk, cluster } of inTurn(all, count)) {
      for (const clients of [1, 8]) {
        // All begin with the same debt of full pages.
        await cluster.sql('CHECKPOINT')
        const before = { server: disk.cpuSeconds(), all: disk.cpuSecondsOfAll() }
        const { perSecond, latenciesMs } = await commits(cluster, clients, isQuick ? 4 : 20)
        const server = disk.cpuSeconds() - before.server
        await disk.untilQuiet()
        const everything = disk.cpuSecondsOfAll() - before.all
        const what = `${clients} ${clients === 1 ? 'client' : 'clients'}`
        const each = (cpuSeconds: number): number => (cpuSeconds * 1e6) / latenciesMs.length
        record.add({ row, what, unit: 'commits/s' }, who, perSecond)
        record.add({ row, what: `${what}: p99`, unit: 'ms' }, who, percentile(latenciesMs, 0.99))
        record.add({ row, what: `${what}: CPU time of the server for each`, unit: 'µs' }, who, each(server))
        record.add({ row, what: `${what}: of all that keeps the history`, unit: 'µs' }, who, each(everything))
        tell(`${who}, ${what}: ${perSecond.toFixed(0)} commits/s, ${each(server).toFixed(0)} CPU µs of the server`)
      }
    }
  }
}
