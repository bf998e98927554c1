import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Edits } from '../e2e/edits.ts'
import { needsRsync, settings, World } from '../e2e/harness.ts'
import { RecordedMoments } from '../e2e/recorded.ts'
import { Seeded } from '../sim/random.ts'

test(
  'while the vault is away every moment is kept, and is there once it is back',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    const edits = new Edits(directory, new Seeded(6))
    edits.some(80)
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()

    await world.vault.kill()
    for (let round = 0; round < 3; round++) {
      edits.some(40)
      await recorded.recordAtAgent(agent)
    }
    await agent.process.kill()
    edits.some(20)
    await agent.process.start()
    await world.vault.start()
    edits.some(10)
    await recorded.record()
    await recorded.checkAll()
  },
)

test(
  'more changes than the spool may hold leave a hole that is told, and the tree is whole afterwards',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    settings(agent, { spoolBytesMax: 1024 * 1024 })
    await agent.process.start()
    const directory = world.directory('tree')
    const edits = new Edits(directory, new Seeded(7))
    edits.some(60)
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()

    await world.vault.kill()
    for (let file = 0; file < 500; file++) writeFileSync(join(directory, `much-${file}`), randomBytes(100_000))
    await world.untilAgent(agent, 'tree', 'a full spool', ({ spoolFull }) => spoolFull)
    edits.some(30)
    await world.vault.start()
    await recorded.record()
    edits.some(30)
    await recorded.record()
    const points = await world.atVault('points', 'tree', '--json')
    assert.match(points.out, /"kind":"hole"/)
    await recorded.checkAll()
  },
)
