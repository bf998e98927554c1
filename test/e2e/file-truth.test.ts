import { test } from 'node:test'
import { Seeded } from '../sim/random.ts'
import { Edits } from './edits.ts'
import { needsRsync, World } from './harness.ts'
import { RecordedMoments } from './recorded.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_122)
const rounds = 8

test(
  'every quiet moment is restored exactly as the tree then was',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`)
    const chance = new Seeded(seed)
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    const edits = new Edits(directory, chance)
    edits.some(300)
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()
    for (let round = 1; round < rounds; round++) {
      edits.some(10 + chance.integer(0, 150))
      await recorded.record()
    }
    await recorded.checkAll()
  },
)
