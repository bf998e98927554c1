import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planted, seedsUntilCaught } from './planted.ts'

/** A fault that takes more is one the simulation does not really look for. */
const seedsMax = 60

for (const { fault, plant } of planted) {
  test(`it is noticed when ${fault}`, async (context) => {
    const caught = await seedsUntilCaught(plant, { from: 1, seedsMax })
    assert.ok(caught, `not one of ${seedsMax} seeds failed`)
    context.diagnostic(`seed ${caught.seeds}: ${caught.how}`)
  })
}
