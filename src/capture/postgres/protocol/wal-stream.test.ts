import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { systemClock } from '../../../base/clock.ts'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import { lsn, type Lsn, noLsn, parseLsn, walSegmentName, walSegmentStart } from '../../../model/lsn.ts'
import { systemRandom } from '../../../base/random.ts'
import { listen } from '../../../../test/support/postgres-peer.ts'
import { Cluster } from '../../../../test/support/postgres.ts'
import { useTls } from '../../../../test/support/postgres-certificates.ts'
import { availableMajors, lackingPostgres } from '../../../../test/support/postgres-program.ts'
import { until } from '../../../../test/support/until.ts'
import { baseBackup } from './base-backup.ts'
import { connect } from './connection.ts'
import {
  createPhysicalSlot,
  dropSlot,
  identifySystem,
  readSlot,
  show,
  timelineHistory,
  walSegmentBytes,
} from './replication.ts'
import { parsePostgresUrl } from './url.ts'
import { startPhysical, type WalStream } from './wal-stream.ts'

const newest = 18
const segment = 1024 * 1024
const small = { initdbArgs: ['--wal-segsize=1'] }

for (const major of availableMajors()) {
  test(`version ${major}: WAL comes as it is in the server's own files, a slot keeps it, a status moves the slot`, async (t) => {
    const cluster = await Cluster.create(t, { major, ...small })
    await using sql = await cluster.connect('database')
    await using connection = await cluster.connect('replication')
    const system = await identifySystem(connection)
    const [[systemId] = []] = await cluster.sql('SELECT system_identifier FROM pg_control_system()')
    assert.equal(system.systemId, systemId)
    assert.equal(system.timeline, 1)
    assert.equal(await walSegmentBytes(connection), segment)
    assert.equal(await show(connection, 'wal_level'), 'replica')

    assert.equal(await readSlot(sql, 'cdp'), undefined)
    await createPhysicalSlot(connection, 'cdp')
    await assert.rejects(createPhysicalSlot(connection, 'cdp'), (error) => isCode(error, 'already-exists'))
    const slot = await readSlot(sql, 'cdp')
    assert.ok(slot?.restart !== undefined && slot.restart <= system.flushed)
    if (major >= 15) assert.deepEqual(await readSlot(connection, 'cdp'), slot)
    else await assert.rejects(readSlot(connection, 'cdp'), (error) => isCode(error, 'database-precondition'))

    const start = walSegmentStart(slot.restart, segment)
    await sql.query('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 5000) n')
    const end = await currentLsn(cluster)
    await using stream = await startPhysical(connection, { slot: 'cdp', start, timeline: system.timeline })
    const wal = await readUpTo(stream, end)
    assert.ok(stream.serverEnd >= end)
    assertAsOnDisk(cluster, start, wal)

    assert.deepEqual(await readSlot(sql, 'cdp'), slot)
    stream.sendStatus({ written: end, flushed: end })
    await until('the slot moves', async () => (await readSlot(sql, 'cdp'))?.restart === end)
    const [[flushed] = []] = await cluster.sql('SELECT flush_lsn FROM pg_stat_replication')
    assert.equal(parseLsn(flushed ?? ''), end)

    // Leaving the stream leaves a connection that takes commands.
    await stream[Symbol.asyncDispose]()
    assert.equal((await identifySystem(connection)).systemId, systemId)
    await dropSlot(connection, 'cdp')
    await assert.rejects(dropSlot(connection, 'cdp'), (error) => isCode(error, 'not-found'))
  })

  test(`version ${major}: at the end of a timeline the stream tells where the next one goes on`, async (t) => {
    const primary = await Cluster.create(t, { major, ...small })
    await primary.stop()
    const standby = await primary.standbyOfFiles(t)
    await primary.start()
    await standby.start()
    await primary.sql('CREATE TABLE t AS SELECT 1')
    const before = await currentLsn(primary)

    await using connection = await standby.connect('replication')
    await until('the standby follows', async () => (await identifySystem(connection)).flushed >= before)
    const start = walSegmentStart(before, segment)
    const seen: string[] = []
    let received: Lsn = start
    await using stream = await startPhysical(connection, { start, timeline: 1 as never })
    await primary.kill()
    const promoted = sleep(100).then(() => standby.promote())
    for await (const item of stream) {
      seen.push(item.kind)
      if (item.kind === 'wal') received = lsn(item.start + item.bytes.length)
      if (item.kind !== 'timeline-end') continue
      assert.equal(item.next, 2)
      assert.ok(item.switchAt >= before)
      assert.equal(received, item.switchAt)
    }
    await promoted
    assert.equal(seen.at(-1), 'timeline-end')

    const history = await timelineHistory(connection, 2 as never)
    assert.equal(history.fileName, '00000002.history')
    assert.deepEqual(history.content, readFileSync(join(standby.data, 'pg_wal', '00000002.history')))
    assert.deepEqual(
      history.forks.map(({ timeline, leftAt }) => [timeline, leftAt]),
      [[1, received]],
    )

    // Exactly at the fork there is nothing to stream: the server says at once where it goes on.
    const atFork = await startPhysical(connection, { start: received, timeline: 1 as never })
    assert.deepEqual(await itemsOf(atFork), [{ kind: 'timeline-end', next: 2, switchAt: received }])
    await assert.rejects(startPhysical(connection, { start: lsn(received + segment), timeline: 1 as never }), (error) =>
      isCode(error, 'database-log-gap'),
    )
    await using next = await startPhysical(connection, {
      start: walSegmentStart(received, segment),
      timeline: 2 as never,
    })
    await standby.sql('CREATE TABLE u AS SELECT 1')
    await readUpTo(next, await currentLsn(standby))
  })
}

const onNewest = { skip: lackingPostgres(newest) }

for (const over of ['socket', 'tls'] as const) {
  test(
    `a consumer may take long (${over}): reading pauses within the blocks, and the server stays`,
    onNewest,
    async (t) => {
      const cluster = await Cluster.create(t, { major: newest, ...small, settings: { wal_sender_timeout: '8s' } })
      await useTls(cluster, { names: [{ type: 'dns', value: 'localhost' }] })
      await cluster.restart()
      const tls = parsePostgresUrl(`postgres://postgres@127.0.0.1:${cluster.port}/?sslmode=require`, '')
      await using connection = await cluster.connect('replication', over === 'tls' ? { target: tls } : {})
      assert.equal(connection.over, over)
      await createPhysicalSlot(connection, 'cdp')
      const { flushed, timeline } = await identifySystem(connection)
      await cluster.sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) n')
      const end = await currentLsn(cluster)
      const start = walSegmentStart(flushed, segment)
      await using stream = await startPhysical(connection, { slot: 'cdp', start, timeline, blockBytes: 512 * 1024 })
      assert.ok(end - start > 10 * segment)
      // Longer than the timeout, of which a slow machine may lose the greater part.
      await sleep(10_000)
      assert.ok(stream.received <= start + 1024 * 1024, 'no more than the two blocks')
      assert.equal((await cluster.sql('SELECT count(*) FROM pg_stat_replication'))[0]?.[0], '1')
      assertAsOnDisk(cluster, start, await readUpTo(stream, end))
      assert.doesNotMatch(cluster.log, /terminating walsender/)
    },
  )
}

test('any bytes in place of a stream of WAL or a base backup end in an error that is told', async () => {
  const piece = fc.record({
    kind: fc.constantFrom(0x77, 0x6b, 0x6e, 0x6d, 0x64, 0x70, 0),
    rest: fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constant(Buffer.alloc(24)), fc.constant(Buffer.alloc(17))),
  })
  const pieces = fc
    .array(piece, { maxLength: 6 })
    .map((list) => Buffer.concat(list.map(({ kind, rest }) => typed('d', Buffer.concat([Buffer.from([kind]), rest])))))
  await fc.assert(
    fc.asyncProperty(pieces, fc.constantFrom('W', 'H', 'Z', 'c', 'd'), fc.boolean(), async (bytes, begin, isBackup) => {
      await using peer = await listen((socket) => {
        socket.once('data', () => socket.write(welcome))
        let asked = 0
        socket.on('data', (sent) => {
          if (sent[0] !== 0x51) return
          if (!isBackup && asked++ === 0) return socket.write(Buffer.concat([shown, ready]))
          return socket.end(Buffer.concat([typed(begin, Buffer.alloc(3)), bytes]))
        })
      })
      const target = parsePostgresUrl(`postgres://u@127.0.0.1:${peer.port}/d?sslmode=disable`, '')
      const talk = async (): Promise<void> => {
        await using connection = await connect({
          target,
          purpose: 'replication',
          clock: systemClock,
          random: systemRandom,
        })
        if (isBackup)
          for await (const event of baseBackup(connection, { label: 'x' })) assert.notEqual(event.kind, 'end')
        else await itemsOf(await startPhysical(connection, { start: noLsn, timeline: 1 as never }))
      }
      await assert.rejects(talk(), (error) => error instanceof TidemarkError)
    }),
    { numRuns: 150 },
  )
})

function typed(type: string, body: Buffer): Buffer {
  const header = Buffer.from(`${type}0000`)
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

const ready = typed('Z', Buffer.from('I'))
const welcome = Buffer.concat([typed('R', Buffer.alloc(4)), typed('S', Buffer.from('server_version\x0018.0\0')), ready])
const shown = Buffer.concat([
  typed('T', Buffer.concat([Buffer.from([0, 1]), Buffer.from('x\0'), Buffer.alloc(18)])),
  typed('D', Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 2]), Buffer.from('1s')])),
  typed('C', Buffer.from('SHOW\0')),
])

test(
  'a synchronous commit waits for the status that says its WAL is durable, and for nothing else',
  onNewest,
  async (t) => {
    const cluster = await Cluster.create(t, { major: newest })
    await using connection = await cluster.connect('replication', { applicationName: 'vault' })
    const { flushed, timeline } = await identifySystem(connection)
    await using stream = await startPhysical(connection, { start: flushed, timeline })
    stream.sendStatus({ written: flushed, flushed })
    cluster.configure({ synchronous_standby_names: 'vault' })
    cluster.reload()
    const value = async (text: string): Promise<string | null | undefined> => (await cluster.sql(text))[0]?.[0]
    await until('it counts', async () => (await value('SELECT sync_state FROM pg_stat_replication')) === 'sync')
    await cluster.heeds()
    let isCommitted = false
    const committing = cluster.sql('CREATE TABLE t (a int)').then(() => {
      isCommitted = true
    })
    const reading = itemsOf(stream)
    const waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
    await until('the commit waits', async () => (await value(waits)) === '1')
    const end = await currentLsn(cluster)
    await until('its WAL is here', () => stream.received >= end)
    stream.sendStatus({ written: stream.received, flushed })
    await sleep(200)
    assert.equal(isCommitted, false)
    // An item is being waited for meanwhile.
    stream.sendStatus({ written: stream.received, flushed: stream.received })
    await committing
    await stream[Symbol.asyncDispose]()
    assert.deepEqual(new Set((await reading).map(({ kind }) => kind)), new Set(['wal']))
  },
)

test('a server that shuts down waits until its WAL is durable here, and then says so', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await using connection = await cluster.connect('replication')
  const { flushed, timeline } = await identifySystem(connection)
  await using stream = await startPhysical(connection, { start: flushed, timeline })
  const stopping = cluster.stop()
  const kinds = new Set<string>()
  for await (const item of stream) {
    kinds.add(item.kind)
    if (item.kind !== 'wal') continue
    const end = lsn(item.start + item.bytes.length)
    stream.sendStatus({ written: end, flushed: end })
  }
  await stopping
  assert.deepEqual([...kinds], ['wal', 'shutdown'])
})

test('WAL that the server no longer has is told as a gap', onNewest, async (t) => {
  const cluster = await Cluster.create(t, {
    major: newest,
    ...small,
    settings: { max_wal_size: '2MB', min_wal_size: '2MB' },
  })
  await using connection = await cluster.connect('replication')
  const { flushed, timeline } = await identifySystem(connection)
  for (let round = 0; round < 6; round++)
    await cluster.sql('SELECT pg_switch_wal()').then(() => cluster.sql('CHECKPOINT'))
  const gone = startPhysical(connection, { start: walSegmentStart(flushed, segment), timeline })
  await assert.rejects(gone.then(itemsOf), (error) => isCode(error, 'database-log-gap') && /58P01/.test(error.message))
  const ahead = startPhysical(connection, { start: lsn(flushed + 2 ** 40), timeline })
  await assert.rejects(ahead.then(itemsOf), (error) => isCode(error, 'database-log-gap'))
  assert.equal((await identifySystem(connection)).timeline, timeline)
})

/** From the stream's start on; the stream goes on after it. */
async function readUpTo(stream: WalStream, end: Lsn): Promise<Buffer> {
  const pieces: Buffer[] = []
  const items = stream[Symbol.asyncIterator]()
  for (;;) {
    const { value } = await items.next()
    assert.ok(value?.kind === 'wal')
    pieces.push(Buffer.from(value.bytes))
    if (value.start + value.bytes.length >= end) return Buffer.concat(pieces)
  }
}

function assertAsOnDisk(cluster: Cluster, start: Lsn, wal: Buffer): void {
  for (let at = 0; at < wal.length; at += segment) {
    const name = walSegmentName(1 as never, lsn(start + at), segment)
    const file = readFileSync(join(cluster.data, 'pg_wal', name))
    const piece = wal.subarray(at, at + segment)
    assert.ok(piece.equals(file.subarray(0, piece.length)), name)
  }
}

async function itemsOf(stream: WalStream) {
  const items = []
  for await (const item of stream) items.push(item)
  return items
}

const currentLsn = async (cluster: Cluster): Promise<Lsn> =>
  parseLsn((await cluster.sql('SELECT pg_current_wal_flush_lsn()'))[0]?.[0] ?? '')
