import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lackingPostgres } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'
import { command, waitFor, World } from './harness.ts'

const major = 17

test(
  'a server is looked at before it is protected; what is in the way is told with the line, and can be forced',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const cluster = await Cluster.create(t, { major, settings: { max_replication_slots: 0 } })
    await cluster.sql('CREATE UNLOGGED TABLE cache (n int)')
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const protect = (...args: string[]) => command(['--agent', agent.folder, 'protect', 'postgres', ...args])

    const withPassword = await protect('postgres://tide:open-sesame@127.0.0.1/postgres', '--name', 'orders')
    assert.equal(withPassword.status, 2)
    assert.match(withPassword.err, /holds a password/)
    assert.match(withPassword.err, /\.pgpass/)
    assert.doesNotMatch(withPassword.err, /open-sesame/)
    const relative = await protect('postgres://tide@127.0.0.1/postgres?passfile=pass', '--name', 'orders')
    assert.match(relative.err, /absolute path/)

    const refused = await protect(cluster.url, '--name', 'orders')
    assert.equal(refused.status, 1)
    assert.match(refused.err, /refused replication-slots .*\n {2}ALTER SYSTEM SET max_replication_slots = 1;/)
    assert.match(refused.err, /warning unlogged-tables .*postgres\.public\.cache/)
    assert.match(refused.err, /one thing stands in the way of protecting orders/)
    assert.equal(await world.source('orders'), undefined)

    const forced = await protect(cluster.url, '--name', 'forced', '--force', '--json')
    assert.equal(forced.status, 0, forced.err)
    assert.equal((JSON.parse(forced.out) as { name: string }).name, 'forced')
    const { problems } = await world.until('forced', 'what cannot be protected is named', (source) =>
      source.problems.some(({ code }) => code === 'unlogged-tables'),
    )
    assert.match(problems.map(({ message }) => message).join('\n'), /postgres\.public\.cache/)
  },
)

test(
  'protected with zero loss, and let go again: the server is as before, and commits go on',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const cluster = await Cluster.create(t, { major })
    await cluster.sql('CREATE TABLE t (n int)')
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const options = '--zero-loss --baseline-every 12h --baseline-rate 64MiB/s --wal-keep 1.5GiB --window 3d --lag 30s'
    const told = await world.atAgent(
      agent,
      'protect',
      'postgres',
      cluster.url,
      '--name',
      'orders',
      ...options.split(' '),
    )
    assert.match(told.out, /^orders is protected by server;/)
    const { postgres, policy } = await world.until('orders', 'protected', ({ state }) => state === 'protected')
    assert.deepEqual(postgres, {
      url: cluster.url,
      baselineMs: 12 * 3_600_000,
      baselineBytesPerSecond: 64 * 1024 ** 2,
      walKeptBytesMax: 1.5 * 1024 ** 3,
      zeroLoss: {},
    })
    assert.deepEqual([policy.windowMs, policy.lagMsMax], [3 * 86_400_000, 30_000])
    const names = async (): Promise<string> => (await cluster.sql('SHOW synchronous_standby_names'))[0]?.[0] ?? ''
    await waitFor('commits wait for the vault', names, (name) => name.startsWith('tidemark_'))
    await cluster.sql('INSERT INTO t VALUES (1)')
    const [, from] =
      /(commits wait for the vault; from (\S+Z) to \S+Z they did not)/
        .exec(
          await waitFor(
            'the span before is marked',
            async () => (await world.atVault('points', 'orders', '--json')).out,
            (out) => out.includes('commits wait for the vault; from'),
          ),
        )
        ?.slice(1) ?? []
    const marks = (await world.atVault('points', 'orders', '--json')).out
    assert.ok(marks.includes(`commits do not wait for the vault from ${from} on`), marks)

    // While it is paused nobody answers for the vault; what is committed meanwhile comes afterwards.
    await world.atVault('pause', 'orders')
    await waitFor('commits wait for nobody', names, (name) => name === '')
    await cluster.sql('INSERT INTO t VALUES (10)')
    await world.atVault('resume', 'orders')
    await waitFor('commits wait again', names, (name) => name.startsWith('tidemark_'))
    await waitFor(
      'the span of the pause is marked',
      async () => (await world.atVault('points', 'orders', '--json')).out.match(/they did not/g)?.length,
      (count) => count === 2,
    )

    await agent.process.kill()
    const waiting = cluster.sql('INSERT INTO t VALUES (2)')
    await world.atVault('unprotect', 'orders')
    await agent.process.start()
    await waiting
    await waitFor(
      'the slot is gone',
      () => cluster.sql('SELECT 1 FROM pg_replication_slots'),
      (rows) => rows.length === 0,
    )
    assert.equal(await names(), '')
    await cluster.sql('INSERT INTO t VALUES (3)')
  },
)
