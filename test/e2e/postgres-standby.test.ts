import assert from 'node:assert/strict'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { command, Process, waitFor, World } from './harness.ts'

const major = 17
const settings = { wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10, wal_keep_size: '200MB' }

interface Pair {
  readonly world: World
  readonly primary: Cluster
  readonly standby: Process
  readonly args: readonly string[]
  readonly ask: (text: string) => Promise<(string | null)[]>
}

/** A protected server, and a standby that is fed from the vault. */
async function begin(t: TestContext): Promise<Pair> {
  const primary = await Cluster.create(t, { major, settings })
  await primary.sql('CREATE TABLE t (n int)')
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  // The user of the copy's server has to come to it.
  chmodSync(world.folder, 0o755)
  await world.atVault('protect', 'postgres', primary.url, '--name', 'shop', '--on', 'server')
  await world.until('shop', 'protected', ({ state }) => state === 'protected')
  const to = join(world.folder, 'copy')
  const bin = join(postgresFolder(major), 'bin')
  const args = ['--vault', world.vaultFolder, 'standby', 'shop', '--to', to, '--pg-bin', bin]
  const standby = new Process(args, /nothing is missing/, join(world.folder, 'standby.log'))
  world.atEnd(async () => {
    await standby.kill()
    await stopRestored(to)
  })
  await standby.start()
  const server = { socketFolder: join(to, 'tidemark/socket'), port: 5433 }
  const ask = async (text: string): Promise<(string | null)[]> => [...((await askRestored(server, text))[0] ?? [])]
  return { world, primary, standby, args, ask }
}

const until = (what: string, ask: Pair['ask'], rows: number): Promise<unknown> =>
  waitFor(
    what,
    () => ask('SELECT count(*) FROM t'),
    ([count]) => Number(count) === rows,
  )

test(
  'a standby is fed from the vault through restarts of the vault and of itself, and takes over with every commit',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const { world, primary, standby, args, ask } = await begin(t)
    const delaysMs: number[] = []
    for (let n = 1; n <= 11; n++) {
      await primary.sql('INSERT INTO t VALUES (0)')
      const began = systemClock.monotonicMs()
      while ((await ask('SELECT count(*) FROM t'))[0] !== String(n)) await systemClock.sleep(2)
      delaysMs.push(systemClock.monotonicMs() - began)
    }
    const delayMs = delaysMs.toSorted((a, b) => a - b)[5] ?? 0

    await world.vault.kill()
    await world.vault.start()
    const inserted = primary.sql('INSERT INTO t VALUES (0)')
    await inserted
    await until('the vault feeds again', ask, 12)

    await standby.kill()
    await primary.sql('INSERT INTO t SELECT generate_series(1, 1000)')
    await standby.start()
    await until('it goes on with the directory', ask, 1012)
    const second = await command(args)
    assert.notEqual(second.status, 0)
    assert.match(second.err, /another process feeds the standby/)

    await standby.stop()
    await assert.rejects(ask('SELECT 1'), 'the server ends with the command')
    await standby.start()

    const acknowledged = await killUnderLoad(primary)
    const killedMs = systemClock.monotonicMs()
    const { out } = await world.expect([...args, '--promote', '--json'])
    const { promotion } = JSON.parse(out.trim().split('\n').at(-1) as string) as {
      promotion: { replayMs: number; promoteMs: number; writeMs: number }
    }
    const takenMs = systemClock.monotonicMs() - killedMs
    await standby.ended()
    assert.equal((await ask('SELECT pg_is_in_recovery()'))[0], 'f')
    await ask('INSERT INTO t VALUES (-1)')
    const there = await numbersThere(ask)
    const missing = acknowledged.filter((n) => !there.has(String(n)))
    assert.deepEqual(missing, [], `of ${acknowledged.length} that were acknowledged`)
    t.diagnostic(
      `a row after ${delayMs.toFixed(0)} ms, at most ${Math.max(...delaysMs).toFixed(0)}; of ${acknowledged.length} commits none missing; kill to the end of the command ` +
        `${takenMs.toFixed(0)} ms, of them replayed ${promotion.replayMs.toFixed(0)}, promoted ${promotion.promoteMs.toFixed(0)}, write accepted ${promotion.writeMs.toFixed(0)}`,
    )
    const again = await command([...args, '--promote'])
    assert.notEqual(again.status, 0)
    assert.match(again.err, /was promoted: it is a server of its own/)
  },
)

test(
  'a server that is behind the vault is fed from it before it is promoted, and has every commit',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const { world, primary, ask } = await begin(t)
    const second = await primary.standby(t, { wal_retrieve_retry_interval: '100ms' })
    await second.start()
    await second.stop()
    const acknowledged = await killUnderLoad(primary)
    // The copy has what the vault has, once it has all that was acknowledged.
    await waitFor(
      'the table is in the copy',
      () => ask("SELECT to_regclass('l') IS NOT NULL"),
      ([isThere]) => isThere === 't',
    )
    await waitFor(
      'every acknowledged commit is in the copy',
      () => numbersThere(ask),
      (there) => acknowledged.every((n) => there.has(String(n))),
    )

    const folder = join(world.folder, 'feed')
    const feeding = ['--vault', world.vaultFolder, 'standby', 'shop', '--feed', folder]
    const feed = new Process(feeding, /primary_conninfo/, join(world.folder, 'feed.log'))
    world.atEnd(() => feed.kill())
    await feed.start()
    second.configure({ primary_conninfo: `host=${folder} user=tidemark`, primary_slot_name: 'any' })
    const began = systemClock.monotonicMs()
    await second.start()
    const [[end] = []] = await waitFor(
      'it has what the vault has',
      () => second.sql('SELECT pg_last_wal_receive_lsn(), (SELECT status FROM pg_stat_wal_receiver)'),
      ([row]) => row?.[1] === 'streaming' && row[0] !== null,
    )
    const [received] = await ask('SELECT pg_last_wal_receive_lsn()')
    await waitFor(
      `${end} becomes ${received}`,
      () => second.sql(`SELECT pg_last_wal_receive_lsn() >= '${received}'`),
      ([row]) => row?.[0] === 't',
    )
    await second.promote()
    const feedMs = systemClock.monotonicMs() - began
    const there = new Set((await second.sql('SELECT n FROM l')).map(([n]) => Number(n)))
    assert.deepEqual(
      acknowledged.filter((n) => !there.has(n)),
      [],
      `of ${acknowledged.length}`,
    )
    t.diagnostic(
      `${acknowledged.length} commits; ${feedMs.toFixed(0)} ms from the start of the second server to its promotion`,
    )
  },
)

async function numbersThere(ask: Pair['ask']): Promise<ReadonlySet<string>> {
  const [numbers] = await ask("SELECT coalesce(string_agg(n::text, ','), '') FROM l")
  return new Set(numbers?.split(','))
}

/**
 * Clients that insert numbers, each commit waiting for the vault, until the server is killed under them. Returns those
 * whose commit was acknowledged.
 */
async function killUnderLoad(primary: Cluster): Promise<number[]> {
  await primary.sql('CREATE TABLE l (n int)')
  const receivers = (): ReturnType<Cluster['sql']> =>
    primary.sql(
      "SELECT application_name, sync_state FROM pg_stat_replication WHERE application_name LIKE 'tidemark%' AND state = 'streaming'",
    )
  const [[name] = []] = await waitFor('the capture streams', receivers, (rows) => rows.length === 1)
  primary.configure({ synchronous_standby_names: `"${name}"` })
  primary.reload()
  await waitFor('commits wait for the vault', receivers, ([row]) => row?.[1] === 'sync')
  await primary.heeds()
  const acknowledged: number[] = []
  let next = 1
  const clients = Array.from({ length: 4 }, async () => {
    try {
      await using connection = await primary.connect('database')
      for (;;) {
        const n = next++
        await connection.query(`INSERT INTO l VALUES (${n})`)
        acknowledged.push(n)
      }
    } catch {
      // The server was killed.
    }
  })
  await systemClock.sleep(1500)
  await waitFor(
    'commits',
    async () => acknowledged.length,
    (count) => count > 10,
  )
  await primary.kill()
  await Promise.all(clients)
  return acknowledged
}
