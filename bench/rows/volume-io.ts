import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../command.ts'
import { nbdServers } from '../peers/nbd-servers.ts'
import { Place } from '../place.ts'
import { ours, type Record } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { ask, type Work } from '../volume/fio.ts'
import type { Served } from '../volume/served.ts'
import { tidemarkVolume } from '../volume/tidemark-volume.ts'

const row = 'volume-io'

export const volumeIo: Row = { name: row, title: 'Volumes: requests of one disk', measure }

const kibibyte = 1024
const gibibyte = 1024 ** 3

const works: readonly Work[] = [
  random('randwrite', 1),
  random('randwrite', 32),
  { ...random('randwrite', 1), what: '4 KiB written anywhere, a flush after each, 1 client', flushAfterEach: true },
  {
    ...random('randwrite', 1),
    what: '4 KiB written anywhere, a flush after each, 8 clients',
    clients: 8,
    flushAfterEach: true,
  },
  sequential('64 KiB', 64 * kibibyte, 8),
  sequential('1 MiB', 1024 * kibibyte, 4),
  random('randread', 1),
  random('randread', 32),
]

function random(pattern: 'randread' | 'randwrite', depth: number): Work {
  const what = `4 KiB ${pattern === 'randread' ? 'read' : 'written'} anywhere, ${depth} at a time`
  return { what, pattern, bytesPerRequest: 4 * kibibyte, depth, clients: 1, flushAfterEach: false }
}

function sequential(size: string, bytesPerRequest: number, depth: number): Work {
  const what = `${size} written in order, ${depth} at a time`
  return { what, pattern: 'write', bytesPerRequest, depth, clients: 1, flushAfterEach: false }
}

/** Each serves a file of its own with the same bytes in it, all the time; they are asked one after the other. */
async function measure({ record, runs, isQuick, profileDirectory, tell }: Assignment): Promise<void> {
  const bytes = isQuick ? gibibyte / 4 : 2 * gibibyte
  const seconds = isQuick ? 2 : 6
  using place = new Place(row)
  await using served = new AsyncDisposableStack()
  const first = join(place.directory, 'first.img')
  await run(['sh', '-c', 'head -c "$1" /dev/urandom > "$2"', 'sh', String(bytes), first])
  const all: { who: string; disk: Served }[] = []
  for (const [number, { who, serve }] of [tidemarkVolume({ profileDirectory }), ...nbdServers].entries()) {
    const folder = join(place.directory, String(number))
    mkdirSync(folder)
    const file = join(folder, 'disk.img')
    await run(['cp', '--sparse=never', '--reflink=never', first, file])
    all.push({ who, disk: served.use(await serve(file, folder)) })
  }
  await run(['sync'])
  for (let count = 0; count < runs; count++) {
    for (const work of works) {
      for (const { who, disk } of inTurn(all, count)) {
        const trial = { who, disk, work, bytes, seconds }
        tell(`${who}, ${await asked(record, trial)}`)
      }
    }
  }
}

interface Trial {
  readonly who: string
  readonly disk: Served
  readonly work: Work
  readonly bytes: number
  readonly seconds: number
}

async function asked(record: Record, { who, disk, work, bytes, seconds }: Trial): Promise<string> {
  const before = { server: disk.cpuSeconds(), all: disk.cpuSecondsOfAll(), at: performance.now() }
  const done = await ask(disk.uri, work, bytes, seconds)
  const server = disk.cpuSeconds() - before.server
  await disk.untilQuiet()
  const all = disk.cpuSecondsOfAll() - before.all
  const wholeSeconds = (performance.now() - before.at) / 1000
  const { what } = work
  const isSequential = work.pattern === 'write'
  const speed = isSequential ? done.bytesPerSecond / 1e6 : done.requestsPerSecond
  record.add({ row, what, unit: isSequential ? 'MB/s' : 'requests/s' }, who, speed)
  record.add({ row, what: `${what}: p99`, unit: 'µs' }, who, done.p99Us)
  const writtenBytes = done.requests * work.bytesPerRequest
  const each = (cpuSeconds: number): number =>
    isSequential ? cpuSeconds / (writtenBytes / gibibyte) : (cpuSeconds * 1e6) / done.requests
  const unit = isSequential ? 'CPU s/GiB' : 'µs'
  const of = isSequential ? 'CPU time of the server' : 'CPU time of the server for each'
  record.add({ row, what: `${what}: ${of}`, unit }, who, each(server))
  if (who === ours && work.pattern !== 'randread') {
    record.add({ row, what: `${what}: the same with agent and vault`, unit }, who, each(all))
    record.add({ row, what: `${what}: until the vault had it`, unit: 'MB/s' }, who, writtenBytes / 1e6 / wholeSeconds)
  }
  return `${what}: ${speed.toFixed(0)} ${isSequential ? 'MB/s' : 'requests/s'}, p99 ${done.p99Us.toFixed(0)} µs, ${each(server).toFixed(2)} ${unit} of the server, ${each(all).toFixed(2)} of all, quiet after ${wholeSeconds.toFixed(1)} s`
}
