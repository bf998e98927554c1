import assert from 'node:assert/strict'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { lackingPostgres, type PostgresMajor, serverOwner } from '../../../test/support/postgres-program.ts'
import { Receiver } from '../../../test/support/postgres-receiver.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { until } from '../../../test/support/until.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import type { Id, SourceDefinition } from '../../model/source.ts'
import { readPatroni } from './patroni.ts'
import { checkServer, type Finding } from './preconditions.ts'
import { parsePostgresUrl } from './protocol/url.ts'
import { releasePostgres } from './release.ts'
import { type UnprotectedSpan, ZeroLossKeeper } from './zero-loss.ts'

const middle = 17
const slot = 'tidemark_0123456789abcdef'
const account = { user: 'postgres', homeFolder: '/nonexistent', environment: {} }
const doors = { clock: systemClock, random: systemRandom }
const signal = AbortSignal.timeout(600_000)

/** A server as Patroni runs one: what it insists on is on the command line, its configuration a file of the data directory. */
class Patronised {
  readonly cluster: Cluster

  private constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  static async create(t: TestContext, major: PostgresMajor, dynamic: object): Promise<Patronised> {
    const patronised = new Patronised(await Cluster.create(t, { major }))
    const { cluster } = patronised
    patronised.configures(dynamic)
    await cluster.stop()
    await cluster.start([
      '--cluster_name=batman',
      '--wal_level=replica',
      '--hot_standby=on',
      '--max_connections=30',
      '--max_wal_senders=10',
      '--max_prepared_transactions=0',
      '--max_locks_per_transaction=64',
      '--track_commit_timestamp=off',
      '--max_replication_slots=10',
      '--max_worker_processes=8',
      '--wal_log_hints=on',
    ])
    await cluster.sql('CREATE TABLE t (n int)')
    return patronised
  }

  /** What is said by `patronictl edit-config`. */
  configures(dynamic: object): void {
    const file = join(this.cluster.data, 'patroni.dynamic.json')
    writeFileSync(file, JSON.stringify({ ttl: 30, loop_wait: 10, retry_timeout: 10, ...dynamic }))
    const owner = serverOwner()
    if (owner) chownSync(file, owner.uid, owner.gid)
  }

  /** In its synchronous mode it says so in postgresql.conf. */
  waitsFor(names: string): void {
    this.cluster.configure({ synchronous_standby_names: names })
    this.cluster.reload()
  }

  async names(): Promise<string> {
    return (await this.cluster.sql('SHOW synchronous_standby_names'))[0]?.[0] ?? ''
  }
}

async function check({ cluster }: Patronised, { user = 'postgres', zeroLoss = true, known = false } = {}) {
  const target = parsePostgresUrl(`postgres://${user}@127.0.0.1:${cluster.port}/postgres`, user)
  const settings = { walKeptBytesMax: 1024 ** 3, zeroLoss: zeroLoss ? {} : undefined }
  const checking = { target, account, applicationName: slot, settings, ...doors, ...(known ? { slot } : {}) }
  const { findings } = await checkServer(checking, signal)
  return (code: Finding['code']): Finding | undefined => findings.find((one) => one.code === code)
}

/** Time of the keeper, in which ten seconds are over soon. */
const quick: Clock = {
  now: systemClock.now,
  monotonicMs: () => systemClock.monotonicMs() * 50,
  sleep: (ms, ending) => systemClock.sleep(Math.min(ms, 20), ending),
}

function keep({ cluster }: Patronised) {
  const spans: UnprotectedSpan[] = []
  const server = { url: cluster.url, account, applicationName: slot, ...doors }
  const unprotected = (span: UnprotectedSpan): void => void spans.push(span)
  const keeper = new ZeroLossKeeper({ server, zeroLoss: {}, capturedAt: undefined, clock: quick, unprotected })
  const stop = new AbortController()
  const running = keeper.run(stop.signal)
  keeper.line(true)
  keeper.caughtUp(true)
  return {
    keeper,
    spans,
    codes: () => keeper.problems().map(({ code }) => code),
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('stopped'))
      await running
    },
  }
}

for (const major of [12, 14, 18] as const) {
  test(
    `version ${major}: a server that Patroni manages is known by what only it gives, and its configuration is read`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const patronised = await Patronised.create(t, major, {
        synchronous_mode: 'quorum',
        slots: { [slot]: { type: 'physical' }, other: { type: 'logical', database: 'a', plugin: 'b' } },
        ignore_slots: [{ name: 'left', type: 'physical' }, { type: 'logical' }],
      })
      const { cluster } = patronised
      await using sql = await cluster.connect('database')
      const read = await readPatroni(sql)
      assert.deepEqual([read?.scope, read?.synchronousMode, read?.slots], ['batman', 'on', [slot, 'left']])
      for (const [mode, told] of [
        [false, 'off'],
        ['off', 'off'],
        [null, 'off'],
        [true, 'on'],
        ['on', 'on'],
      ] as const) {
        patronised.configures({ synchronous_mode: mode })
        assert.equal((await readPatroni(sql))?.synchronousMode, told)
      }
    },
  )
}

test(
  'a server that nobody manages is not taken for one of Patroni, even with its file',
  { skip: lackingPostgres(middle) },
  async (t) => {
    const cluster = await Cluster.create(t, { major: middle })
    writeFileSync(join(cluster.data, 'patroni.dynamic.json'), '{"synchronous_mode": true}', { mode: 0o644 })
    await using sql = await cluster.connect('database')
    assert.equal(await readPatroni(sql), undefined)
  },
)

test(
  'zero loss is refused where Patroni says for whom commits wait, and the command is told that gives the slot to it',
  { skip: lackingPostgres(middle) },
  async (t) => {
    const patronised = await Patronised.create(t, middle, { synchronous_mode: true })
    const found = await check(patronised, { known: true })
    assert.equal(found('patroni')?.severity, 'refused')
    assert.match(found('patroni')?.hint ?? '', /patronictl edit-config batman --set synchronous_mode=off$/)
    assert.equal(found('patroni-slot')?.severity, 'warning')
    assert.equal(found('patroni-slot')?.hint, `patronictl edit-config batman --set slots.${slot}.type=physical`)
    assert.equal((await check(patronised, { zeroLoss: false }))('patroni'), undefined)

    patronised.configures({ synchronous_mode: false, slots: { [slot]: { type: 'physical' } } })
    const mended = await check(patronised, { known: true })
    assert.deepEqual([mended('patroni'), mended('patroni-slot')], [undefined, undefined])

    const { cluster } = patronised
    await cluster.sql(
      'CREATE ROLE tide LOGIN REPLICATION; GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO tide; GRANT EXECUTE ON FUNCTION pg_reload_conf() TO tide',
    )
    const blind = await check(patronised, { user: 'tide' })
    assert.equal(blind('patroni')?.severity, 'refused')
    const [, grant = ''] = /: (GRANT .*;)$/.exec(blind('patroni')?.hint ?? '') ?? []
    await cluster.sql(grant)
    assert.equal((await check(patronised, { user: 'tide' }))('patroni'), undefined)
  },
)

test(
  'where Patroni says for whom commits wait our name is not set, and is taken out when it begins to; its own setting counts',
  { skip: lackingPostgres(middle) },
  async (t) => {
    const patronised = await Patronised.create(t, middle, { synchronous_mode: true })
    const { cluster } = patronised
    await using receiver = await Receiver.start(cluster, slot)
    await using standby = await Receiver.start(cluster, 'node2')
    await using keeping = keep(patronised)
    await until('it is told', () => keeping.codes().includes('zero-loss-patroni'))
    assert.equal(await patronised.names(), '', 'it has no standby at the moment, and lets commits go')
    assert.equal(keeping.spans.length, 1)

    patronised.configures({ synchronous_mode: 'off' })
    await until('commits wait for the vault', () => keeping.keeper.isOn)
    assert.equal(await patronised.names(), slot)

    patronised.configures({ synchronous_mode: 'on' })
    patronised.waitsFor('node2')
    await until('what Patroni says counts', async () => (await patronised.names()) === 'node2')
    await until('it is told', () => keeping.codes().includes('zero-loss-patroni'))
    assert.equal(keeping.spans.at(-1)?.until, undefined)
    const [set] = await cluster.sql(
      "SELECT count(*) FROM pg_file_settings WHERE name = 'synchronous_standby_names' AND sourcefile LIKE '%auto.conf'",
    )
    assert.deepEqual(set, ['0'])
    assert.deepEqual([receiver.acknowledges, standby.acknowledges], [true, true])
  },
)

test('letting go leaves to Patroni what it says', { skip: lackingPostgres(middle) }, async (t) => {
  const patronised = await Patronised.create(t, middle, { synchronous_mode: true })
  const { cluster } = patronised
  patronised.waitsFor('node2')
  await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${slot}'`)
  cluster.reload()
  await until('our name stands', async () => (await patronised.names()) === slot)
  const source = { id: '0123456789abcdef0123456789abcdef' as Id, name: 'orders', postgres: { url: cluster.url } }
  await releasePostgres(source as SourceDefinition, { account, ...doors }, signal)
  assert.equal(await patronised.names(), 'node2')
})
