import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { Edits } from '../e2e/edits.ts'
import { needsRsync, World } from '../e2e/harness.ts'
import { RecordedMoments } from '../e2e/recorded.ts'
import { Seeded } from '../sim/random.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_123)
const rounds = Number(process.env['TIDEMARK_ROUNDS'] ?? 30)
/** Every so many rounds the tree is left alone until all is durable, and the moment recorded. */
const recordEvery = 5
const restoresMax = 4

test(
  'kill -9 of agent and vault under load, again and again, loses nothing that was acknowledged',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`)
    const random = new Seeded(seed)
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    const edits = new Edits(directory, random.fork('edits'))
    edits.some(120)
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()

    let acknowledged = 0
    for (let round = 1; round <= rounds; round++) {
      const victims = random.pick([[agent.process], [world.vault], [world.vault], [agent.process, world.vault]])
      const blow = random.integer(0, 600)
      const struck = new AbortController()
      const killed = systemClock.sleep(blow).then(() => {
        struck.abort()
        return Promise.all(victims.map((one) => one.kill()))
      })
      while (!struck.signal.aborted) {
        edits.some(random.integer(1, 4))
        const seen = await world.source('tree')
        acknowledged = Math.max(acknowledged, seen?.sequence ?? 0)
        await systemClock.sleep(random.integer(0, 40))
      }
      await killed
      edits.some(random.integer(0, 10))
      for (const one of victims.toReversed()) await one.start()
      const { sequence } = await world.until('tree', 'an answer', () => true)
      assert.ok(
        sequence >= acknowledged,
        `round ${round}: the vault had acknowledged ${acknowledged} and has ${sequence}`,
      )
      if (round % recordEvery === 0) await recorded.record()
    }

    await recorded.check(recorded.count - 1)
    for (let restore = 1; restore < restoresMax; restore++) await recorded.check(random.integer(0, recorded.count - 2))
    const { err } = await world.atVault('verify', 'tree')
    assert.equal(err, '')
  },
)
