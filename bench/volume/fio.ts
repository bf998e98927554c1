import { run } from '../command.ts'

export interface Work {
  readonly what: string
  readonly pattern: 'randread' | 'randwrite' | 'write'
  readonly bytesPerRequest: number
  readonly depth: number
  /** Connections, each at the depth. */
  readonly clients: number
  readonly flushAfterEach: boolean
}

export interface Done {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
  /** Of requests; with a flush after each, of the flush. */
  readonly p99Us: number
}

interface Side {
  readonly total_ios: number
  readonly iops: number
  readonly bw_bytes: number
  readonly clat_ns: Latency
}

interface Latency {
  readonly percentile?: Readonly<Record<string, number>>
}

/** Asks a server over its socket for so long, with data of which half is random, made anew for each request. */
export async function ask(uri: string, work: Work, bytes: number, seconds: number): Promise<Done> {
  const { output } = await run([
    ...['fio', '--output-format=json', '--name=work', '--ioengine=nbd', `--uri=${uri}`, `--rw=${work.pattern}`],
    ...[`--bs=${work.bytesPerRequest}`, `--iodepth=${work.depth}`, `--size=${bytes}`, `--numjobs=${work.clients}`],
    ...['--refill_buffers', '--buffer_compress_percentage=50'],
    ...['--group_reporting', '--time_based', `--runtime=${seconds}`, ...(work.flushAfterEach ? ['--fsync=1'] : [])],
  ])
  // Lines of warnings may stand before it.
  const told = JSON.parse(output.slice(output.indexOf('{'))) as {
    readonly jobs: readonly [{ readonly read: Side; readonly write: Side; readonly sync: { readonly lat_ns: Latency } }]
  }
  const [{ read, write, sync }] = told.jobs
  const side = work.pattern === 'randread' ? read : write
  const latency = work.flushAfterEach ? sync.lat_ns : side.clat_ns
  return {
    requests: side.total_ios,
    requestsPerSecond: side.iops,
    bytesPerSecond: side.bw_bytes,
    p99Us: (latency.percentile?.['99.000000'] ?? 0) / 1000,
  }
}
