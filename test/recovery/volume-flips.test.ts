import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/base/errors.ts'
import type { VolumeDisk } from '../../src/capture/volume/server/disk.ts'
import { readPlace } from '../../src/capture/volume/server/place.ts'
import { Seeded } from '../sim/random.ts'
import { turn, VolumeWorld } from '../support/volume-world.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1)
const seeds = Number(process.env['TIDEMARK_SEEDS'] ?? 400)
const segmentBytes = 256 * 1024

/** What a bit was flipped in. */
type Part = 'segment' | 'place' | 'touched' | 'spare'

interface Seen {
  readonly refused: Record<Part, number>
  readonly told: Record<Part, number>
  readonly unharmed: Record<Part, number>
}

const none = (): Record<Part, number> => ({ segment: 0, place: 0, touched: 0, spare: 0 })

const partOf = (name: string): Part =>
  name.endsWith('.log') ? 'segment' : name === 'place' ? 'place' : name.startsWith('touched') ? 'touched' : 'spare'

/** A volume that has been used for a while by a vault that now and then lags, and whose server is killed with nothing on its way. */
async function used(random: Seeded): Promise<VolumeWorld> {
  const world = new VolumeWorld({ random, logBytesMax: random.pick([4, 5, 8]) * segmentBytes })
  for (let life = random.integer(1, 2); life > 0; life--) {
    await world.open()
    const ships = random.pick([0, 0.05, 0.3])
    for (let asks = random.integer(5, 60); asks > 0; asks--) {
      world.users.ask()
      if (random.chance(0.3)) await turn()
      if (random.chance(ships)) await world.ship(random.chance(0.7))
    }
    await world.quiet()
    const server = world.server
    assert.ok(server)
    for (let turns = 0; server.durable < server.last; turns++) {
      assert.ok(turns < 100_000, 'the log is never synced')
      await turn()
    }
    if (random.chance(0.5)) await oneMore(world, server)
    else await noted(world, server)
    world.disk.end('kill')
    world.forgetReader()
  }
  return world
}

/** A record that was not synced says how far the log was; what it says of nobody was promised. It may have to wait for room. */
async function oneMore(world: VolumeWorld, { last }: VolumeDisk): Promise<void> {
  world.users.write()
  for (let turns = 0; world.server?.last === last; turns++) {
    assert.ok(turns < 100_000, 'the last write never comes into the log')
    await turn()
  }
}

/** When nothing is written the place says how far the log is synced. */
async function noted(world: VolumeWorld, server: VolumeDisk): Promise<void> {
  for (let turns = 0; (await readPlace(world.disk.logForReaders()))?.synced !== server.last; turns++) {
    assert.ok(turns < 100_000, 'the place never says that all is synced')
    await turn()
  }
}

/** Of the bytes that are in use as often as of the others. */
function flipOne(world: VolumeWorld, random: Seeded): { readonly name: string; readonly undo: () => void } {
  const names = world.disk.names()
  const part = random.pick(['segment', 'segment', 'place', 'touched', 'spare'] as const)
  const fitting = names.filter((name) => partOf(name) === part)
  const name = random.pick(fitting.length > 0 ? fitting : names)
  const length = world.disk.content(name)?.length ?? 0
  const at = random.chance(0.5) ? random.skewed(0, length - 1) : random.integer(0, length - 1)
  const bit = random.integer(0, 7)
  world.disk.flip(name, at, bit)
  // What was answered and not promised may pass for a torn tail.
  world.users.end('power')
  return { name, undo: () => world.disk.flip(name, at, bit) }
}

/** Everything that the vault has not got comes by the log, or is told as touched. */
async function shipAll(world: VolumeWorld): Promise<boolean> {
  let isTold = false
  for (;;) {
    try {
      await world.ship(true)
      world.checkVault()
      return isTold
    } catch (error) {
      if (!isCode(error, 'damaged')) throw error
      assert.ok(!isTold, 'damage is told once')
      isTold = true
      const server = world.server
      assert.ok(server)
      const { epoch } = server
      server.lostHistory(error.message)
      for (let turns = 0; server.epoch === epoch; turns++) {
        assert.ok(turns < 100_000, 'lost history begins no epoch')
        await turn()
      }
    }
  }
}

async function live(random: Seeded, seen: Seen): Promise<void> {
  const world = await used(random)
  const { name, undo } = flipOne(world, random)
  const part = partOf(name)
  try {
    await world.open()
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
    assert.match(error.message, /volume/)
    assert.ok(error.hint, 'it says what to do')
    seen.refused[part]++
    undo()
    // What refused to go on has harmed nothing.
    await world.open()
    await shipAll(world)
    await world.close()
    return
  }
  const gaps = world.gaps
  const isTold = await shipAll(world)
  world.users.ask()
  await world.quiet()
  await shipAll(world)
  await world.close()
  seen[isTold || world.gaps > gaps ? 'told' : 'unharmed'][part]++
}

test('a bit that flips in any file of a volume server is told, as damage or as lost history, or harms nothing', async (t) => {
  const seen: Seen = { refused: none(), told: none(), unharmed: none() }
  for (let count = 0; count < seeds; count++) {
    try {
      await live(new Seeded(seed + count), seen)
    } catch (error) {
      throw new Error(`with seed ${seed + count}`, { cause: error })
    }
  }
  t.diagnostic(JSON.stringify(seen))
  if (seeds < 400) return
  for (const outcome of [seen.refused, seen.told, seen.unharmed]) assert.ok(outcome.segment > 5, JSON.stringify(seen))
})
