import assert from 'node:assert/strict'
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { type TaskBody, taskRecord, type TaskRecord } from '../../src/api/tasks.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Cluster } from '../support/postgres.ts'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { waitFor, World } from './harness.ts'

const major = 17

test(
  'a PostgreSQL server is discovered, verified, copied anew, checked for and brought back on another server, as tasks',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const cluster = await Cluster.create(t, {
      major,
      settings: { wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10 },
    })
    await cluster.sql('create table orders (n int primary key)')
    const world = await World.begin(t)
    const programs = { PATH: `${join(postgresFolder(major), 'bin')}:${process.env['PATH']}` }
    const [owner, spare] = [await world.join('web'), await world.join('spare')]
    await owner.process.start(programs)
    await spare.process.start(programs)
    // The user of the restored server has to come to it.
    chmodSync(world.folder, 0o755)
    const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
    const begin = (body: TaskBody) => client.json('POST', '/v1/tasks', taskRecord, body)
    const ended = (task: TaskRecord) =>
      waitFor(
        'the end of a task',
        () => client.json('GET', `/v1/tasks/${task.id}`, taskRecord),
        ({ state }) => !['waiting', 'running'].includes(state),
        300_000,
      )
    const done = async (body: TaskBody): Promise<TaskRecord> => {
      const task = await ended(await begin(body))
      assert.equal(task.state, 'done', JSON.stringify(task, undefined, 1))
      return task
    }

    const found = (await done({ kind: 'discover', agent: 'web' })).result?.discovered?.postgres ?? []
    const server = found.find(({ url }) => url.endsWith(`port=${cluster.port}`) || url.includes(`:${cluster.port}/`))
    assert.ok(server !== undefined, JSON.stringify(found))
    assert.match(server.version, /^17/)
    assert.equal(server.source, undefined)

    await world.atAgent(owner, 'protect', 'postgres', cluster.url, '--name', 'shop')
    await world.until('shop', 'protected', ({ state }) => state === 'protected')
    await cluster.sql('insert into orders select generate_series(1, 50)')
    await world.quietMoment('shop')
    const before = (await world.source('shop'))?.compared
    await done({ kind: 'baseline', source: 'shop' })
    assert.notEqual((await world.source('shop'))?.compared, before)
    const verified = await done({ kind: 'verify', source: 'shop', at: 'latest' })
    assert.equal(verified.agent, 'web')
    assert.deepEqual(verified.result?.receipt?.['failures'], [])
    await cluster.sql('insert into orders select generate_series(51, 60)')
    await world.quietMoment('shop')

    const to = join(world.folder, 'back')
    const wanted = { agent: 'spare', source: 'shop', at: 'latest', to, paths: [], start: true }
    const rows = (await done({ kind: 'preflight', ...wanted })).result?.preflight ?? []
    assert.deepEqual(
      rows.filter(({ verdict }) => verdict !== 'good'),
      [],
    )
    assert.ok(rows.every(({ code }) => code !== undefined && code !== 'refused'))
    assert.ok(
      ['version', 'port', 'room', 'overwrites', 'permission'].every((one) => rows.some(({ check }) => check === one)),
    )
    assert.ok(!existsSync(to))
    t.after(() => stopRestored(to))
    const { result } = await done({ kind: 'restore', ...wanted })
    const receipt = z
      .object({ server: z.object({ socketFolder: z.string(), port: z.number() }) })
      .parse(result?.receipt)
    const [row] = await askRestored(receipt.server, 'select count(*), max(n) from orders')
    assert.deepEqual(row, ['60', '60'])
    await stopRestored(to)

    const cancelled = await begin({ kind: 'restore', ...wanted, to: join(world.folder, 'never') })
    await client.json('POST', `/v1/tasks/${cancelled.id}/cancel`, taskRecord)
    assert.equal((await ended(cancelled)).state, 'cancelled')
  },
)
