import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seedsUntilCaught } from './planted.ts'
import { Trace } from './trace.ts'
import { plantedVolumes } from './volume/planted.ts'
import { runWorld } from './world.ts'

const seeds = 20
/** A fault that takes more is one the simulation does not really look for. */
const plantedSeedsMax = 60

test(`whatever fails, a volume and its journal keep all promises: seeds 1 to ${seeds}`, async () => {
  const seen = { holes: 0, treesCompared: 0 }
  for (let seed = 1; seed <= seeds; seed++) {
    const trace = new Trace()
    const passed = await runWorld(seed, trace, {}, 'volumes').catch((error: unknown) => {
      const message = `seed ${seed} failed; see all of it with: npm run sim -- --volumes --seed ${seed}`
      throw new Error(`${trace.tail()}\n${message}`, { cause: error })
    })
    seen.holes += passed.holes
    seen.treesCompared += passed.treesCompared
  }
  assert.ok(seen.holes > 0 && seen.treesCompared > 20 * seeds, JSON.stringify(seen))
})

for (const { fault, plant } of plantedVolumes) {
  test(`it is noticed when ${fault}`, async (context) => {
    const caught = await seedsUntilCaught(plant, { from: 1, seedsMax: plantedSeedsMax, kind: 'volumes' })
    assert.ok(caught, `not one of ${plantedSeedsMax} seeds failed`)
    context.diagnostic(`seed ${caught.seeds}: ${caught.how}`)
  })
}
