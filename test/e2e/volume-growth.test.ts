import assert from 'node:assert/strict'
import { openSync, readFileSync, writeSync, closeSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { NbdClient } from '../../src/nbd/client.ts'
import { beginVolume, contentAt } from '../recovery/volume-scene.ts'
import { until } from '../support/until.ts'

const mebi = 1024 * 1024
const bytes = 2 * mebi
const grown = 3 * mebi

test(
  'a device that grows while its volume is used is larger at the vault, with what it held and what is written, and points before are as they were',
  { timeout: 300_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed: 20_261_123, bytes })
    const { world, backing, server, load } = scene
    await load.pause()
    const before = await world.quietMoment('disk')
    const expected = Buffer.concat([load.model, Buffer.alloc(grown - bytes)])

    truncateSync(backing, grown)
    // What a device is enlarged by may hold anything.
    const remains = Buffer.alloc(70_000, 'remains')
    const file = openSync(backing, 'r+')
    writeSync(file, remains, 0, remains.length, bytes + 100_000)
    closeSync(file)
    remains.copy(expected, bytes + 100_000)
    const said = join(server.folder.directory, 'server.log')
    await until('it has grown', () => readFileSync(said, 'utf8').includes(`has grown from ${bytes} to ${grown} bytes`))

    const client = await NbdClient.connect({ at: { path: server.folder.nbd } }, t.signal)
    world.atEnd(async () => client.destroy(new Error('the test is over')))
    assert.equal(client.bytes, grown)
    const written = Buffer.alloc(10_240, 'written')
    for (const at of [bytes - 5120, grown - written.length]) {
      await client.write(at, written, { isForced: true })
      written.copy(expected, at)
    }
    const after = await world.quietMoment('disk')
    await world.until('disk', 'protected again', ({ state }) => state === 'protected')
    assert.ok((await contentAt(scene, after)).equals(expected), 'the volume as it is')
    assert.ok((await contentAt(scene, before)).equals(load.model), 'the volume as it was before it grew')
    const restored = join(world.folder, 'restored.img')
    await world.restore('disk', 'latest', restored)
    assert.ok(readFileSync(restored).equals(expected), 'restored')
  },
)
