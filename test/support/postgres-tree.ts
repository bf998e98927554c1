import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { isSystemError, TidemarkError } from '../../src/base/errors.ts'
import { baseBackup } from '../../src/capture/postgres/protocol/base-backup.ts'
import { commitListOf, CommitListWriter, type CommitListEntry, isCommitListEntry } from '../../src/format/commits.ts'
import { type Baseline, encodeBaseline } from '../../src/format/postgres-tree.ts'
import { WalScanner } from '../../src/format/wal/scanner.ts'
import { lsn, parseLsn, parseWalSegmentName, walSegmentName, walSegmentStart } from '../../src/model/lsn.ts'
import { moment } from '../../src/model/moment.ts'
import { rootPath, toBuffer } from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'
import type { RestorePoint } from '../../src/model/recovery-point.ts'
import type { RestoreOrigin } from '../../src/recover/origin.ts'
import type { TreeReader } from '../../src/postgres-past/tree-reader.ts'
import { systemClock } from '../../src/base/clock.ts'
import { directoryOrigin } from '../recovery/directory-origin.ts'
import type { Cluster } from './postgres.ts'

/**
 * The journal of a `postgres` source, made without a capture and a vault: directories that hold the tree at points of it, filled
 * from the files of real clusters. WAL is taken from pg_wal, so clusters must keep it (wal_keep_size).
 */
export class RecordedCluster implements TreeReader {
  readonly #folder: string
  readonly #tree: string
  readonly #points: { at: number; moment: number; folder: string }[] = []
  #baselines: Baseline[] = []
  #sequence = 0

  constructor(t: TestContext) {
    this.#folder = mkdtempSync(join(tmpdir(), 'tidemark-recorded-'))
    this.#tree = join(this.#folder, 'tree')
    for (const name of ['wal', 'commits', 'base']) mkdirSync(join(this.#tree, name), { recursive: true })
    t.after(() => rmSync(this.#folder, { recursive: true, force: true }))
  }

  /** A complete baseline of a running cluster; the one before leaves the tree. */
  async baseline(cluster: Cluster, properties: Record<string, string> = {}): Promise<Baseline> {
    const number = (this.#baselines.at(-1)?.number ?? 0) + 1
    const base = join(this.#tree, 'base', String(number).padStart(6, '0'))
    const { start, end, timeline, tablespaces } = await backUp(cluster, base)
    const [identity] = await cluster.sql(
      `select system_identifier, current_setting('server_version_num'), current_setting('wal_segment_size') from pg_control_system()`,
    )
    const segmentBytes = Number((identity?.[2] ?? '').replace('MB', '')) * 2 ** 20
    const before = this.#baselines.at(-1)
    const draft: Baseline = {
      number,
      sequence: 1,
      systemId: String(identity?.[0]),
      timeline,
      start,
      end,
      version: Number(identity?.[1]),
      segmentBytes,
      files: 1,
      bytes: 1,
      tablespaces,
      properties,
    }
    this.#baselines.push(draft)
    await this.takeWal(cluster)
    this.point()
    const baseline = { ...draft, sequence: this.#sequence + 1 }
    this.#baselines[this.#baselines.length - 1] = baseline
    appendFileSync(join(this.#tree, 'baselines'), encodeBaseline(baseline))
    this.point()
    if (before) {
      rmSync(join(this.#tree, 'base', String(before.number).padStart(6, '0')), { recursive: true })
      const kept = walSegmentName(baseline.timeline as never, lsn(start), segmentBytes)
      for (const folder of ['wal', 'commits'])
        for (const name of readdirSync(join(this.#tree, folder)))
          if (name.length === 24 && name.slice(8) < kept.slice(8)) rmSync(join(this.#tree, folder, name))
      this.point()
    }
    return baseline
  }

  /** All WAL that a cluster has written and still has, with its lists. */
  async takeWal(cluster: Cluster): Promise<void> {
    const [row] = await cluster.sql('select pg_current_wal_flush_lsn(), pg_walfile_name(pg_current_wal_flush_lsn())')
    const end = parseLsn(String(row?.[0]))
    const branch = String(row?.[1]).slice(0, 8)
    const { segmentBytes, start, systemId } = this.#baselines.at(-1) as Baseline
    const first = walSegmentStart(lsn(this.#baselines.at(-2)?.start ?? start), segmentBytes)
    const pgWal = join(cluster.data, 'pg_wal')
    for (const name of readdirSync(pgWal)) {
      const place = join(this.#tree, 'wal', name)
      if (name.endsWith('.history')) copyFileSync(join(pgWal, name), place)
      if (!/^[0-9A-F]{24}$/.test(name)) continue
      const segment = parseWalSegmentName(name, segmentBytes)
      if (segment.start < first || segment.start >= end) continue
      // Of a branch that was left, the one who was on it knows more.
      if (!name.startsWith(branch) && existsSync(place)) continue
      copyFileSync(join(pgWal, name), `${place}.new`)
      if (segment.start + segmentBytes > end) truncateSync(`${place}.new`, end - segment.start)
      renameSync(`${place}.new`, place)
    }
    this.#list(BigInt(systemId), cluster.major, segmentBytes)
  }

  #list(systemIdentifier: bigint, major: number, segmentBytes: number): void {
    const names = readdirSync(join(this.#tree, 'wal')).filter((name) => name.length === 24)
    for (const files of Map.groupBy(names.sort(), (name) => name.slice(0, 8)).values()) {
      const first = parseWalSegmentName(files[0] as string, segmentBytes)
      const scanner = new WalScanner({ start: first.start, segmentBytes })
      const entries: CommitListEntry[] = []
      for (const name of files) {
        if (scanner.ended !== undefined) break
        const bytes = readFileSync(join(this.#tree, 'wal', name))
        entries.push(...scanner.push(bytes, scanner.position).filter(isCommitListEntry))
      }
      const bySegment = Map.groupBy(entries, (entry) => commitListOf(entry, segmentBytes))
      for (const name of files) {
        const { timeline, start } = parseWalSegmentName(name, segmentBytes)
        const header = { systemIdentifier, timeline, segmentBytes, segmentStart: start, major }
        const place = join(this.#tree, 'commits', name)
        writeFileSync(`${place}.new`, new CommitListWriter(header).append(bySegment.get(start) ?? []))
        renameSync(`${place}.new`, place)
      }
    }
  }

  /** What stands in the tree now becomes a point. */
  point(): number {
    const at = ++this.#sequence
    const folder = join(this.#folder, `at-${at}`)
    cpSync(this.#tree, folder, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true, mode: 2 })
    this.#points.push({ at, moment: systemClock.now(), folder })
    return at
  }

  async resolve(point: string): Promise<RestorePoint> {
    const wanted = point === 'latest' ? Infinity : Number(/^seq:(\d+)$/.exec(point)?.[1])
    const found = this.#points.findLast(({ at }) => at <= wanted)
    if (found === undefined) throw new TidemarkError('point-unreachable', { message: `no point ${point}` })
    return { at: sequence(found.at), moment: moment(found.moment) }
  }

  async list(folder: Parameters<TreeReader['list']>[0], at: number) {
    const path = join(this.#at(at), toBuffer(folder).toString())
    return readdirSync(path).map((name) => ({ name, bytes: statSync(join(path, name)).size }))
  }

  async *read(path: Parameters<TreeReader['read']>[0], at: number, range?: { from: number; bytes: number }) {
    const file = join(this.#at(at), toBuffer(path).toString())
    try {
      const part = range === undefined ? {} : { start: range.from, end: range.from + range.bytes - 1 }
      yield* createReadStream(file, part) as AsyncIterable<Uint8Array>
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
      throw new TidemarkError('not-found', { message: `no file ${file}` })
    }
  }

  readonly origin = async (point: RestorePoint): Promise<RestoreOrigin> => ({
    ...directoryOrigin(`${this.#at(point.at)}/`, rootPath),
    resolve: async () => point,
  })

  #at(at: number): string {
    const found = this.#points.find((point) => point.at === at)
    if (found === undefined) throw new Error(`no point at ${at}`)
    return found.folder
  }
}

async function backUp(cluster: Cluster, base: string) {
  await using connection = await cluster.connect('replication')
  mkdirSync(join(base, 'data'), { recursive: true })
  const found: { start?: number; end?: number; timeline?: number; tablespaces: { oid: number; location: string }[] } = {
    tablespaces: [],
  }
  let tar: ReturnType<typeof unpack> | undefined
  for await (const event of baseBackup(connection, { label: 'test', checkpoint: 'fast', manifest: 'none' })) {
    if (event.kind === 'start') {
      found.start = event.lsn
      found.timeline = event.timeline
      for (const { oid, location } of event.tablespaces)
        if (oid !== undefined) found.tablespaces.push({ oid, location })
    } else if (event.kind === 'archive') {
      await tar?.end()
      const folder = join(base, event.oid === undefined ? 'data' : `tablespaces/${event.oid}`)
      mkdirSync(folder, { recursive: true })
      tar = unpack(folder)
    } else if (event.kind === 'data') await tar?.write(event.bytes)
    else if (event.kind === 'end') found.end = event.lsn
  }
  await tar?.end()
  const { start, end, timeline, tablespaces } = found
  if (start === undefined || end === undefined || timeline === undefined) throw new Error('a backup without an end')
  return { start, end, timeline, tablespaces }
}

function unpack(folder: string) {
  const tar = spawn('tar', ['-x', '-f', '-', '-C', folder], { stdio: ['pipe', 'ignore', 'inherit'] })
  const unpacked = once(tar, 'exit')
  // It ends where the archive says so, and may not take what follows: its status tells how it went.
  tar.stdin.on('error', () => {})
  return {
    /** Written at once: the bytes hold only until the next event. */
    write: (bytes: Uint8Array) => new Promise((written) => tar.stdin.write(bytes, written)),
    end: async () => {
      tar.stdin.end(Buffer.alloc(1024))
      const [status] = await unpacked
      if (status !== 0) throw new Error(`tar ended with ${status}`)
    },
  }
}
