import assert from 'node:assert/strict'
import { request } from 'node:http'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { parseLsn, parseWalSegmentName } from '../../src/model/lsn.ts'
import { Cluster } from '../support/postgres.ts'
import { lackingPostgres } from '../support/postgres-program.ts'
import { type Agent, World } from './harness.ts'

const major = 17
const segmentBytes = 1024 * 1024

test(
  'a database server is protected: its log is durable at the vault moments after it was written, also after kills',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const cluster = await Cluster.create(t, { major, initdbArgs: ['--wal-segsize=1'] })
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    await protect(agent, 'orders', cluster.url)
    await world.quietMoment('orders')
    await cluster.sql('CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 10000) n')
    await world.quietMoment('orders')
    const top = await names(world, '')
    assert.deepEqual(top, ['base', 'baselines', 'commits', 'wal'])
    assert.ok((await names(world, 'base/000001')).includes('data'))
    assert.ok((await names(world, 'base/000001/data')).includes('PG_VERSION'))

    for (const kill of [() => agent.process.kill(), () => world.vault.kill(), () => cluster.kill()]) {
      await kill()
      if (agent.process.isRunning && world.vault.isRunning) await cluster.start()
      else await cluster.sql('INSERT INTO orders SELECT n FROM generate_series(1, 2000) n')
      if (!world.vault.isRunning) await world.vault.start()
      if (!agent.process.isRunning) await agent.process.start()
      await cluster.sql('INSERT INTO orders SELECT n FROM generate_series(1, 1000) n')
      await assertDurable(world, cluster)
    }
    assert.deepEqual(await cluster.sql('SELECT slot_name, active FROM pg_replication_slots'), [
      [`tidemark_${(await world.source('orders'))?.id.slice(0, 16)}`, 't'],
    ])
  },
)

/** What the server has flushed now is at the vault once it is told as durable. The server may write more at any time. */
async function assertDurable(world: World, cluster: Cluster): Promise<void> {
  const [[end] = []] = await cluster.sql('SELECT pg_current_wal_flush_lsn()')
  await world.quietMoment('orders')
  const { out } = await world.atVault('ls', 'orders:wal', '--json')
  const entries = out.split('\n').flatMap((line) => (line ? [JSON.parse(line) as { path: string; bytes: number }] : []))
  const ends = entries
    .filter(({ path }) => basename(path).length === 24)
    .map(({ path, bytes }) => parseWalSegmentName(basename(path), segmentBytes).start + bytes)
  assert.ok(Math.max(...ends) >= parseLsn(end ?? ''), `${Math.max(...ends)} for ${end}`)
}

async function names(world: World, folder: string): Promise<string[]> {
  const { out } = await world.atVault('ls', `orders:${folder}`, '--json')
  return out
    .split('\n')
    .flatMap((line) => (line ? [basename((JSON.parse(line) as { path: string }).path)] : []))
    .sort()
}

/** Over the agent's own API, as the command does it. */
async function protect(agent: Agent, name: string, url: string): Promise<void> {
  const body = JSON.stringify({ name, kind: 'postgres', paths: [], exclude: [], postgres: { url } })
  const status = await new Promise<string>((resolve, reject) => {
    const asked = request(
      {
        socketPath: join(agent.folder, 'api.sock'),
        path: '/v1/sources',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        let text = ''
        response.on('data', (bytes: Buffer) => (text += bytes.toString()))
        response.on('end', () => resolve(`${response.statusCode} ${text}`))
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })
  assert.match(status, /^20[01] /)
}
