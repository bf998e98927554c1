import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { type Agent, command, waitFor, World } from '../e2e/harness.ts'
import { useTls } from '../support/postgres-certificates.ts'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { Cluster, type ClusterOptions } from '../support/postgres.ts'

const major = 17
const mebibyte = 1024 * 1024
/** Log that piles up while the vault is away, and what one transaction writes: first a part of it, then all. */
const awayBytes = 200 * mebibyte
/** What the agent may have read before it knew that the vault is away: a slow machine lets it read more. */
const underWayBytesMax = awayBytes / 10
const hugeBytes = Number(process.env['TIDEMARK_HUGE_MIB'] ?? 300) * mebibyte
const partOfHuge = 1 / 6
/** How much more memory agent and vault may come to need for the huge one, of which they hold a named part at a time. */
const growthBytesMax = 128 * mebibyte

const settings = { wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10 }
const inVersion = { skip: lackingPostgres(major), timeout: 900_000 }

async function begin(t: TestContext, options: Partial<ClusterOptions> = {}) {
  const cluster = await Cluster.create(t, { major, ...options, settings: { ...settings, ...options.settings } })
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  // The user of the restored server has to come to it.
  chmodSync(world.folder, 0o755)
  return { cluster, world, agent }
}

async function protect(world: World, agent: Agent, url: string, ...more: string[]): Promise<void> {
  await world.atAgent(agent, 'protect', 'postgres', url, '--name', 'shop', ...more)
  await world.until('shop', 'protected', ({ state }) => state === 'protected')
}

/** What a server started on the restored source answers. */
async function askBack(t: TestContext, world: World, point: string, text: string): Promise<string[]> {
  const data = join(world.folder, `back-${point.replaceAll(/\W/g, '-')}`)
  const bin = join(postgresFolder(major), 'bin')
  const { out } = await world.restore('shop', point, data, '--start', '--pg-bin', bin, '--json')
  t.after(() => stopRestored(data))
  const { receipt } = JSON.parse(out.trim().split('\n').at(-1) as string)
  const rows = await askRestored(receipt.server, text)
  await stopRestored(data)
  return rows.map((row) => row.join('|'))
}

/** Text that does not compress. */
const fill = (bytes: number): string =>
  `INSERT INTO t (x) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, ${Math.ceil(bytes / 7680)}) r, generate_series(1, 240) GROUP BY r`

const sum = 'SELECT count(*), sum(length(x)), md5(string_agg(md5(x), NULL ORDER BY n)) FROM t'

test(
  'while the vault is away the slot keeps the log, the agent nothing; then all of it comes, a huge transaction too, in bounded memory',
  inVersion,
  async (t) => {
    const { cluster, world, agent } = await begin(t, { settings: { max_wal_size: '4GB' } })
    await cluster.sql('CREATE TABLE t (n bigserial, x text); ALTER TABLE t ALTER x SET STORAGE EXTERNAL')
    await protect(world, agent, cluster.url)
    const position = async (): Promise<number> =>
      Number((await cluster.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))[0]?.[0])

    await world.vault.kill()
    const from = await position()
    for (let part = 0; part < 4; part++) await cluster.sql(fill(awayBytes / 4))
    assert.ok((await position()) - from > awayBytes)
    const [[kept] = []] = await cluster.sql(
      'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) FROM pg_replication_slots',
    )
    assert.ok(Number(kept) >= awayBytes, `the slot keeps ${kept} bytes`)
    await world.untilAgent(agent, 'shop', 'the line down', ({ line }) => line === 'down')
    await world.untilAgent(
      agent,
      'shop',
      'nothing kept',
      ({ spoolBytes, memoryBytes }) => spoolBytes + memoryBytes < underWayBytesMax,
    )

    await world.vault.start()
    const peaks: { agent: number; vault: number }[] = []
    for (const bytes of [hugeBytes * partOfHuge, hugeBytes]) {
      await cluster.sql(`BEGIN; ${fill(bytes)}; COMMIT`)
      await world.untilAgent(agent, 'shop', 'no spool', ({ spoolBytes }) => spoolBytes < mebibyte)
      const at = await world.quietMoment('shop', 600_000)
      const [want] = await cluster.sql(sum)
      assert.deepEqual(await askBack(t, world, at, sum), [want?.join('|')])
      peaks.push({ agent: peakBytes(agent.process.pid), vault: peakBytes(world.vault.pid) })
    }
    const points = await world.atVault('points', 'shop', '--json')
    assert.doesNotMatch(points.out, /"kind":"hole"/)
    const told = peaks.map(
      (peak) => `${Math.round(peak.agent / mebibyte)} and ${Math.round(peak.vault / mebibyte)} MiB`,
    )
    t.diagnostic(
      `${Math.round(((await position()) - from) / mebibyte)} MiB of log; peak resident of agent and vault: ${told.join(', then ')}`,
    )
    const [small, large] = peaks
    assert.ok(small && large)
    for (const process of ['agent', 'vault'] as const)
      assert.ok(large[process] - small[process] < growthBytesMax, `${process}: ${told.join(', then ')}`)
  },
)

/** The most memory that a process has had at once, so far. */
const peakBytes = (pid: number): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

test(
  'over a verified, encrypted connection alone a source is protected and comes back; with the wrong authority it is refused',
  inVersion,
  async (t) => {
    const { cluster, world, agent } = await begin(t)
    await cluster.sql("CREATE ROLE tide LOGIN REPLICATION PASSWORD 'open-sesame'; CREATE TABLE t AS SELECT 1 AS n")
    const { root, otherRoot } = await useTls(cluster, { names: [{ type: 'dns', value: 'localhost' }] })
    cluster.setHba(['hostssl all tide all scram-sha-256', 'hostssl replication tide all scram-sha-256'])
    await cluster.restart()
    const passfile = join(world.folder, 'pass')
    writeFileSync(passfile, '*:*:*:tide:open-sesame\n', { mode: 0o600 })
    const url = (authority: string): string =>
      `postgres://tide@localhost:${cluster.port}/postgres?sslmode=verify-full&sslrootcert=${authority}&passfile=${passfile}`
    const wrong = ['--agent', agent.folder, 'protect', 'postgres', url(otherRoot), '--name', 'shop']
    const refused = await command(wrong)
    assert.notEqual(refused.status, 0)
    assert.match(refused.err, /certificate/)

    await protect(world, agent, url(root))
    const encrypted = await cluster.sql(
      "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'tide'",
    )
    assert.deepEqual(encrypted, [['t']])
    await cluster.sql('INSERT INTO t VALUES (2)')
    await world.quietMoment('shop')
    assert.deepEqual(await askBack(t, world, 'latest', 'SELECT n FROM t ORDER BY n'), ['1', '2'])
  },
)

test('files and a database of one system come back to one moment', inVersion, async (t) => {
  const { cluster, world, agent } = await begin(t)
  await cluster.sql('CREATE TABLE t (n int)')
  const files = world.directory('files')
  await protect(world, agent, cluster.url, '--system', 'web')
  await world.atAgent(agent, 'protect', 'files', files, '--name', 'files', '--system', 'web')
  const both = async (n: number): Promise<string> => {
    writeFileSync(join(files, `order-${n}`), `order ${n}`)
    await cluster.sql(`INSERT INTO t VALUES (${n})`)
    await world.quietMoment('files')
    return await world.quietMoment('shop')
  }
  await both(1)
  const at = await both(2)
  await both(3)
  const to = join(world.folder, 'system')
  mkdirSync(to)
  const bin = join(postgresFolder(major), 'bin')
  const rest = ['--system', 'web', '--at', at, '--to', to, '--start', '--pg-bin', bin]
  t.after(() => stopRestored(join(to, 'shop')))
  await world.atVault('restore', ...rest)
  const restored = join(to, 'files', files)
  const found = readdirSync(restored).sort()
  assert.deepEqual(
    found.map((name) => readFileSync(join(restored, name), 'utf8')),
    ['order 1', 'order 2'],
  )
  const server = { socketFolder: join(to, 'shop/tidemark/socket'), port: 5432 }
  assert.deepEqual(await askRestored(server, 'SELECT n FROM t ORDER BY n'), [['1'], ['2']])
})

test(
  'a pair of servers fails over under one URL without a gap or a baseline, and what the standby had not got can be recovered',
  inVersion,
  async (t) => {
    const { cluster: first, world, agent } = await begin(t, { settings: { wal_keep_size: '200MB' } })
    await first.sql('CREATE TABLE t (who text)')
    const second = await first.standby(t)
    await second.start()
    const hosts = [first, second].map(({ socketFolder }) => encodeURIComponent(socketFolder)).join(',')
    await protect(world, agent, `postgres:///postgres?host=${hosts}&port=${first.port},${second.port}&user=postgres`)
    await first.sql("INSERT INTO t VALUES ('before')")
    await waitFor(
      'the standby has it',
      () => second.sql('SELECT count(*) FROM t'),
      ([row]) => row?.[0] === '1',
    )
    // From here on the standby gets nothing more.
    second.configure({ primary_conninfo: '' })
    second.reload()
    await waitFor(
      'the standby is cut off',
      () => first.sql("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby'"),
      ([row]) => row?.[0] === '0',
    )
    const [left] = await first.sql("INSERT INTO t VALUES ('left behind') RETURNING txid_current()")
    await world.quietMoment('shop')
    await first.kill()
    const failedMs = systemClock.monotonicMs()
    await second.promote()
    await second.sql("INSERT INTO t VALUES ('after')")
    await world.quietMoment('shop')
    const tookMs = systemClock.monotonicMs() - failedMs

    const who = 'SELECT who FROM t ORDER BY who'
    assert.deepEqual(await askBack(t, world, 'latest', who), ['after', 'before'])
    assert.deepEqual(await askBack(t, world, `xid:${left?.[0]}@1`, who), ['before', 'left behind'])
    const points = await world.atVault('points', 'shop', '--json')
    assert.doesNotMatch(points.out, /"kind":"hole"/)
    const dry = await world.restore('shop', 'latest', join(world.folder, 'dry'), '--dry-run', '--json')
    const { plan } = JSON.parse(dry.out) as { plan: { baseline: { number: number }; timeline: number } }
    assert.deepEqual([plan.baseline.number, plan.timeline], [1, 2])
    t.diagnostic(`from the kill until the vault has what the promoted server committed: ${tookMs.toFixed(0)} ms`)
  },
)
