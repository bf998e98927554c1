import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsRsync, World } from '../e2e/harness.ts'
import { RecordedMoments } from '../e2e/recorded.ts'

test(
  'a vault that cannot write ends with the reason, and goes on once it is started again',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    writeFileSync(join(directory, 'first'), Buffer.alloc(200_000, 'the first file'))
    const packs = join(world.vaultFolder, 'packs')
    rmSync(packs, { recursive: true, force: true })
    writeFileSync(packs, 'not a folder')
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    assert.equal(await world.vault.ended(), 1)
    assert.match(readFileSync(world.vault.log, 'utf8'), /packs/)

    rmSync(packs)
    mkdirSync(packs)
    await world.vault.start()
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()
    await recorded.checkAll()
  },
)
