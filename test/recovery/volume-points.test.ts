import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { apiPath } from '../../src/api/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import type { VolumeReceipt } from '../../src/recover/volume/receipt.ts'
import { restoreVolume, type VolumeRestoreRequest } from '../../src/recover/volume/restore-volume.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Seeded } from '../sim/random.ts'
import { apiSocketOf, runningVault, VolumeReplay, volumeVault } from '../support/volume-vault.ts'

const never = new AbortController().signal
const volumeBytes = 768 * 1024 + 512
const changes = 1200

test('at 200 points chosen at random a volume is, byte for byte, what was written to it until then', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-points-'))
  try {
    const story = await volumeVault(join(folder, 'vault'), { seed: 7, bytes: volumeBytes, changes })
    await using _vault = await runningVault(story.directory)
    const client = socketApiClient(apiSocketOf(story.directory))
    const random = new Seeded(11)
    const points = Array.from({ length: 200 }, () => random.integer(1, changes)).sort((a, b) => a - b)
    const replay = new VolumeReplay(story)
    const follower = join(folder, 'follower.img')
    const restored = async (
      at: number,
      target: string,
      how: Partial<VolumeRestoreRequest> = {},
    ): Promise<VolumeReceipt> =>
      restoreVolume(
        { source: story.source, target, resume: false, delta: false, force: false, ...how },
        { origin: await apiVolume(client, story.source, `seq:${at}`), clock: systemClock, tell: () => {} },
        never,
      )
    await restored(1, follower)
    for (const [count, at] of points.entries()) {
      const expected = replay.to(at)
      // All bytes by the API, from anywhere on.
      const offset = random.integer(0, volumeBytes - 1)
      const length = random.integer(1, volumeBytes - offset)
      const query = { at: `seq:${at}`, path: '/disk', offset, length }
      const pieces: Uint8Array[] = []
      for await (const piece of await client.stream('GET', apiPath('/v1/sources/disk-1/content', query)))
        pieces.push(piece)
      assert.ok(Buffer.concat(pieces).equals(expected.subarray(offset, offset + length)), `content at ${at}`)
      // Where there is data.
      const origin = await apiVolume(client, story.source, `seq:${at}`)
      const { until, data } = await origin.extents({ at: 0, bytes: volumeBytes }, never)
      assert.equal(until, volumeBytes)
      const holes = Buffer.from(expected)
      for (const extent of data) holes.fill(0, extent.at, extent.at + extent.bytes)
      assert.ok(holes.equals(Buffer.alloc(volumeBytes)), `what extents leave out is zeros at ${at}`)
      // A new image, and one that is only brought from the last point to this one.
      await restored(at, follower, { delta: true })
      assert.ok(readFileSync(follower).equals(expected), `delta at ${at}`)
      if (count % 5 > 0) continue
      const target = join(folder, 'new.img')
      const receipt = await restored(at, target)
      assert.ok(readFileSync(target).equals(expected), `restored at ${at}`)
      assert.ok(receipt.writtenBytes <= receipt.dataBytes && statSync(target).size === volumeBytes)
      rmSync(target)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
