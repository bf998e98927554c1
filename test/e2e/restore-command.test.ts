import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { command, differences, needsRsync, Process, World } from './harness.ts'

test('only the paths asked for are restored, in whatever order they are told', { timeout: 900_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  const directory = world.directory('tree')
  for (const folder of ['a', 'a-b', 'other']) {
    mkdirSync(join(directory, folder))
    for (const file of ['c', 'd']) writeFileSync(join(directory, folder, file), `${folder}/${file}`)
  }
  await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
  const at = await world.quietMoment('tree')
  const to = join(world.folder, 'restored')
  const [one, two] = [join(directory, 'a-b'), join(directory, 'a/c')]
  await world.restore('tree', at, to, '--path', one, '--path', two)
  assert.deepEqual(readdirSync(join(to, directory)).sort(), ['a', 'a-b'])
  assert.deepEqual(readdirSync(join(to, directory, 'a')), ['c'])
  assert.equal(differences(one, join(to, one)), '')
  const missing = await command([
    '--vault',
    world.vaultFolder,
    'restore',
    'tree',
    '--to',
    join(world.folder, 'no'),
    '--path',
    '/not/there',
  ])
  assert.notEqual(missing.status, 0)
})

test(
  'a restore that was killed goes on at the same point, though the source has changed',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    for (let file = 0; file < 1500; file++) writeFileSync(join(directory, `${file}`), Buffer.alloc(20_000, `${file} `))
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    await world.quietMoment('tree')

    const to = join(world.folder, 'restored')
    const restoring = ['--vault', world.vaultFolder, 'restore', 'tree', '--to', to]
    // Where this process was too slow to kill it before its end, once more.
    for (let tries = 1; !existsSync(join(to, '.tidemark-restore')); tries++) {
      assert.ok(tries <= 20, 'it was never killed before its end')
      rmSync(to, { recursive: true, force: true })
      const first = new Process([...restoring, '--json'], /"stage":"writing"/, join(world.folder, 'restore.log'))
      await first.start()
      await first.kill()
    }
    const refused = await command(restoring)
    assert.match(refused.err, /--resume/)

    const before = join(world.folder, 'before')
    execFileSync('cp', ['-a', directory, before])
    writeFileSync(join(directory, 'later'), 'this came later')
    await world.quietMoment('tree')
    await world.expect([...restoring, '--resume'])
    assert.equal(differences(before, join(to, directory)), '')
    assert.equal(existsSync(join(to, '.tidemark-restore')), false)
  },
)
