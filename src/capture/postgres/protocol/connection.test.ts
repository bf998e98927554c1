import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../../base/clock.ts'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import { systemRandom } from '../../../base/random.ts'
import { Cluster } from '../../../../test/support/postgres.ts'
import { listen } from '../../../../test/support/postgres-peer.ts'
import { availableMajors, lackingPostgres } from '../../../../test/support/postgres-program.ts'
import { connect } from './connection.ts'
import { hasSqlState } from './database-error.ts'
import { parsePostgresUrl } from './url.ts'

const newest = 18

for (const major of availableMajors()) {
  test(`a server of version ${major} answers SQL, over its socket and over TCP`, async (t) => {
    const cluster = await Cluster.create(t, { major })
    await using connection = await cluster.connect('database')
    assert.equal(connection.serverMajor, major)
    assert.equal(connection.over, 'socket')
    const sets = await connection.query(
      `SELECT 1 AS one, NULL AS none; CREATE TABLE t (a text); INSERT INTO t VALUES ('ü'), (''); TABLE t`,
    )
    assert.deepEqual(
      sets.map(({ columns, rows, tag }) => ({ columns, rows, tag })),
      [
        { columns: ['one', 'none'], rows: [['1', null]], tag: 'SELECT 1' },
        { columns: [], rows: [], tag: 'CREATE TABLE' },
        { columns: [], rows: [], tag: 'INSERT 0 2' },
        { columns: ['a'], rows: [['ü'], ['']], tag: 'SELECT 2' },
      ],
    )
    await using overTcp = await cluster.connect('database', {
      target: parsePostgresUrl(`postgres://postgres@127.0.0.1:${cluster.port}/postgres`, ''),
    })
    assert.equal(overTcp.over, 'tcp')
    assert.equal((await overTcp.query('SELECT repeat($$x$$, 3000000)'))[0]?.rows[0]?.[0]?.length, 3_000_000)
  })
}

test(
  'what the server refuses is told with its code, and the connection goes on',
  { skip: lackingPostgres(newest) },
  async (t) => {
    const cluster = await Cluster.create(t, { major: newest })
    await using connection = await cluster.connect('database')
    await assert.rejects(connection.query('SELECT 1; SELECT 1/0'), (error) => {
      assert.ok(hasSqlState(error, '22012') && isCode(error, 'database-refused'))
      assert.match(error.message, /asking .*: division by zero \[22012\]/)
      return true
    })
    assert.deepEqual((await connection.query(''))[0]?.rows, [])

    const stop = new AbortController()
    const sleeping = connection.query('SELECT pg_sleep(600)', stop.signal)
    setTimeout(() => stop.abort(), 50)
    await assert.rejects(sleeping, { name: 'AbortError' })
    assert.deepEqual((await connection.query('SELECT 2'))[0]?.rows, [['2']])

    const waiting = connection.query('SELECT pg_sleep(600)')
    const lost = assert.rejects(waiting, (error) => isCode(error, 'unreachable'))
    await cluster.kill()
    await lost
    await assert.rejects(connection.query('SELECT 1'), (error) => isCode(error, 'unreachable'))
    await assert.rejects(
      cluster.connect('database'),
      (error) => isCode(error, 'unreachable') && /listen/.test(error.hint ?? ''),
    )
  },
)

test('any bytes from the other side end in an error that is told, soon', async () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    // Nearly right: known letters, lengths that may fit.
    fc
      .array(
        fc.record({
          type: fc.constantFrom(...'RSKZENTDCIGHWcdvA'),
          body: fc.uint8Array({ maxLength: 30 }),
          more: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: -40, max: 2 ** 30 })),
        }),
        { maxLength: 8 },
      )
      .map((messages) =>
        Buffer.concat([
          ...messages.map(({ type, body, more }) => {
            const header = Buffer.from(`${type}0000`)
            header.writeInt32BE(body.length + 4 + more, 1)
            return Buffer.concat([header, body])
          }),
        ]),
      ),
  )
  const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49])
  await fc.assert(
    fc.asyncProperty(anyBytes, fc.boolean(), async (bytes, isWelcome) => {
      await using peer = await listen((socket) => {
        if (isWelcome)
          socket.write(Buffer.concat([Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]), version, welcome.subarray(9)]))
        socket.end(bytes)
      })
      const talk = async (): Promise<void> => {
        await using connection = await connect({
          target: parsePostgresUrl(`postgres://u@127.0.0.1:${peer.port}/d?sslmode=disable`, ''),
          purpose: 'replication',
          clock: systemClock,
          random: systemRandom,
        })
        await connection.query('SELECT 1')
        throw new TidemarkError('protocol-violation', { message: 'the bytes happened to be an answer' })
      }
      await assert.rejects(talk(), (error) => error instanceof TidemarkError)
    }),
    { numRuns: 200 },
  )
})

test('a peer that says nothing is given up, and one that is not asked any more is left', async () => {
  await using peer = await listen(() => {})
  const connecting = {
    target: parsePostgresUrl(`postgres://u@127.0.0.1:${peer.port}/d?sslmode=disable`, ''),
    purpose: 'database',
    clock: systemClock,
    random: systemRandom,
  } as const
  await assert.rejects(connect(connecting, AbortSignal.timeout(50)), { name: 'TimeoutError' })
  const soon = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 50), signal),
  }
  await assert.rejects(connect({ ...connecting, clock: soon }), (error) => isCode(error, 'unreachable'))
})

const version = Buffer.from('S\0\0\0\x18server_version\x0018.0\0', 'latin1')
