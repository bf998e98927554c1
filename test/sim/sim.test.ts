import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Trace } from './trace.ts'
import { runWorld } from './world.ts'

const seeds = 500
const seedsPerTest = 100

for (let from = 1; from <= seeds; from += seedsPerTest) {
  test(`whatever fails, all promises are kept: seeds ${from} to ${from + seedsPerTest - 1}`, async () => {
    for (let seed = from; seed < from + seedsPerTest; seed++) {
      const trace = new Trace()
      await runWorld(seed, trace).catch((error: unknown) => {
        const message = `seed ${seed} failed; see all of it with: npm run sim -- --seed ${seed}`
        throw new Error(`${trace.tail()}\n${message}`, { cause: error })
      })
    }
  })
}

test('a seed repeats to the last event', async () => {
  const run = async (): Promise<string> => {
    const lines: string[] = []
    const passed = await runWorld(7, new Trace({ live: (line) => lines.push(line) }))
    return JSON.stringify(passed) + lines.join('\n')
  }
  assert.equal(await run(), await run())
})
