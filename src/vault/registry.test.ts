import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import {
  addAgentWithSource,
  batchOf,
  definition,
  keyOfTests,
  newTestVault,
  openTestVault,
  start,
  write,
} from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { type ErrorCode, isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import { createKeyFile, newPassphraseOrigin, passphraseKey, readKeyFile } from './vault-key.ts'
import { createVault } from './vault.ts'

const is =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isCode(error, code)

const nobody = '0'.repeat(32) as Id

async function world() {
  const disk = new MemoryDisk({ random: new Seeded(1) })
  const parts = () => ({ store: disk.store(), clock: systemClock, random: systemRandom })
  return { disk, parts, vault: await newTestVault(parts()) }
}

test('agents, sources, tokens and secrets are there again after the vault was opened again', async () => {
  const { disk, parts, vault } = await world()
  const { agent, source } = await addAgentWithSource(vault, 'web')
  await vault.registry.changeAgent(agent, { certificates: ['01', '02'] })
  await vault.registry.changeSource(source, { paused: true, paths: ['/srv', '/etc'] })
  await vault.registry.addToken({ secret: 'once', created: start, expires: moment(start + 10) })
  await vault.registry.setSecret('ca-key', Buffer.from([1, 2, 3]))
  const { agents, sources, tokens } = vault.registry
  const journalKey = vault.registry.journalKey(source)
  disk.powerCut()

  await using again = await openTestVault(parts())
  assert.deepEqual([again.registry.agents, again.registry.sources, again.registry.tokens], [agents, sources, tokens])
  assert.deepEqual(again.registry.journalKey(source), journalKey)
  assert.deepEqual(await again.registry.secret('ca-key'), Buffer.from([1, 2, 3]))
  assert.equal(await again.registry.secret('another'), undefined)
  assert.equal(again.registry.agent(agent).holder, 1)
})

test('a name is taken once', async () => {
  const { vault } = await world()
  const { agent, source } = await addAgentWithSource(vault, 'web')
  const other = await addAgentWithSource(vault, 'mail')
  const { registry } = vault
  const enrolled = { certificates: [], enrolled: start }
  await assert.rejects(registry.addAgent({ name: 'web', ...enrolled }), is('already-exists'))
  await assert.rejects(registry.changeAgent(other.agent, { name: 'web' }), is('already-exists'))
  await assert.rejects(vault.addSource(definition('web', agent)), is('already-exists'))
  await assert.rejects(registry.changeSource(other.source, { name: 'web-files' }), is('already-exists'))
  await registry.changeSource(source, { name: 'web-files' })
  const both = await Promise.allSettled([1, 2].map(() => registry.addAgent({ name: 'twice', ...enrolled })))
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  await vault[Symbol.asyncDispose]()
})

test('a token enrols one agent, before it expires', async () => {
  const { vault } = await world()
  const { registry } = vault
  const { agent } = await addAgentWithSource(vault, 'web')
  await registry.addToken({ secret: 'late', created: start, expires: moment(start + 10) })
  await registry.addToken({ secret: 'good', created: start, expires: moment(start + 10) })
  await assert.rejects(registry.useToken('late', agent, moment(start + 10)), is('token-refused'))
  await assert.rejects(registry.useToken('guess', agent, start), is('token-refused'))
  const twice = await Promise.allSettled([1, 2].map(() => registry.useToken('good', agent, start)))
  assert.deepEqual(
    twice.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  await vault[Symbol.asyncDispose]()
})

test('only its own agent appends to a journal, and only while it is not revoked', async () => {
  const { vault } = await world()
  const forever = new AbortController().signal
  const { agent, source } = await addAgentWithSource(vault, 'web')
  const other = await addAgentWithSource(vault, 'mail')
  await assert.rejects(vault.appender(other.agent, source, forever), is('not-allowed'))
  await assert.rejects(vault.appender(nobody, source, forever), is('not-found'))
  await assert.rejects(vault.appender(agent, nobody, forever), is('not-found'))
  await vault.registry.changeAgent(agent, { revoked: true })
  await assert.rejects(vault.appender(agent, source, forever), is('not-allowed'))
  await vault[Symbol.asyncDispose]()
})

test('definitions are told at once and at each change', async () => {
  const { vault } = await world()
  const { agent, source } = await addAgentWithSource(vault, 'web')
  const stop = new AbortController()
  const told: boolean[][] = []
  for await (const definitions of vault.definitions(agent, stop.signal)) {
    told.push(definitions.map(({ paused }) => paused))
    if (told.length === 1) await vault.registry.changeSource(source, { paused: true })
    if (told.length === 2) await addAgentWithSource(vault, 'mail')
    if (told.length === 3) await vault.removeSource(source)
    if (told.length === 4) stop.abort()
  }
  assert.deepEqual(told, [[false], [true], [true], []])
  await vault[Symbol.asyncDispose]()
})

test('of a source that is removed nothing is left', async () => {
  const { disk, vault, parts } = await world()
  const { source } = await addAgentWithSource(vault, 'web')
  await vault.removeSource(source)
  assert.throws(() => vault.journal(source), is('not-found'))
  assert.deepEqual(
    disk.names.filter((name) => name.includes(source)),
    [],
  )
  await vault[Symbol.asyncDispose]()
  await using again = await openTestVault(parts())
  assert.deepEqual(again.registry.sources, [])
})

test('a vault is made where none is', async () => {
  const { parts } = await world()
  const make = createVault({ ...parts(), key: keyOfTests }, { name: 'again', keyOrigin: { from: 'file' } })
  await assert.rejects(make, is('already-exists'))
  const empty = new MemoryDisk({ random: new Seeded(1) })
  await assert.rejects(openTestVault({ ...parts(), store: empty.store() }), is('not-found'))
})

test('a key file is made once, for its owner, and anything else is no key', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-key-'))
  try {
    const path = join(folder, 'vault.key')
    const key = await createKeyFile(path, systemRandom)
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.match(await readFile(path, 'latin1'), /^[0-9a-f]{64}\n$/)
    assert.ok(key.equals(await readKeyFile(path)))
    await assert.rejects(createKeyFile(path, systemRandom), { code: 'EEXIST' })
    await writeFile(path, 'not a key\n')
    await assert.rejects(readKeyFile(path), is('key-refused'))
    await assert.rejects(readKeyFile(join(folder, 'absent')), is('key-refused'))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a passphrase gives the same key however its letters are composed, and another salt another key', async () => {
  const origin = { ...newPassphraseOrigin(systemRandom), cost: 1024 }
  const key = await passphraseKey('schlüssel', origin)
  assert.ok(key.equals(await passphraseKey('schlu\u0308ssel', origin)))
  assert.ok(!key.equals(await passphraseKey('schlussel', origin)))
  assert.ok(!key.equals(await passphraseKey('schlüssel', { ...origin, salt: '0'.repeat(64) })))
})

test('a record that is damaged is named and refused, and everything else is served', async () => {
  const { disk, parts, vault } = await world()
  const hurt = await addAgentWithSource(vault, 'web')
  const revoked = await addAgentWithSource(vault, 'mail')
  const fine = await addAgentWithSource(vault, 'files')
  await vault.registry.addToken({ secret: 'lost', created: start, expires: moment(start + 10) })
  const [token] = vault.registry.tokens
  await vault[Symbol.asyncDispose]()
  const files = [`sources/${hurt.source}`, `agents/${revoked.agent}`, `tokens/${token!.id}`].map(
    (record) => `registry/${record}.record`,
  )
  const sound = files.map((file) => disk.contents(file))
  for (const file of files) disk.overwrite(file, Buffer.alloc(100))

  {
    await using again = await openTestVault(parts())
    for (const [index, file] of files.entries()) {
      const named = again.damage.filter(
        ({ message }) => message.includes(file) && message.includes(file.slice(-39, -7)),
      )
      assert.equal(named.length, 1, `${index}`)
    }
    assert.equal(again.damage.length, 3)
    const forever = new AbortController().signal
    assert.throws(() => again.journal(hurt.source), is('damaged'))
    await assert.rejects(again.appender(hurt.agent, hurt.source, forever), is('damaged'))
    await assert.rejects(again.appender(revoked.agent, revoked.source, forever), is('damaged'))
    assert.equal(again.journal(revoked.source).damage, undefined)
    await assert.rejects(again.registry.useToken('lost', fine.agent, start), is('token-refused'))
    {
      await using appender = await again.appender(fine.agent, fine.source, forever)
      await appender.batch(batchOf(1, [write('f', 0, Buffer.from('x'))]))
    }
    const { holder } = await again.registry.addAgent({ name: 'new', certificates: [], enrolled: start })
    assert.equal(holder, 4, 'not the number of an agent that cannot be read')

    // What is no longer told, an agent gives up; and what is not known to be referred to would be collected.
    const told = (agent: Id) => again.definitions(agent, forever).next()
    await assert.rejects(told(hurt.agent), is('damaged'))
    assert.deepEqual((await told(fine.agent)).value, [again.registry.source(fine.source)])
    await assert.rejects(
      again.collect((ids) => ids.map(() => false), forever),
      is('damaged'),
    )
  }
  for (const [index, file] of files.entries()) disk.overwrite(file, sound[index]!)
  await using mended = await openTestVault(parts())
  assert.deepEqual(mended.damage, [])
  assert.equal(mended.registry.sources.length, 3)
})
