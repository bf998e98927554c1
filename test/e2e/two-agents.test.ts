import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { command, needsRsync, World } from './harness.ts'
import { RecordedMoments } from './recorded.ts'

test(
  'two agents protect side by side, and neither reaches what is the other’s',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agents = [await world.join('one'), await world.join('two')] as const
    const recorded: RecordedMoments[] = []
    for (const agent of agents) {
      await agent.process.start()
      const directory = world.directory(`of-${agent.name}`)
      writeFileSync(join(directory, 'whose'), `this is of ${agent.name}`)
      await world.atAgent(agent, 'protect', 'files', directory, '--name', `source-${agent.name}`)
      recorded.push(new RecordedMoments(world, `source-${agent.name}`, directory))
    }
    for (const moments of recorded) {
      await moments.record()
      await moments.checkAll()
    }

    const [one] = agents
    const to = join(world.folder, 'stolen')
    const restored = await command(['--agent', one.folder, 'restore', 'source-two', '--to', to])
    assert.notEqual(restored.status, 0)
    const read = await command(['--agent', one.folder, 'cat', `source-two:${join(world.folder, 'of-two/whose')}`])
    assert.equal(read.out, '')
    assert.notEqual(read.status, 0)
    const ended = await command(['--agent', one.folder, 'unprotect', 'source-two'])
    assert.notEqual(ended.status, 0)
    const status = await world.atAgent(one, 'status', '--json')
    assert.doesNotMatch(status.out, /source-two/)
    await world.until('source-two', 'still protected', ({ state }) => state === 'protected')
  },
)

test(
  'a server joins only with a token that is good, once, at the vault that made it',
  { timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const other = await World.begin(t)
    const address = `127.0.0.1:${world.port}`
    const join_ = (name: string, token: string) =>
      command(['agent', 'join', address, '--name', name, '--dir', join(world.folder, name)], { TIDEMARK_TOKEN: token })
    const token = async (of: World) =>
      (JSON.parse((await of.atVault('vault', 'token', '--json')).out) as { token: string }).token

    const good = await token(world)
    assert.equal((await join_('first', good)).status, 0)
    const again = await join_('second', good)
    assert.equal(again.status, 1)
    assert.match(again.err, /token/)
    const mangled = await join_('third', `${good.slice(0, -4)}AAAA`)
    assert.equal(mangled.status, 1)
    const foreign = await join_('fourth', await token(other))
    assert.equal(foreign.status, 1)
    assert.match(foreign.err, /next: /)
    const none = await join_('fifth', '')
    assert.match(none.err, /no token was given/)
    const { out } = await world.atVault('agents', '--json')
    assert.equal(out.trim().split('\n').length, 1)
  },
)
