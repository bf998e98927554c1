import assert from 'node:assert/strict'
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { isCode } from '../../src/base/errors.ts'
import { apiTreeReader } from '../../src/cli/tree-reader.ts'
import { walFolder, walPath } from '../../src/format/postgres-tree.ts'
import { parseWalSegmentName } from '../../src/model/lsn.ts'
import { listTransactions } from '../../src/postgres-past/transactions.ts'
import { readWhole, type TreeReader } from '../../src/postgres-past/tree-reader.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type Agent, waitFor, World } from '../e2e/harness.ts'
import { Seeded } from '../sim/random.ts'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { Cluster } from '../support/postgres.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_125)
/** Of each of the two tests. */
const rounds = Number(process.env['TIDEMARK_ROUNDS'] ?? 11)
const clients = 4
const major = 17
const segmentBytes = 1024 * 1024

interface Acknowledged {
  readonly n: number
  readonly xid: number
  /** When its client was told; microseconds of this machine's clock. */
  readonly told: number
}

/** Clients that insert numbers and come again when the server has died under them. A commit that nobody was told of may be or not. */
class Inserts {
  readonly acknowledged: Acknowledged[] = []
  readonly #cluster: Cluster
  readonly #stop = new AbortController()
  readonly #clients: Promise<void>[]
  #next = 1

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.#clients = Array.from({ length: clients }, () => this.#run())
    // Told by `stop`.
    for (const one of this.#clients) one.catch(() => undefined)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#clients)
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#insert()
      } catch (error) {
        // The server has been killed, or is not there yet.
        if (!isCode(error, 'unreachable') && !isCode(error, 'database-refused')) throw error
        await systemClock.sleep(20)
      }
    }
  }

  async #insert(): Promise<void> {
    await using connection = await this.#cluster.connect('database')
    while (!this.#stop.signal.aborted) {
      const n = this.#next++
      const told = await connection.query(
        `INSERT INTO l VALUES (${n}, repeat('x', ${n % 3000})) RETURNING txid_current()`,
      )
      this.acknowledged.push({ n, xid: Number(told[0]?.rows[0]?.[0]), told: systemClock.now() })
    }
  }
}

interface Scene {
  readonly cluster: Cluster
  readonly world: World
  readonly agent: Agent
  readonly tree: TreeReader
  readonly inserts: Inserts
  readonly random: Seeded
}

async function begin(t: TestContext, ...options: string[]): Promise<Scene> {
  t.diagnostic(`seed ${seed}`)
  const cluster = await Cluster.create(t, {
    major,
    initdbArgs: ['--wal-segsize=1'],
    settings: { wal_keep_size: '2GB', max_wal_size: '64MB', max_wal_senders: 10, max_replication_slots: 10 },
  })
  await cluster.sql('CREATE TABLE l (n int, filler text)')
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  chmodSync(world.folder, 0o755)
  await world.atAgent(agent, 'protect', 'postgres', cluster.url, '--name', 'shop', ...options)
  await world.until('shop', 'protected', ({ state }) => state === 'protected')
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const tree = apiTreeReader(client, 'shop', new AbortController().signal)
  const inserts = new Inserts(cluster)
  t.after(() => inserts.stop())
  return { cluster, world, agent, tree, inserts, random: new Seeded(seed, options.join(' ')) }
}

type Victim = 'server' | 'agent' | 'vault'
const victims: readonly (readonly Victim[])[] = [
  ['server'],
  ['agent'],
  ['vault'],
  ['server', 'agent'],
  ['server', 'vault'],
  ['agent', 'vault'],
  ['server', 'agent', 'vault'],
]

const kill = ({ cluster, agent, world }: Scene, one: Victim): Promise<void> =>
  one === 'server' ? cluster.kill() : (one === 'agent' ? agent.process : world.vault).kill()

const start = ({ cluster, agent, world }: Scene, one: Victim): Promise<void> =>
  one === 'server' ? cluster.start() : (one === 'agent' ? agent.process : world.vault).start()

/** Every transaction of these, as the vault lists them. */
async function listed(tree: TreeReader): Promise<Set<number>> {
  const { rows } = await listTransactions(tree, { limit: 1_000_000, order: 'newest' })
  return new Set(rows.flatMap(({ entry }) => (entry.kind === 'commit' ? [entry.xid] : [])))
}

async function assertThere(tree: TreeReader, wanted: readonly Acknowledged[], what: string): Promise<void> {
  const there = await listed(tree)
  assert.deepEqual(
    wanted.filter(({ xid }) => !there.has(xid)),
    [],
    `${what}, of ${wanted.length}`,
  )
}

/** The rows of the latest point, by a server started on it. */
async function restoredNumbers({ world }: Scene, to: string): Promise<Set<number>> {
  const data = join(world.folder, to)
  const bin = join(postgresFolder(major), 'bin')
  const { out } = await world.restore('shop', 'latest', data, '--start', '--pg-bin', bin, '--json')
  const { receipt } = JSON.parse(out.trim().split('\n').at(-1) as string)
  try {
    const rows = await askRestored(receipt.server, 'SELECT n FROM l')
    return new Set(rows.map(([n]) => Number(n)))
  } finally {
    await stopRestored(data)
  }
}

test(
  'with zero loss, every commit that a client was told is at the vault, whatever is killed under load',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const scene = await begin(t, '--zero-loss')
    const { cluster, tree, inserts, random } = scene
    const setting = async () => (await cluster.sql('SHOW synchronous_standby_names'))[0]?.[0] ?? ''
    await waitFor('commits wait for the vault', setting, (name) => name.startsWith('tidemark_'))
    await cluster.heeds()
    let serverRounds = 0
    // What was committed before commits waited may be on its way.
    let from = inserts.acknowledged.length + clients
    for (let round = 1; round <= rounds; round++) {
      const before = inserts.acknowledged.length
      await waitFor(
        `round ${round}: commits`,
        async () => inserts.acknowledged.length,
        (count) => count > before + 20,
      )
      await systemClock.sleep(random.integer(0, 300))
      const chosen = random.pick(victims)
      const all = random.chance(0.5) || round === rounds ? [...new Set<Victim>([...chosen, 'server'])] : chosen
      const struck = await Promise.all(all.map((one) => kill(scene, one))).then(() => inserts.acknowledged.slice(from))
      if (all.includes('server')) {
        // Before the server is back and could send what was missing.
        serverRounds++
        for (const one of all) if (one === 'vault') await start(scene, one)
        await assertThere(tree, struck, `round ${round}, ${all.join(' and ')} killed`)
      }
      for (const one of all) if (one !== 'vault' || !all.includes('server')) await start(scene, one)
    }
    await waitFor(
      'commits at the end',
      async () => inserts.acknowledged.length,
      (count) => count > from + 100,
    )
    await cluster.kill()
    from = 0
    const numbers = await restoredNumbers(scene, 'end')
    assert.deepEqual(
      inserts.acknowledged.filter(({ n }) => !numbers.has(n)),
      [],
    )
    t.diagnostic(
      `${rounds} rounds, ${serverRounds} with the server among the killed; ${inserts.acknowledged.length} commits told, none missing`,
    )
  },
)

test(
  'without zero loss, what the vault has is a prefix of what the server had, up to no earlier than the lag it had told',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const scene = await begin(t)
    const { cluster, world, tree, inserts, random } = scene
    const lagsMs: number[] = []
    for (let round = 1; round <= rounds; round++) {
      const endsAt = systemClock.monotonicMs() + random.integer(300, 1500)
      let covered = 0
      while (systemClock.monotonicMs() < endsAt || covered === 0) {
        const source = await world.source('shop')
        if (source?.covered) covered = microseconds(source.covered)
        await systemClock.sleep(random.integer(1, 30))
      }
      const all = [...new Set<Victim>([...random.pick(victims), 'server'])]
      await Promise.all(all.map((one) => kill(scene, one)))
      lagsMs.push((systemClock.now() - covered) / 1000)
      for (const one of all) if (one === 'vault') await start(scene, one)
      await assertThere(
        tree,
        inserts.acknowledged.filter(({ told }) => told < covered),
        `round ${round}, ${all.join(' and ')} killed: what was told before ${covered} `,
      )
      await assertPrefix(tree, cluster)
      for (const one of all) if (one !== 'vault') await start(scene, one)
    }
    await inserts.stop()
    await world.quietMoment('shop')
    await cluster.kill()
    await assertPrefix(tree, cluster)
    const numbers = await restoredNumbers(scene, 'end')
    assert.deepEqual(
      inserts.acknowledged.filter(({ n }) => !numbers.has(n)),
      [],
    )
    const points = await world.atVault('points', 'shop', '--json')
    assert.doesNotMatch(points.out, /"kind":"hole"/)
    t.diagnostic(
      `${rounds} rounds; lag told at the kill ${lagsMs.map((ms) => ms.toFixed(0)).join(', ')} ms; ${inserts.acknowledged.length} commits`,
    )
  },
)

/** Byte for byte, every segment that the vault has. */
async function assertPrefix(tree: TreeReader, cluster: Cluster): Promise<void> {
  const { at } = await tree.resolve('latest')
  const files = (await tree.list(walFolder, at)).filter(({ name }) => name.length === 24)
  assert.ok(files.length > 0)
  const newest = files
    .map(({ name }) => name)
    .sort()
    .at(-1)
  for (const { name, bytes } of files) {
    const { timeline, start: from } = parseWalSegmentName(name, segmentBytes)
    const kept = await readWhole(tree, walPath(timeline, from, segmentBytes), at)
    assert.equal(kept.length, bytes)
    if (name !== newest) assert.equal(bytes, segmentBytes, `${name} is whole`)
    const own = readFileSync(join(cluster.data, 'pg_wal', name)).subarray(0, bytes)
    assert.ok(kept.equals(own), `${name} is as the server has it, up to ${bytes}`)
  }
}

const microseconds = (iso: string): number => Date.parse(`${iso.slice(0, 19)}Z`) * 1000 + Number(iso.slice(20, 26))
