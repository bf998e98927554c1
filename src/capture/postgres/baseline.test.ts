import assert from 'node:assert/strict'
import { chownSync, closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FolderSink } from '../../../test/support/folder-sink.ts'
import { availableMajors, lackingPostgres, serverOwner } from '../../../test/support/postgres-program.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { crc32c } from '../../base/crc32c.ts'
import { isCode } from '../../base/errors.ts'
import { baselineFolder, dataFolder } from '../../format/postgres-tree.ts'
import type { TreePath } from '../../model/path.ts'
import { type BaselineRequest, type BaselineResult, copyBaseline } from './baseline.ts'
import type { BulkSink } from './bulk-sink.ts'

const newest = 18
const onNewest = { skip: lackingPostgres(newest) }

const request = (changes: Partial<BaselineRequest> = {}): BaselineRequest => ({
  number: 1,
  chunkKey: Buffer.alloc(32, 7),
  label: 'tidemark test',
  checkpoint: 'fast',
  signal: new AbortController().signal,
  progress: () => {},
  ...changes,
})

async function copy(cluster: Cluster, sink: BulkSink, changes: Partial<BaselineRequest> = {}): Promise<BaselineResult> {
  await using connection = await cluster.connect('replication')
  return await copyBaseline(connection, request(changes), sink)
}

interface Manifest {
  readonly Files: readonly { readonly Path: string; readonly Size: number; readonly Checksum: string }[]
}

/** The checksums are the server's own; `pathOf` says where a file of the manifest came to stand. */
function checkManifest(manifest: Buffer, pathOf: (path: string) => string): number {
  const { Files } = JSON.parse(manifest.toString('utf8')) as Manifest
  for (const { Path, Size, Checksum } of Files) {
    const content = readFileSync(pathOf(Path))
    assert.equal(content.length, Size, Path)
    // The manifest has the bytes as they lie in the memory of a little-endian server.
    assert.equal(Buffer.from(Checksum, 'hex').readUInt32LE(), crc32c(content) >>> 0, Path)
  }
  return Files.length
}

async function withTablespace(cluster: Cluster): Promise<{ oid: number; place: string }> {
  const place = join(cluster.folder, 'space')
  mkdirSync(place)
  const owner = serverOwner()
  if (owner) chownSync(place, owner.uid, owner.gid)
  await cluster.sql(`CREATE TABLESPACE space LOCATION '${place}'`)
  await cluster.sql(
    'CREATE TABLE spaced TABLESPACE space AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 5000) n',
  )
  const [[oid] = []] = await cluster.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")
  return { oid: Number(oid), place }
}

for (const major of availableMajors()) {
  test(`version ${major}: a server that starts from a baseline has every row`, async (t) => {
    const primary = await Cluster.create(t, { major })
    await primary.sql('CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 60000) n')
    let result: BaselineResult | undefined
    const standby = await Cluster.from(t, major, async (data) => {
      result = await copy(primary, new FolderSink(data, dataFolder(1)))
    })
    assert.ok(result && result.end > result.start && result.timeline === 1 && result.damage === undefined)
    assert.deepEqual(result.tablespaces, [])
    standby.follow(primary)
    await primary.sql("INSERT INTO t VALUES (60001, 'last')")
    await standby.start()
    await until(
      () => standby.log,
      async () => (await standby.sql('SELECT max(n) FROM t'))[0]?.[0] === '60001',
    )
    const sum = 'SELECT count(*), sum(hashtext(md5)) FROM t'
    assert.deepEqual(await standby.sql(sum), await primary.sql(sum))
  })

  test(`version ${major}: what stands in the tree is what the server's manifest says, tablespaces too`, async (t) => {
    const cluster = await Cluster.create(t, { major })
    const { oid, place } = await withTablespace(cluster)
    const folder = join(cluster.folder, 'copy')
    const seen: [number, number, number][] = []
    const sink = new FolderSink(folder, baselineFolder(3))
    const progress = (bytes: number, total: number, files: number): void => void seen.push([bytes, total, files])
    const result = await copy(cluster, sink, { number: 3, progress })
    assert.deepEqual(result.tablespaces, [{ oid, location: place }])
    assert.ok(readFileSync(join(folder, 'data/backup_label'), 'utf8').includes('LABEL: tidemark test'))
    assert.match(readFileSync(join(folder, 'data/tablespace_map'), 'utf8'), new RegExp(`^${oid} `))
    const [bytes, total, files] = seen.at(-1) ?? []
    assert.deepEqual([bytes, files], [result.bytes, result.files])
    assert.ok(total && total > 20_000_000 && total < 2 * result.bytes)
    if (major < 13) return assert.equal(result.manifestBytes, 0)
    const manifest = readFileSync(join(folder, 'backup_manifest'))
    assert.equal(manifest.length, result.manifestBytes)
    const spaced = /^pg_tblspc\/(\d+)\//
    const listed = checkManifest(manifest, (path) =>
      join(folder, spaced.test(path) ? path.replace(spaced, 'tablespaces/$1/') : `data/${path}`),
    )
    assert.equal(listed, result.files - 1)
  })
}

test('after one page of a hundred was changed, about a twenty-fifth is sent again', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest, settings: { autovacuum: false } })
  // One row a page, so that a row changed is a page changed.
  await cluster.sql('CREATE TABLE t (n int, filler char(900)) WITH (fillfactor = 20)')
  await cluster.sql("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 10000) n")
  await cluster.sql('VACUUM FREEZE t')
  await cluster.sql('CHECKPOINT')
  const sink = new FolderSink(join(cluster.folder, 'nowhere'), 'nowhere' as TreePath)
  const first = await copy(cluster, sink)
  const firstBytes = sink.sentBytes
  await cluster.sql("UPDATE t SET filler = 'y' WHERE n % 100 = 17")
  const [[relation] = []] = await cluster.sql("SELECT pg_relation_size('t')")
  await copy(cluster, sink, { number: 2 })
  const part = (sink.sentBytes - firstBytes) / Number(relation)
  t.diagnostic(`${first.bytes} bytes, ${firstBytes} sent, of ${relation} then ${(part * 100).toFixed(2)} %`)
  assert.ok(firstBytes < first.bytes)
  assert.ok(part < 0.06, String(part))
})

test('a large file is put with its first MiB and patched, and no change brings more', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await cluster.sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n')
  const sink = new FolderSink(join(cluster.folder, 'copy'), baselineFolder(1))
  await copy(cluster, sink)
  assert.equal(sink.longestBytes, 1024 * 1024)
})

test('zeros take no chunks, and a relation of zeros is as long as it was', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  const sink = new FolderSink(join(cluster.folder, 'copy'), dataFolder(1))
  await cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 100) AS n')
  const [[path] = []] = await cluster.sql("SELECT pg_relation_filepath('t')")
  await cluster.stop()
  truncateSync(join(cluster.data, path as string), 40 * 1024 * 1024)
  await cluster.start()
  const result = await copy(cluster, sink)
  assert.ok(result.bytes - sink.sentBytes > 39 * 1024 * 1024)
  assert.ok(
    readFileSync(join(cluster.data, path as string)).equals(readFileSync(join(cluster.folder, 'copy', path as string))),
  )
})

test('a signal ends a baseline that waits for its sink or for a checkpoint', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await cluster.sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 50000) n')
  const reason = new Error('enough')
  const waiting = new AbortController()
  const slow: BulkSink = {
    write: async ({ kind }) => {
      if (kind === 'patch') waiting.abort(reason)
    },
    flush: async () => {},
  }
  await assert.rejects(copy(cluster, slow, { signal: waiting.signal }), reason)
  await cluster.sql('CREATE TABLE dirty AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 10000) n')
  const spread = new AbortController()
  const copied = copy(cluster, slow, { signal: spread.signal, checkpoint: 'spread' })
  void sleep(300).then(() => spread.abort(reason))
  await assert.rejects(copied, reason)
  const failing: BulkSink = { write: () => Promise.reject(reason), flush: async () => {} }
  await assert.rejects(copy(cluster, failing), reason)
})

test('a limit of the rate is kept', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  const sink = new FolderSink(join(cluster.folder, 'copy'), dataFolder(1))
  const started = performance.now()
  const { bytes } = await copy(cluster, sink, { bytesPerSecondMax: 16 * 1024 * 1024 })
  const seconds = (performance.now() - started) / 1000
  assert.ok(bytes / seconds < 20 * 1024 * 1024, `${bytes} bytes in ${seconds} s`)
})

test('pages with wrong checksums are told, and everything is copied', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest, initdbArgs: ['--data-checksums'] })
  await cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 10000) AS n')
  const [[path] = []] = await cluster.sql("SELECT pg_relation_filepath('t')")
  await cluster.stop()
  const file = openSync(join(cluster.data, path as string), 'r+')
  writeSync(file, 'damage', 8192 + 4000)
  closeSync(file)
  await cluster.start()
  const result = await copy(cluster, new FolderSink(join(cluster.folder, 'copy'), baselineFolder(1)))
  assert.match(result.damage ?? '', /checksum/)
  assert.ok(result.manifestBytes > 0)
})

test('what the server refuses of a baseline is told', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await assert.rejects(copy(cluster, new FolderSink('', dataFolder(1)), { label: 'x'.repeat(2000) }), (error) =>
    isCode(error, 'database-refused'),
  )
})
