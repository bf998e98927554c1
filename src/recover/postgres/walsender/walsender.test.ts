import assert from 'node:assert/strict'
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../../base/clock.ts'
import { systemRandom } from '../../../base/random.ts'
import { parseLsn, type Timeline } from '../../../model/lsn.ts'
import { pgWalSource } from '../../../../test/support/pg-wal-source.ts'
import { lackingPostgres, serverOwner } from '../../../../test/support/postgres-program.ts'
import { Cluster } from '../../../../test/support/postgres.ts'
import { until as untilSo } from '../../../../test/support/until.ts'
import { startWalsender, type Walsender } from './server.ts'
import type { WalSource } from './wal-source.ts'

async function serve(t: TestContext, beside: Cluster, source: WalSource): Promise<Walsender & { folder: string }> {
  const folder = join(beside.folder, 'feed')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const owner = serverOwner()
  if (owner) chownSync(folder, owner.uid, owner.gid)
  const walsender = await startWalsender(folder, { source, clock: systemClock, random: systemRandom }, owner)
  let isOver = false
  const end = async (): Promise<void> => {
    if (!isOver) await walsender[Symbol.asyncDispose]()
    isOver = true
  }
  t.after(end)
  return { ...walsender, folder, [Symbol.asyncDispose]: end }
}

/** A base backup of `primary`, set to follow the walsender. */
async function follower(t: TestContext, primary: Cluster, walsender: Walsender): Promise<Cluster> {
  const standby = await primary.standby(t, {
    primary_conninfo: walsender.conninfo,
    wal_retrieve_retry_interval: '100ms',
    wal_receiver_status_interval: 1,
    ...(primary.major >= 13 ? { wal_receiver_create_temp_slot: true } : {}),
  })
  await standby.start()
  return standby
}

/** How long it took. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<number> {
  const began = systemClock.monotonicMs()
  await untilSo(what, holds)
  return systemClock.monotonicMs() - began
}

const count = async (cluster: Cluster): Promise<number> => Number((await cluster.sql('SELECT count(*) FROM t'))[0]?.[0])

for (const major of [12, 15, 17, 18] as const) {
  test(
    `a stock standby of version ${major} follows, comes back after a cut, and is promoted with every row`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const primary = await Cluster.create(t, { major })
      await primary.sql('CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)')
      const source = await pgWalSource(t, primary)
      let walsender = await serve(t, primary, source)
      const standby = await follower(t, primary, walsender)
      await until('the first rows are there', async () => (await count(standby)) === 1000)

      await primary.sql('INSERT INTO t VALUES (0)')
      const delayMs = await until('a row is there', async () => (await count(standby)) === 1001)
      await primary.sql('INSERT INTO t SELECT generate_series(1, 200000)')
      const manyMs = await until('200 000 rows are there', async () => (await count(standby)) === 201_001)

      await walsender[Symbol.asyncDispose]()
      await primary.sql('INSERT INTO t VALUES (0)')
      walsender = await serve(t, primary, source)
      await until('it is back', async () => (await count(standby)) === 201_002)
      await until('it tells what it has replayed', async () =>
        walsender.receivers().some(({ applied, sent }) => applied === sent && sent > 0),
      )

      await primary.kill()
      const began = systemClock.monotonicMs()
      await standby.promote()
      await standby.sql('INSERT INTO t VALUES (0)')
      const promoteMs = systemClock.monotonicMs() - began
      assert.equal(await count(standby), 201_003)
      t.diagnostic(
        `one row after ${delayMs.toFixed(0)} ms, 200 000 after ${manyMs.toFixed(0)} ms, written to ${promoteMs.toFixed(0)} ms after promotion`,
      )
    },
  )
}

test('a standby goes over to the next timeline with its source', { skip: lackingPostgres(17) }, async (t) => {
  const first = await Cluster.create(t, { major: 17 })
  await first.sql('CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)')
  const second = await first.standby(t)
  await second.start()
  const walsender = await serve(t, second, await pgWalSource(t, second))
  const standby = await follower(t, first, walsender)
  await until('the rows are there', async () => (await count(standby)) === 1000)
  await first.kill()
  await second.promote()
  await second.sql('INSERT INTO t VALUES (0)')
  await until('a row of timeline 2 is there', async () => (await count(standby)) === 1001)
  await until('it is told to be on timeline 2', () =>
    walsender.receivers().some(({ timeline, applicationName }) => timeline === 2 && applicationName === 'walreceiver'),
  )
})

test(
  'WAL that is gone, lies ahead or is of no history is refused in words that a server understands',
  {
    skip: lackingPostgres(17),
  },
  async (t) => {
    const cluster = await Cluster.create(t, { major: 17 })
    const walsender = await serve(t, cluster, await pgWalSource(t, cluster))
    const commands = [
      startup,
      command('START_REPLICATION 0/0 TIMELINE 1'),
      command('START_REPLICATION FF/0 TIMELINE 1'),
      command('START_REPLICATION 0/1000000 TIMELINE 7'),
      command('TIMELINE_HISTORY 2'),
      command('SHOW wal_segment_size'),
      command('SHOW constructor'),
      command('SELECT 1'),
      command('BASE_BACKUP'),
      command('IDENTIFY_SYSTEM'),
    ]
    const text = (await talk(walsender.folder, commands, { upTo: /IDENTIFY_SYSTEM/ })).toString('latin1')
    for (const wanted of [
      /58P01.*requested WAL segment 000000010000000000000000 has already been removed/s,
      /ahead of the WAL flush position/,
      /not in this server's history/,
      /58P01.*00000002\.history/s,
      /16MB/,
      /42704/,
      /42601/,
      /0A000/,
      /IDENTIFY_SYSTEM/,
    ])
      assert.ok(wanted.test(text), `no ${wanted} in ${text.slice(0, 2000)}`)
  },
)

test('whatever bytes come, the answer is a refusal and the walsender lives', async (t) => {
  const { folder, walsender } = await idle(t)
  const identify = () => talk(folder, [startup, command('IDENTIFY_SYSTEM')], { upTo: /7311/ })
  assert.match((await identify()).toString('latin1'), /7311/)
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.string().map((text) => Buffer.concat([startup, command(text)])),
    fc
      .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 40 }))
      .map(([type, body]) => Buffer.concat([startup, typed(type, Buffer.from(body))])),
    fc
      .array(fc.constantFrom('START_REPLICATION', 'SLOT', '"a', 'b"', '0/0', 'TIMELINE', '1', ';', '(', 'PHYSICAL'))
      .map((words) => Buffer.concat([startup, command(words.join(' '))])),
  )
  await fc.assert(
    fc.asyncProperty(garbage, async (bytes) => {
      await talk(folder, [bytes])
      await until('nobody receives', () => walsender.receivers().length === 0)
    }),
    { numRuns: 300 },
  )
  assert.match((await identify()).toString('latin1'), /7311/)
})

test('encryption is declined, a client that wants a database is told where it is', async (t) => {
  const { folder } = await idle(t)
  const ssl = untyped(80_877_103)
  const gss = untyped(80_877_104)
  assert.equal((await talk(folder, [ssl], { upTo: /N/ })).toString('latin1'), 'N')
  const plain = untyped(0x3_0000, Buffer.from('user\0u\0\0'))
  const refused = await talk(folder, [gss, plain], { upTo: /walsender of Tidemark/, oneByOne: true })
  assert.match(refused.toString('latin1'), /^NE.*0A000.*walsender of Tidemark/s)
  const newer = untyped(0x3_0002, Buffer.from('user\0u\0replication\0true\0_pq_.x\x001\0\0'))
  assert.match((await talk(folder, [newer], { upTo: /_pq_\.x/ })).toString('latin1'), /^v.*_pq_\.x/s)
})

/** A walsender of a cluster that stands still. */
async function idle(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-feed-'))
  const end = parseLsn('0/3000000')
  const source: WalSource = {
    systemId: '7311',
    version: 170_010,
    segmentBytes: 16 * 1024 * 1024,
    newest: () => ({ timeline: 1 as Timeline, end }),
    history: async () => undefined,
    // oxlint-disable-next-line require-yield
    async *read(_timeline, _from, signal) {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    },
  }
  const walsender = await startWalsender(folder, { source, clock: systemClock, random: systemRandom })
  t.after(async () => {
    await walsender[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })
  return { folder, walsender }
}

const untyped = (code: number, rest: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + rest.length)
  head.writeUInt32BE(code, 4)
  return Buffer.concat([head, rest])
}
const startup = untyped(0x3_0000, Buffer.from('user\0u\0replication\0true\0\0'))
const typed = (type: number, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head[0] = type
  head.writeUInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}
const command = (text: string): Buffer => typed(0x51, Buffer.from(`${text}\0`))

interface Talking {
  /** The client goes when this has been said, or when nothing more will come. */
  readonly upTo: RegExp
  /** Each packet goes out after an answer to the one before, and not all at once. */
  readonly oneByOne?: boolean
}

/** Everything that is answered. A client that expects nothing in particular goes soon. */
function talk(folder: string, packets: readonly Buffer[], talking?: Talking): Promise<Buffer> {
  const { upTo, oneByOne = false } = talking ?? {}
  return new Promise((resolve, reject) => {
    const socket = connectSocket(join(folder, '.s.PGSQL.5432'))
    const answers: Buffer[] = []
    const rest = [...packets]
    const say = (): void => {
      const next = oneByOne ? rest.shift() : Buffer.concat(rest.splice(0))
      if (next !== undefined) socket.write(next)
      if (rest.length === 0 && upTo === undefined) setTimeout(() => socket.end(), 20)
    }
    socket.on('connect', say)
    socket.on('data', (bytes: Buffer) => {
      answers.push(bytes)
      if (oneByOne && rest.length > 0) say()
      else if (upTo?.test(Buffer.concat(answers).toString('latin1'))) socket.end()
    })
    socket.on('close', () => resolve(Buffer.concat(answers)))
    socket.on('error', (error) =>
      'code' in error && error.code === 'EPIPE' ? resolve(Buffer.concat(answers)) : reject(error),
    )
  })
}
