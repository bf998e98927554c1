import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { backupManifestPath } from '../../src/format/postgres-tree.ts'
import { World } from '../e2e/harness.ts'
import { lackingPostgres, type PostgresMajor } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'

/** pg_verifybackup of Debian's PostgreSQL, and the engine whose manifests it reads. */
const debian = '/usr/lib/postgresql'
const majors = existsSync(debian) ? readdirSync(debian).map(Number) : []
const major = majors.find((one) => one >= 13 && existsSync(join(debian, `${one}/bin/pg_verifybackup`)))
const lacking = major === undefined ? 'there is no pg_verifybackup of Debian' : lackingPostgres(major as PostgresMajor)

/** What a restore changes, and tells: the settings that lead it to its target, and what it keeps beside the data. */
const changed = [
  'postgresql.auto.conf',
  'postgresql.conf',
  'pg_hba.conf',
  'recovery.signal',
  'tidemark',
  'tablespace_map',
  'pg_wal',
]

test(
  "a restored base passes the check of the server's own tool, but for the settings that a restore overrules",
  { skip: lacking, timeout: 900_000 },
  async (t) => {
    const settings = { wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10 }
    const cluster = await Cluster.create(t, { major: major as PostgresMajor, settings })
    await cluster.sql('CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n')
    const world = await World.begin(t)
    // The user of the restored server has to come to it.
    chmodSync(world.folder, 0o755)
    const agent = await world.join('server')
    await agent.process.start()
    await world.atAgent(agent, 'protect', 'postgres', cluster.url, '--name', 'shop', '--force')
    await world.until('shop', 'protected', ({ state }) => state === 'protected')
    const data = join(world.folder, 'restored')
    await world.restore('shop', 'latest', data)
    const manifest = join(world.folder, 'manifest')
    const { out } = await world.atVault('cat', `shop:${backupManifestPath(1)}`, '--at', 'latest')
    writeFileSync(manifest, out)
    const program = join(debian, `${major}/bin/pg_verifybackup`)
    const verify = (...more: string[]) =>
      spawnSync(program, ['--no-parse-wal', '--manifest-path', manifest, ...more, data], { encoding: 'utf8' })
    const ignored = changed.flatMap((name) => ['--ignore', name])
    const { status, stdout, stderr } = verify(...ignored)
    assert.equal(status, 0, `${stdout}${stderr}`)
    const told = verify().stderr
    const differing = told.split('\n').filter((line) => line.includes('error:'))
    assert.ok(
      differing.every((line) => changed.some((name) => line.includes(`"${name}`))),
      told,
    )
  },
)
