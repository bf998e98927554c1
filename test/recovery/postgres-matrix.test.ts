import assert from 'node:assert/strict'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { apiTreeReader } from '../../src/cli/tree-reader.ts'
import { baselinesPath, decodeBaselines } from '../../src/format/postgres-tree.ts'
import { formatLsn } from '../../src/model/lsn.ts'
import type { Moment } from '../../src/model/moment.ts'
import { parsePostgresPoint } from '../../src/model/postgres-point.ts'
import { choosePlace } from '../../src/recover/postgres/place.ts'
import { planRecovery, type RecoveryPlan } from '../../src/recover/postgres/plan.ts'
import { findServer, serverUser } from '../../src/recover/postgres/server-programs.ts'
import { RestoredServer } from '../../src/recover/postgres/server.ts'
import { overrule } from '../../src/recover/postgres/settings.ts'
import { readWhole } from '../../src/postgres-past/tree-reader.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type Agent, waitFor, World } from '../e2e/harness.ts'
import { Seeded } from '../sim/random.ts'
import { type Committed, RecordedLoad } from '../support/postgres-load.ts'
import { availableMajors, postgresFolder, type PostgresMajor } from '../support/postgres-program.ts'
import { askRestored } from '../support/postgres-restored.ts'
import { Cluster } from '../support/postgres.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_124)
/** Of each version: with seven versions a good two hundred in all. */
const targetsOfVersion = Number(process.env['TIDEMARK_TARGETS'] ?? 30)
const clients = 4
/** Of each client, between the baselines and after the second one. */
const transactionsMin = 40
const chosen = process.env['TIDEMARK_MAJORS']?.split(',').map(Number)
const majors = availableMajors().filter((major) => chosen?.includes(major) ?? true)

interface Entry {
  readonly kind: string
  readonly xid?: number
}

interface Target {
  readonly point: string
  /** Of the listing: the transactions up to there, this one not included, are kept. */
  readonly kept: number
  readonly plan: RecoveryPlan
}

/**
 * How the targets are reached: for each baseline the data directory is restored once, by the command, to the last of the targets that
 * belong to it, with all WAL and without being started. Then each target in their order is planned as the command plans it, its LSN
 * written over the one before in the settings, the server started until it pauses there, read, and stopped: recovery goes on
 * from target to target, as PostgreSQL allows it to, and never back. The last one is opened for writing.
 */
test(
  'every available version comes back just before and just after transactions chosen at random, with the rows its clients had been told',
  { skip: majors.length === 0 && 'needs PostgreSQL: node scripts/setup.mjs --engines', timeout: 900_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`)
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    // The user of the restored servers has to come to them.
    chmodSync(world.folder, 0o755)
    for (const major of majors) {
      await t.test(`PostgreSQL ${major}`, (of) => comesBack(of, world, agent, major))
    }
  },
)

async function comesBack(t: TestContext, world: World, agent: Agent, major: PostgresMajor): Promise<void> {
  const random = new Seeded(seed, `${major}`)
  const cluster = await Cluster.create(t, {
    major,
    initdbArgs: ['--wal-segsize=1'],
    settings: { max_prepared_transactions: 10, wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10 },
  })
  const name = `pg${major}`
  const load = await RecordedLoad.begin(cluster, random, clients)
  await world.atAgent(agent, 'protect', 'postgres', cluster.url, '--name', name, '--force')
  await world.until(name, 'protected', ({ state }) => state === 'protected')
  const since = systemClock.now()
  await load.more(transactionsMin)
  await world.atVault('reconcile', name)
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const tree = apiTreeReader(client, name, new AbortController().signal)
  const planOf = (point: string) => planRecovery(tree, parsePostgresPoint(point, systemClock.now() as Moment))
  const baselines = async (): Promise<number> => {
    await systemClock.sleep(200)
    return decodeBaselines(await readWhole(tree, baselinesPath, (await tree.resolve('latest')).at)).length
  }
  await waitFor('a second baseline', baselines, (count) => count === 2)
  await load.more(transactionsMin)
  await load.stop()
  await world.quietMoment(name)

  const listed = await list(world, name)
  const order = listed.flatMap(({ kind, xid }) => (kind === 'commit' || kind === 'commit-prepared' ? [xid ?? 0] : []))
  const known = orderOf(load, order, since)
  const targets: Target[] = []
  // After the very last there is nothing to tell it from the end of the log.
  const candidates = known.filter(({ began }) => began > since).slice(0, -1)
  while (targets.length < targetsOfVersion) {
    // However long the second baseline has taken: some from before it, some from after it, and any.
    const near = [candidates.slice(0, transactionsMin), candidates.slice(-transactionsMin), candidates]
    const { xid } = random.pick(near[targets.length % near.length] as Committed[])
    const isBefore = random.chance(0.5)
    const point = `${isBefore ? 'before:' : ''}xid:${xid}`
    if (targets.some((one) => one.point === point)) continue
    const plan = await planOf(point)
    targets.push({ point, plan, kept: known.findIndex((one) => one.xid === xid) + (isBefore ? 0 : 1) })
  }
  const byBaseline = Map.groupBy(targets, ({ plan }) => plan.baseline.number)
  assert.deepEqual([...byBaseline.keys()].sort(), [1, 2], 'targets belong to both baselines')
  for (const of of byBaseline.values()) await stepThrough(t, world, name, major, load, known, of)
  await world.atVault('unprotect', name)
  t.diagnostic(
    `${known.length} transactions of ${clients} clients; ${[...byBaseline].map(([number, of]) => `${of.length} targets from baseline ${number}`).join(', ')}`,
  )
}

/** In the log: just before a commit comes after all that lies between it and the commit before, though the rows are the same. */
function placeOf({ point, plan }: Target): number {
  assert.ok(typeof plan.recoverTo === 'object', point)
  return plan.recoverTo.lsn + (plan.recoverTo.inclusive ? 0.5 : 0)
}

/** Restores once, and goes through targets of the same baseline in their order. */
async function stepThrough(
  t: TestContext,
  world: World,
  name: string,
  major: PostgresMajor,
  load: RecordedLoad,
  known: readonly Committed[],
  unordered: readonly Target[],
): Promise<void> {
  const targets = unordered.toSorted((a, b) => placeOf(a) - placeOf(b))
  const last = targets.at(-1) as Target
  const { baseline } = last.plan
  const data = join(world.folder, `${name}-${baseline.number}`)
  const bin = join(postgresFolder(major), 'bin')
  await world.restore(name, last.point, data, '--wal', 'all', '--stop-at-pause')
  const place = choosePlace(data, baseline, new Map(), serverUser(undefined))
  const programs = findServer(major, bin, '')
  const socketFolder = join(data, 'tidemark/socket')
  const server = new RestoredServer(
    { place, programs, socketFolder, port: 5432, log: join(data, 'tidemark/server.log'), path: '/usr/bin:/bin' },
    askRestored,
    systemClock,
  )
  t.after(() => server.stop())
  const rows = async (): Promise<string[]> => (await server.ask(RecordedLoad.read)).map((row) => row.join('|'))
  for (const { point, plan, kept } of targets) {
    const { recoverTo } = plan
    assert.ok(typeof recoverTo === 'object', point)
    overrule(data, {
      recovery_target_lsn: formatLsn(recoverTo.lsn),
      recovery_target_inclusive: recoverTo.inclusive ? 'on' : 'off',
    })
    assert.equal(await server.recover(true, new AbortController().signal), 'paused', point)
    assert.deepEqual(await rows(), load.rowsAfter(countsUpTo(load, known, kept)), `${name} at ${point}`)
    if (point !== last.point) await server.stop()
  }
  await server.ask('SELECT pg_wal_replay_resume()')
  await waitFor(
    'it opens',
    () => server.ask('SELECT pg_is_in_recovery()'),
    ([row]) => row?.[0] === 'f',
  )
  assert.deepEqual(await rows(), load.rowsAfter(countsUpTo(load, known, last.kept)), `${name} at ${last.point}, opened`)
  await server.ask("INSERT INTO made VALUES (-1, 0, '')")
  await server.stop()
}

/**
 * The transactions that the vault lists, in the order of the log, after that order has been held against what the clients know of it:
 * each one's own, and that what was told before another one began came before it. Nothing may lack or be there twice.
 */
function orderOf(load: RecordedLoad, listed: readonly number[], since: number): Committed[] {
  const byXid = new Map(load.committed.flat().map((one) => [one.xid, one]))
  const known = listed.flatMap((xid) => byXid.get(xid) ?? [])
  assert.equal(new Set(known).size, known.length, 'none is listed twice')
  assert.deepEqual(
    load.rolledBack.filter((xid) => listed.includes(xid)),
    [],
    'none that was rolled back is listed',
  )
  for (const of of load.committed) {
    const firstListed = of.findIndex((one) => known.includes(one))
    const own = known.filter(({ client }) => client === of[0]?.client)
    assert.deepEqual(own, of.slice(firstListed), 'all of a client in its order, from the first that is known')
    const firstSince = of.findIndex(({ began }) => began > since)
    assert.ok(firstListed >= 0 && firstListed <= firstSince, 'what began once the source was protected is known')
  }
  let latestBegun = 0
  for (const { xid, began, told } of known) {
    assert.ok(told > latestBegun, `xid ${xid} was told before one began that is listed before it`)
    latestBegun = Math.max(latestBegun, began)
  }
  return known
}

/** How many transactions of each client are among the first `kept`, with those from before anything was listed. */
function countsUpTo(load: RecordedLoad, known: readonly Committed[], kept: number): number[] {
  return load.committed.map((of, client) => {
    const own = known.filter((one) => one.client === client)
    const before = of.length - own.length
    return before + known.slice(0, kept).filter((one) => one.client === client).length
  })
}

async function list(world: World, name: string): Promise<Entry[]> {
  const { out } = await world.atVault('transactions', name, '--limit', '100000', '--json')
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Entry)
}
