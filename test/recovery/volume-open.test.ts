import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ApiClient } from '../../src/api/client.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { isCode } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import { holdPoint } from '../../src/cli/held-point.ts'
import { sequence } from '../../src/model/sequence.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { listenUnix } from '../../src/nbd/listen.ts'
import { openMoment, type OpenRequest } from '../../src/recover/volume/open-moment.ts'
import type { VolumeOrigin } from '../../src/recover/volume/origin.ts'
import { heldMs } from '../../src/vault-server/held-points.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Seeded } from '../sim/random.ts'
import { until } from '../support/until.ts'
import { apiSocketOf, runningVault, VolumeReplay, type VolumeVault, volumeVault } from '../support/volume-vault.ts'

const never = new AbortController().signal
const volumeBytes = 1024 * 1024 + 512
const changes = 800
const sectorBytes = 512

interface World {
  readonly folder: string
  readonly story: VolumeVault
  readonly client: ApiClient
}

async function inWorld(use: (world: World) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-open-'))
  try {
    const story = await volumeVault(join(folder, 'vault'), { seed: 3, bytes: volumeBytes, changes })
    await using _vault = await runningVault(story.directory)
    await use({ folder, story, client: socketApiClient(apiSocketOf(story.directory)) })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function opened(
  { folder, story, client }: World,
  at: number,
  overlay: Pick<OpenRequest, 'overlay'>,
  use: (client: NbdClient) => Promise<void>,
): Promise<void> {
  const origin = await apiVolume(client, story.source, `seq:${at}`)
  const told: string[] = []
  using moment = openMoment(
    { name: story.source, source: 'a'.repeat(32), ...overlay },
    { origin, clock: systemClock, tell: (message) => told.push(message) },
    never,
  )
  const path = join(folder, 'nbd.sock')
  await using _listener = await listenUnix({ path }, [moment.export], { clock: systemClock })
  await using nbd = await NbdClient.connect({ at: { path }, hasAllocation: true }, never)
  assert.equal(nbd.bytes, volumeBytes)
  await use(nbd)
  assert.deepEqual(told, [])
}

test('a moment that is open reads over NBD as the volume was, here and there and from end to end', () =>
  inWorld(async (world) => {
    const random = new Seeded(5)
    const points = Array.from({ length: 25 }, () => random.integer(1, changes)).sort((a, b) => a - b)
    const replay = new VolumeReplay(world.story)
    for (const at of points) {
      const expected = replay.to(at)
      await opened(world, at, {}, async (nbd) => {
        assert.equal(nbd.isReadOnly, true)
        const ranges = Array.from({ length: 40 }, () => {
          const from = random.integer(0, volumeBytes / sectorBytes - 1) * sectorBytes
          return { from, bytes: Math.min(random.skewed(1, 128) * sectorBytes, volumeBytes - from) }
        })
        const read = await Promise.all(ranges.map(({ from, bytes }) => nbd.read(from, bytes)))
        for (const [i, { from, bytes }] of ranges.entries()) {
          assert.ok(read[i]?.equals(expected.subarray(from, from + bytes)), `${bytes} bytes from ${from} at ${at}`)
        }
        const whole = Buffer.alloc(volumeBytes)
        for (let from = 0; from < volumeBytes;) {
          const [extent] = await nbd.blockStatus(from, volumeBytes - from)
          assert.ok(extent !== undefined && extent.at === from)
          if (extent.is === 'data') (await nbd.read(from, extent.bytes)).copy(whole, from)
          from += extent.bytes
        }
        assert.ok(whole.equals(expected), `a copy without the holes at ${at}`)
        await assert.rejects(nbd.write(0, Buffer.alloc(sectorBytes)), 'nobody may write')
      })
    }
  }))

test('what is written over a moment is read back, stays in its overlay, and leaves the moment as it was', () =>
  inWorld(async (world) => {
    const random = new Seeded(6)
    const at = Math.floor(changes / 2)
    const before = Buffer.from(new VolumeReplay(world.story).to(at))
    const expected = Buffer.from(before)
    const overlay = { overlay: { file: join(world.folder, 'trial.overlay') } }
    for (let round = 0; round < 3; round++) {
      await opened(world, at, overlay, async (nbd) => {
        assert.equal(nbd.isReadOnly, false)
        assert.ok((await nbd.read(0, volumeBytes)).equals(expected), 'what was written before is there again')
        for (let count = 0; count < 150; count++) {
          const from = random.integer(0, volumeBytes / sectorBytes - 1) * sectorBytes
          const bytes = Math.min(random.skewed(1, 64) * sectorBytes, volumeBytes - from)
          if (random.chance(0.6)) {
            const data = Buffer.from(random.bytes(bytes))
            await nbd.write(from, data, { isForced: random.chance(0.1) })
            data.copy(expected, from)
          } else if (random.chance(0.5)) {
            await nbd.zero(from, bytes)
            expected.fill(0, from, from + bytes)
          } else assert.ok((await nbd.read(from, bytes)).equals(expected.subarray(from, from + bytes)))
        }
        const whole = Buffer.alloc(volumeBytes)
        for (let from = 0; from < volumeBytes;) {
          const [extent] = await nbd.blockStatus(from, volumeBytes - from)
          assert.ok(extent !== undefined)
          if (extent.is === 'data') (await nbd.read(from, extent.bytes)).copy(whole, from)
          from += extent.bytes
        }
        assert.ok(whole.equals(expected), 'extents with what was written')
        await nbd.flush()
      })
    }
    await opened(world, at, {}, async (nbd) => assert.ok((await nbd.read(0, volumeBytes)).equals(before)))
    await assert.rejects(
      opened(world, at + 1, overlay, () => Promise.resolve()),
      /lies over another moment/,
    )
  }))

test('writes that share a block with others, on their way at once, all stand there afterwards', () =>
  inWorld(async (world) => {
    const at = changes - 1
    const expected = Buffer.from(new VolumeReplay(world.story).to(at))
    await opened(world, at, { overlay: { temporaryBelow: world.folder } }, async (nbd) => {
      const sectors = Array.from({ length: 64 }, (_, number) => 4096 * 3 + number * sectorBytes)
      await Promise.all(
        sectors.map(async (from) => {
          const data = Buffer.alloc(sectorBytes, from / sectorBytes)
          data.copy(expected, from)
          await nbd.write(from, data)
        }),
      )
      assert.ok((await nbd.read(0, volumeBytes)).equals(expected))
      await nbd.trim(0, volumeBytes)
      assert.equal((await nbd.read(4096, 4096)).length, 4096)
    })
  }))

/** By it retention looks all the time, once it is day, and points are held on all the time; and it can be set on. */
class RestlessClock implements Clock {
  aheadMs = 0
  isNight = true

  now(): number {
    return systemClock.now() + this.aheadMs * 1000
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.aheadMs
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const isLook = ms === 60_000
    await systemClock.sleep(isLook || ms === 30_000 ? 20 : ms, signal)
    if (isLook) while (this.isNight) await systemClock.sleep(20, signal)
  }
}

test('what is open is kept although it has left the window, until some time after nobody reads it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-open-'))
  try {
    const past = { seed: 4, bytes: volumeBytes, changes, windowMs: 60_000, segmentBytes: 40_000 }
    const story = await volumeVault(join(folder, 'vault'), past)
    const client = socketApiClient(apiSocketOf(story.directory))
    const at = changes / 2
    const origin = async (): Promise<VolumeOrigin> => apiVolume(client, story.source, `seq:${at}`)
    const readAll = async (from: VolumeOrigin): Promise<Buffer> => {
      const disk = Buffer.alloc(volumeBytes)
      for await (const stretch of from.read([{ at: 0, bytes: volumeBytes }], never)) {
        if (stretch.data !== undefined) disk.set(stretch.data, stretch.at)
      }
      return disk
    }
    const expected = Buffer.from(new VolumeReplay(story).to(at))
    const told: string[] = []
    const keptFrom = (): number =>
      Number(told.map((line) => /kept from seq:(\d+)/.exec(line)?.[1]).findLast(Number) ?? 0)
    const clock = new RestlessClock()
    const note = (message: string): void => void told.push(message)
    await using _vault = await runningVault(story.directory, { clock, told: note })
    let asked = 0
    const counted: ApiClient = {
      ...client,
      json: async (...args) => {
        const answer = await client.json(...args)
        asked++
        return answer
      },
    }
    const parts = { clock, random: systemRandom }
    const holding = await holdPoint({ client: counted, source: story.source, at: sequence(at), note }, parts)
    clock.isNight = false
    await until('what is before it is forgotten', () => keptFrom() > 1)
    for (let times = 3; times > 0; times--) {
      clock.aheadMs += heldMs * 0.9
      // One may have been on its way before.
      const enough = asked + 2
      await until('it is held on', () => asked >= enough)
    }
    assert.ok(keptFrom() <= at)
    assert.ok((await readAll(await origin())).equals(expected))
    await holding[Symbol.asyncDispose]()
    clock.aheadMs += 2 * heldMs
    await until('it is forgotten', () => keptFrom() > at)
    await assert.rejects(origin(), (error) => isCode(error, 'point-unreachable'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
