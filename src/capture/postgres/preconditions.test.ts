import assert from 'node:assert/strict'
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { availableMajors, lackingPostgres, serverOwner } from '../../../test/support/postgres-program.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import { type Checking, checkServer, type Finding, type FindingCode } from './preconditions.ts'
import { parsePostgresUrl } from './protocol/url.ts'

const middle = 17
const onMiddle = { skip: lackingPostgres(middle) }
const gib = 1024 ** 3
const account = { user: 'postgres', homeFolder: '/nonexistent', environment: {} }

function check(url: string, changes: Partial<Checking> = {}) {
  const checking: Checking = {
    target: parsePostgresUrl(url, account.user),
    account,
    applicationName: 'tidemark_0123456789abcdef',
    clock: systemClock,
    random: systemRandom,
    settings: { walKeptBytesMax: 10 * gib },
    ...changes,
  }
  return checkServer(checking, AbortSignal.timeout(120_000))
}

/** Servers of tests do not sync. */
const codes = (findings: readonly Finding[]): FindingCode[] =>
  findings.map(({ code }) => code).filter((code) => code !== 'fsync')

const find = (findings: readonly Finding[], code: FindingCode): Finding => {
  const found = findings.find((finding) => finding.code === code)
  assert.ok(found, `${code} among ${codes(findings).join()}`)
  return found
}

const tcp = (cluster: Cluster, user: string): string => `postgres://${user}@127.0.0.1:${cluster.port}/postgres`

for (const major of availableMajors()) {
  test(`version ${major}: a usual server is found to be in order, and what it is made of is read`, async (t) => {
    const cluster = await Cluster.create(t, {
      major,
      settings: major >= 13 ? { max_slot_wal_keep_size: '10GB' } : {},
    })
    const { findings, properties } = await check(cluster.url, { settings: { walKeptBytesMax: 10 * gib, zeroLoss: {} } })
    assert.deepEqual(codes(findings), major >= 13 ? [] : ['wal-kept'])
    assert.match(properties['version'] ?? '', new RegExp(`^PostgreSQL ${major}\\..* on (x86_64|aarch64)`))
    assert.equal(properties['block_size'], '8192')
    assert.equal(properties['wal_segment_size'], String(16 * 1024 ** 2))
    assert.equal(properties['data_directory_mode'], '0700')
    assert.equal(properties['max_connections'], '30')
    assert.match(properties['database.postgres'] ?? '', /^UTF8 libc C C/)
    for (const name of ['data_checksums', 'max_locks_per_transaction', 'collations'])
      assert.ok(name in properties, name)
  })
}

test('what keeps the log from being streamed is refused, with the statement that mends it', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, {
    major: middle,
    settings: { wal_level: 'minimal', max_wal_senders: 0, max_replication_slots: 0, full_page_writes: false },
  })
  const { findings } = await check(cluster.url)
  assert.deepEqual(codes(findings).toSorted(), [
    'full-page-writes',
    'replication-slots',
    'wal-kept',
    'wal-level',
    'wal-senders',
  ])
  assert.equal(find(findings, 'wal-level').severity, 'refused')
  assert.match(find(findings, 'wal-level').hint, /^ALTER SYSTEM SET wal_level = replica;/)
  assert.match(find(findings, 'wal-senders').hint, /max_wal_senders = 2;/)
  assert.match(find(findings, 'replication-slots').hint, /max_replication_slots = 1;/)
  assert.equal(findings.at(-1)?.severity, 'warning')
})

test('slots and senders of others leave too little room, our own do not', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, { major: middle, settings: { max_replication_slots: 1 } })
  await cluster.sql("SELECT pg_create_physical_replication_slot('tidemark_0123456789abcdef')")
  assert.deepEqual(codes((await check(cluster.url)).findings), ['replication-slots', 'wal-kept'])
  const ours = await check(cluster.url, { slot: 'tidemark_0123456789abcdef' })
  assert.deepEqual(codes(ours.findings), ['wal-kept'])
})

test('a role without the right to replicate is refused', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, { major: middle })
  await cluster.sql('CREATE ROLE "Back Up" LOGIN')
  const { findings } = await check(tcp(cluster, 'Back%20Up'))
  assert.equal(find(findings, 'replication-right').hint, 'as a superuser: ALTER ROLE "Back Up" REPLICATION;')
})

test('pg_hba.conf without a line for replication, or for SQL, is told with the line', onMiddle, async (t) => {
  const sqlOnly = ['host all all 127.0.0.1/32 trust']
  const cluster = await Cluster.create(t, { major: middle, hba: sqlOnly })
  await cluster.sql('CREATE ROLE tide LOGIN REPLICATION')
  const { findings } = await check(tcp(cluster, 'tide'))
  assert.equal(find(findings, 'replication-refused').severity, 'refused')
  assert.match(find(findings, 'replication-refused').hint, /"host replication tide 127\.0\.0\.1\/32 scram-sha-256"/)
  cluster.setHba(['host replication all 127.0.0.1/32 trust'])
  cluster.reload()
  let refused = await check(tcp(cluster, 'tide'))
  await until('SQL is refused', async () => {
    refused = await check(tcp(cluster, 'tide'))
    return refused.findings[0]?.code === 'connection-refused'
  })
  assert.match(
    find(refused.findings, 'connection-refused').hint,
    /"host postgres tide <address of this machine> scram-sha-256"/,
  )
  assert.deepEqual(refused.properties, {})
})

test('a smaller limit of the server, or none, is a warning that names our own', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, {
    major: middle,
    settings: { max_slot_wal_keep_size: '1GB', wal_sender_timeout: '2s' },
  })
  const { findings } = await check(cluster.url)
  assert.match(find(findings, 'wal-kept').message, /is 1024MB.* 10240MB/)
  assert.match(find(findings, 'wal-kept').hint, /max_slot_wal_keep_size = '10240MB'/)
  assert.match(find(findings, 'wal-sender-timeout').message, /2000 ms/)
})

test('unlogged tables of all databases and tablespaces are named', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, { major: middle })
  const place = join(cluster.folder, 'space')
  mkdirSync(place)
  const owner = serverOwner()
  if (owner) chownSync(place, owner.uid, owner.gid)
  await cluster.sql(`CREATE TABLESPACE fast LOCATION '${place}'`)
  await cluster.sql('CREATE UNLOGGED TABLE here (n int)')
  await cluster.sql('CREATE DATABASE other')
  const there = parsePostgresUrl(cluster.url, 'postgres')
  {
    await using other = await cluster.connect('database', { target: { ...there, database: 'other' } })
    await other.query('CREATE SCHEMA "In"; CREATE UNLOGGED TABLE "In".cache (n int); CREATE TABLE kept (n int)')
  }
  const { findings } = await check(cluster.url)
  assert.match(find(findings, 'unlogged-tables').message, /: other\."In"\.cache, postgres\.public\.here$/)
  assert.match(find(findings, 'tablespaces').message, /: fast$/)
})

test('a database that may not be entered is told, and the others are looked into', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, { major: middle })
  await cluster.sql('CREATE ROLE tide LOGIN REPLICATION')
  await cluster.sql('CREATE DATABASE shut')
  await cluster.sql('REVOKE CONNECT ON DATABASE shut FROM public')
  const { findings } = await check(tcp(cluster, 'tide'))
  assert.match(find(findings, 'database-unseen').hint, /GRANT CONNECT ON DATABASE shut TO tide/)
})

test('a standby is a warning', onMiddle, async (t) => {
  const primary = await Cluster.create(t, { major: middle })
  const standby = await primary.standby(t)
  await standby.start()
  assert.equal(find((await check(standby.url)).findings, 'standby').severity, 'warning')
})

test('zero loss needs rights, and commits that wait', onMiddle, async (t) => {
  const cluster = await Cluster.create(t, { major: middle, settings: { synchronous_commit: 'local' } })
  await cluster.sql('CREATE ROLE tide LOGIN REPLICATION')
  const settings = { walKeptBytesMax: 10 * gib, zeroLoss: {} }
  const url = `${tcp(cluster, 'tide')}?application_name=mine`
  const { findings } = await check(url, { settings })
  assert.deepEqual(codes(findings).toSorted(), [
    'application-name',
    'synchronous-commit',
    'wal-kept',
    'zero-loss-right',
  ])
  const { hint } = find(findings, 'zero-loss-right')
  await cluster.sql(hint.replace('as a superuser: ', ''))
  assert.deepEqual(codes((await check(tcp(cluster, 'tide'), { settings })).findings), [
    'synchronous-commit',
    'wal-kept',
  ])
  cluster.configure({ allow_alter_system: false })
  await cluster.restart()
  const off = await check(tcp(cluster, 'tide'), { settings })
  assert.match(find(off.findings, 'zero-loss-right').message, /allow_alter_system is off/)
})

test('a server that is not there is an error', async () => {
  await assert.rejects(check('postgres://x@127.0.0.1:1/x'), (error) => isCode(error, 'unreachable'))
})

for (const major of [13, 17] as const) {
  test(
    `version ${major}: a collation that was made with another version of its library is named, with its database`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const cluster = await Cluster.create(t, { major })
      const [versioned] = await cluster.sql(
        'SELECT collname FROM pg_collation WHERE collversion IS NOT NULL ORDER BY collname LIMIT 1',
      )
      if (versioned === undefined) return t.skip('this build knows no collation with a version')
      assert.ok(!codes((await check(cluster.url)).findings).includes('collation-versions'))
      await cluster.sql(`UPDATE pg_collation SET collversion = '0.1' WHERE collname = '${versioned[0]}'`)
      const { message, hint, severity } = find((await check(cluster.url)).findings, 'collation-versions')
      assert.equal(severity, 'warning')
      assert.match(message, /: postgres \(\S+ was made with version 0\.1, and is \S+ now\)$/)
      assert.match(hint, /REINDEX DATABASE/)
    },
  )
}
