import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chownSync, closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isCode } from '../../../base/errors.ts'
import { Cluster } from '../../../../test/support/postgres.ts'
import { availableMajors, lackingPostgres, serverOwner } from '../../../../test/support/postgres-program.ts'
import { until } from '../../../../test/support/until.ts'
import { baseBackup, type BackupEvent } from './base-backup.ts'
import type { Connection } from './connection.ts'
import { identifySystem } from './replication.ts'

const newest = 18

for (const major of availableMajors()) {
  test(`version ${major}: a base backup is an archive for each tablespace, and a manifest where the server writes one`, async (t) => {
    const cluster = await Cluster.create(t, { major })
    const place = join(cluster.folder, 'space')
    mkdirSync(place)
    const owner = serverOwner()
    if (owner) chownSync(place, owner.uid, owner.gid)
    await cluster.sql(`CREATE TABLESPACE space LOCATION '${place}'`)
    await cluster.sql(
      'CREATE TABLE t TABLESPACE space AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 5000) n',
    )
    const [[oid] = []] = await cluster.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")

    await using connection = await cluster.connect('replication')
    const { files, events } = await collect(connection)
    const [start] = events
    assert.ok(start?.kind === 'start' && start.timeline === 1)
    assert.deepEqual(
      start.tablespaces.map((one) => [one.oid, one.location, (one.bytes ?? 0) > 1_000_000]),
      [
        [Number(oid), place, true],
        [undefined, '', true],
      ],
    )
    const end = events.at(-1)
    assert.ok(end?.kind === 'end' && end.lsn > start.lsn && end.timeline === 1 && end.damage === undefined)
    const hasManifest = major >= 13
    assert.deepEqual([...files.keys()].toSorted(), [`${oid}`, 'base', ...(hasManifest ? ['manifest'] : [])].toSorted())
    assert.ok(listTar(files.get('base') as Buffer).includes('backup_label'))
    assert.ok(listTar(files.get('base') as Buffer).includes('tablespace_map'))
    assert.ok(listTar(files.get(`${oid}`) as Buffer).length > 1)
    if (hasManifest) {
      const manifest = JSON.parse(String(files.get('manifest'))) as { Files: { Path: string }[] }
      assert.ok(manifest.Files.some(({ Path }) => Path === 'global/pg_control'))
    }
    assert.ok((await identifySystem(connection)).flushed >= end.lsn)
  })

  test(`version ${major}: a standby made from a base backup follows, and goes on alone when promoted`, async (t) => {
    const primary = await Cluster.create(t, { major })
    await primary.sql('CREATE TABLE t AS SELECT generate_series(1, 10) AS n')
    const standby = await primary.standby(t)
    await standby.start()
    await primary.sql('INSERT INTO t VALUES (11)')
    await until(
      () => standby.log,
      async () => (await standby.sql('SELECT max(n) FROM t'))[0]?.[0] === '11',
    )
    await standby.promote()
    await standby.sql('INSERT INTO t VALUES (12)')
    assert.deepEqual(await standby.sql('SELECT count(*) FROM t'), [['12']])
  })
}

const onNewest = { skip: lackingPostgres(newest) }

test('a slow consumer makes the server wait, and leaving early closes the connection', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest, settings: { wal_sender_timeout: '1s' } })
  await using connection = await cluster.connect('replication')
  let bytes = 0
  for await (const event of baseBackup(connection, { label: 'slow', manifest: 'none', blockBytes: 1024 * 1024 })) {
    if (event.kind !== 'data') continue
    const before = Buffer.from(event.bytes)
    if (bytes === 0) await sleep(3000)
    assert.ok(before.equals(event.bytes))
    bytes += event.bytes.length
    if (bytes > 5_000_000) break
  }
  assert.ok(bytes < 10_000_000)
  await assert.rejects(identifySystem(connection), (error) => isCode(error, 'interrupted'))
})

test('pages with wrong checksums are told at the end, and the copy is complete all the same', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest, initdbArgs: ['--data-checksums'] })
  await cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 10000) AS n')
  const [[path] = []] = await cluster.sql("SELECT pg_relation_filepath('t')")
  await cluster.stop()
  const file = openSync(join(cluster.data, path as string), 'r+')
  writeSync(file, 'damage', 8192 + 4000)
  closeSync(file)
  await cluster.start()
  const notices: string[] = []
  await using connection = await cluster.connect('replication', { notice: ({ message }) => notices.push(message) })
  const { events, files } = await collect(connection)
  const end = events.at(-1)
  assert.ok(end?.kind === 'end' && /checksum/.test(end.damage ?? ''))
  assert.match(notices.join('\n'), /checksum verification failed/)
  assert.ok(JSON.parse(String(files.get('manifest'))))
  assert.equal((await identifySystem(connection)).timeline, 1)
})

test('what the server refuses of a base backup is told, and the connection goes on', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await using connection = await cluster.connect('replication')
  await assert.rejects(collect(connection, 'x'.repeat(2000)), (error) => isCode(error, 'database-refused'))
  assert.equal((await identifySystem(connection)).timeline, 1)
})

async function collect(connection: Connection, label = "it's a test") {
  const pieces = new Map<string, Buffer[]>()
  const events: BackupEvent[] = []
  let into = ''
  for await (const event of baseBackup(connection, { label, estimate: true })) {
    if (event.kind === 'archive') into = String(event.oid ?? 'base')
    if (event.kind === 'manifest') into = 'manifest'
    if (event.kind === 'data') pieces.set(into, [...(pieces.get(into) ?? []), Buffer.from(event.bytes)])
    else events.push(event)
  }
  const files = new Map([...pieces].map(([name, parts]) => [name, Buffer.concat(parts)]))
  return { events, files }
}

function listTar(archive: Buffer): string[] {
  const { status, stdout } = spawnSync('tar', ['-t', '-f', '-'], {
    input: Buffer.concat([archive, Buffer.alloc(1024)]),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  assert.equal(status, 0)
  return stdout.split('\n')
}
