import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { turn, VolumeWorld, type WorldSettings } from '../../../../test/support/volume-world.ts'
import type { LogFile, LogFolder, VolumeFiles } from './files.ts'

const seeds = 300
/** By this one at the latest a planted fault is seen. */
const plantedSeeds = 100

/** Rounds of work that end in the middle of some operation, each followed by a look at what is left. */
async function live(seed: number, more: Partial<WorldSettings> = {}): Promise<VolumeWorld> {
  const random = new Seeded(seed)
  const world = new VolumeWorld({
    random,
    logBytesMax: random.pick([4, 5, 8]) * 256 * 1024,
    logCapacity: random.chance(0.2) ? 6.5 * 256 * 1024 : 64 * 1024 ** 2,
    ...more,
  })
  const ships = random.pick([0, 0.02, 0.3])
  for (let round = random.integer(2, 4); round > 0; round--) {
    if (random.chance(0.3)) world.disk.endAfter(random.integer(1, 60), random.pick(['power', 'kill'] as const))
    if ((await world.open()) === undefined) continue
    if (random.chance(0.9)) world.disk.endAfter(random.skewed(1, 600), random.pick(['power', 'power', 'kill'] as const))
    for (let asks = random.integer(5, 80); asks > 0 && !world.hasEnded; asks--) {
      world.users.ask()
      if (random.chance(0.3)) await turn()
      if (random.chance(0.1)) await world.quiet()
      if (!world.hasEnded && random.chance(ships)) await world.ship(random.chance(0.7))
    }
    if (!world.hasEnded && random.chance(0.3)) await world.quiet()
    if (!world.hasEnded && random.chance(0.2)) await world.close()
    if (!world.hasEnded) world.disk.end(random.pick(['power', 'kill'] as const))
    world.forgetReader()
    world.checkVault()
  }
  for (;;) if (await world.open()) break
  await world.quiet()
  await world.ship(true)
  world.checkVault()
  await world.close()
  return world
}

test('after any end of the server the volume is a state it had, with all that was promised, and the vault misses nothing that is not touched', async () => {
  const seen = { gaps: 0, readsChecked: 0, recordsShipped: 0 }
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      const world = await live(seed)
      for (const what of ['gaps', 'recordsShipped'] as const) seen[what] += world[what]
      seen.readsChecked += world.users.readsChecked
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  assert.ok(seen.gaps > 10 && seen.readsChecked > 1000 && seen.recordsShipped > 1000, JSON.stringify(seen))
})

test('what a volume held when it was let go is in its backing, wherever its server ends meanwhile', async () => {
  let ends = 0
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Seeded(seed, 'let go')
    const world = new VolumeWorld({ random, logBytesMax: 4 * 256 * 1024 })
    await world.open()
    for (let asks = random.integer(5, 60); asks > 0; asks--) world.users.ask()
    await world.quiet()
    for (let isLetGo = false; !isLetGo;) {
      world.disk.endAfter(random.skewed(1, 300), random.pick(['power', 'kill']))
      if (!world.hasEnded) world.server?.release()
      if (!world.hasEnded) await world.close()
      isLetGo = !world.hasEnded
      if (isLetGo) break
      ends++
      while (!(await world.open())) ends++
    }
    const content = Buffer.from(world.disk.backing.durable)
    world.users.expectState(content, world.users.stateAt(world.users.last), `seed ${seed}: in the backing`)
  }
  assert.ok(ends > 50, `${ends} ends`)
})

test('at zero loss no flush is answered before the vault has it, over any end of the server', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    try {
      await live(seed, { zeroLoss: {} })
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
})

/** Disks that break one promise each. */
const planted: Record<string, (files: VolumeFiles) => VolumeFiles> = {
  'a log that is not synced': ({ log, backing }) => ({
    log: withFiles(log, (file) => ({ ...file, sync: async () => {} })),
    backing,
  }),
  'names that are not synced': ({ log, backing }) => ({ log: { ...log, syncNames: async () => {} }, backing }),
  'a backing that is not synced': ({ log, backing }) => ({ log, backing: { ...backing, sync: async () => {} } }),
  'touched regions that are not written': ({ log, backing }) => ({
    log: withFiles(log, (file, name) =>
      name.startsWith('touched')
        ? { ...file, write: (parts, at) => (isZeros(parts) ? file.write(parts, at) : bytesOf(parts)) }
        : file,
    ),
    backing,
  }),
  'zeros that are not written': ({ log, backing }) => ({
    log,
    backing: { ...backing, apply: (steps) => backing.apply(steps.filter(({ kind }) => kind === 'copy')) },
  }),
}

const isZeros = (parts: readonly Uint8Array[]): boolean => parts.every((part) => part.every((byte) => byte === 0))
const bytesOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0)

function withFiles(log: LogFolder, wrap: (file: LogFile, name: string) => LogFile): LogFolder {
  return {
    ...log,
    create: async (name, bytes) => wrap(await log.create(name, bytes), name),
    open: async (name) => {
      const file = await log.open(name)
      return file && wrap(file, name)
    },
  }
}

for (const [what, wrap] of Object.entries(planted)) {
  test(`the crash test notices ${what}`, async () => {
    for (let seed = 1; seed <= plantedSeeds; seed++) {
      try {
        await live(seed, { planted: wrap })
      } catch {
        return
      }
    }
    assert.fail('no seed noticed it')
  })
}
