import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { releaseSql } from '../../src/capture/postgres/release.ts'
import { slotOf } from '../../src/capture/postgres/slot.ts'
import { freePort } from '../support/free-port.ts'
import { lackingPostgres } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'
import { command, World } from './harness.ts'

const major = 17

test(
  'a member that is dead when the protection ends: the others are let go, what is left is told with its statements, and by order it is forgotten',
  { skip: lackingPostgres(major), timeout: 600_000 },
  async (t) => {
    const cluster = await Cluster.create(t, { major })
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const dead = await freePort()
    const hosts = `${encodeURIComponent(cluster.socketFolder)},127.0.0.1`
    const url = `postgres:///postgres?host=${hosts}&port=${cluster.port},${dead}&user=postgres`
    await world.atAgent(agent, 'protect', 'postgres', url, '--name', 'shop', '--force')
    const source = await world.until('shop', 'protected', ({ state }) => state === 'protected')

    const { out } = await world.atAgent(agent, 'unprotect', 'shop')
    assert.match(out, /no longer protected/)
    assert.ok(out.includes(releaseSql(source)), out)
    const told = await world.until('shop', 'what is left is told', ({ problems }) =>
      problems.some(({ code }) => code === 'release-waits'),
    )
    assert.equal(told.state, 'retired')
    const [problem] = told.problems
    assert.match(problem?.message ?? '', new RegExp(`1 of 2 members is let go, not postgres@127.0.0.1:${dead}`))
    assert.ok(problem?.hint?.includes(releaseSql(source)), JSON.stringify(problem))
    assert.deepEqual(await cluster.sql('SELECT slot_name FROM pg_replication_slots'), [])

    const atVault = await command(['--vault', world.vaultFolder, 'unprotect', 'shop', '--force'])
    assert.notEqual(atVault.status, 0)
    assert.match(atVault.err, /on the server of the agent/)
    await world.atAgent(agent, 'unprotect', 'shop', '--again')
    const forgotten = await world.atAgent(agent, 'unprotect', 'shop', '--force')
    assert.ok(forgotten.out.includes(releaseSql(source)), forgotten.out)
    assert.deepEqual(readdirSync(join(agent.folder, 'sources')), [])
    const twice = await command(['--agent', agent.folder, 'unprotect', 'shop', '--force'])
    assert.notEqual(twice.status, 0)

    // What is told to be given by hand does what the agent would have done.
    await cluster.sql(`SELECT pg_create_physical_replication_slot('${slotOf(source)}', true)`)
    await cluster.sql(releaseSql(source))
    assert.deepEqual(await cluster.sql('SELECT slot_name FROM pg_replication_slots'), [])
  },
)
