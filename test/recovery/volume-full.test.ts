import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isCode } from '../../src/base/errors.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { NbdRefused } from '../../src/nbd/refused.ts'
import type { ProtectionStatus } from '../../src/agent/protect.ts'
import { needsRoot, waitFor } from '../e2e/harness.ts'
import { keptGroup } from '../support/volume-server-process.ts'
import { until } from '../support/until.ts'
import { beginVolume, contentAt, holesOf, type VolumeScene } from './volume-scene.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_127)
const mebi = 1024 * 1024
const bytes = 4 * mebi
const givenUp = /history was given up/

/** A file system of its own, in memory. */
function mount(at: string, size: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tidemark-test', at])
}

/** Writes all of the volume again and again, which the model then has, until `isEnough`. */
async function writeMuch({ load, server }: VolumeScene, isEnough: () => boolean): Promise<void> {
  await using client = await NbdClient.connect({ at: { path: server.folder.nbd } }, new AbortController().signal)
  for (let round = 0; !isEnough(); round++) {
    assert.ok(round < 400, 'this is never enough')
    const pieces = Array.from({ length: bytes / mebi }, (_, index) => index * mebi)
    await Promise.all(pieces.map((at) => client.write(at, load.model.subarray(at, at + mebi))))
  }
  await client.flush()
}

/** By the bytes of its log that are not captured. */
const isBehind =
  (holds: (bytes: number) => boolean) =>
  ({ capture }: ProtectionStatus): boolean =>
    holds(capture?.uncapturedBytes ?? 0)

/** All that was lost is told, and the vault has the volume again, now and from here on. */
async function assertHealed(scene: VolumeScene): Promise<void> {
  const { world, load } = scene
  await load.answers(60)
  await load.pause()
  load.assertSame(await load.read(), 'the volume')
  await world.until('disk', 'healed', ({ state, problems }) => state === 'protected' && problems.length === 0)
  const at = await world.quietMoment('disk')
  load.assertSame(await contentAt(scene, at), 'the volume at the vault')
}

test(
  'more writes than the log may hold while the vault is away leave a hole that is told, and the vault has all again',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes, options: ['--log-max', '64MiB'] })
    const { world, load, server } = scene
    await load.answers(60)
    await load.pause()
    const before = { at: await world.quietMoment('disk'), content: Buffer.from(load.model) }
    await world.vault.kill()
    await world.untilAgent(
      scene.agent,
      'disk',
      'nothing of it is behind',
      isBehind((bytes) => bytes === 0),
    )
    await using client = await NbdClient.connect({ at: { path: server.folder.nbd } }, new AbortController().signal)
    await client.write(mebi, load.model.subarray(mebi, 2 * mebi))
    await world.untilAgent(
      scene.agent,
      'disk',
      'it is behind by what was written',
      isBehind((bytes) => bytes > mebi),
    )
    await writeMuch(scene, () => givenUp.test(server.said))
    load.resume()
    await load.answers(60)
    await world.vault.start()
    await assertHealed(scene)
    await world.until('disk', 'nothing of it is behind', ({ lagBytes }) => lagBytes === 0)
    assert.ok((await holesOf(scene)).length > 0)
    assert.ok((await contentAt(scene, before.at)).equals(before.content), 'what was before the hole is there')
  },
)

test(
  'where the file system of the log is full history is given up, and the volume goes on',
  { skip: needsRoot, timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, {
      seed,
      bytes,
      prepare: (world, agent) => {
        const volumes = join(agent.folder, 'volumes')
        mkdirSync(volumes)
        mount(volumes, 166 * mebi)
        // A server that has just been killed may not have let go of its files.
        world.atEnd(async () => void execFileSync('umount', ['-l', volumes]))
      },
    })
    const { world, load, server } = scene
    await world.vault.kill()
    await load.answers(60)
    await load.pause()
    await writeMuch(scene, () => givenUp.test(server.said))
    load.resume()
    await load.answers(60)
    await world.vault.start()
    await assertHealed(scene)
    assert.ok((await holesOf(scene)).length > 0)
  },
)

test(
  'a vault that is full holds up no volume, and misses nothing once it has room',
  { skip: needsRoot, timeout: 900_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-full-'))
    mount(folder, 48 * mebi)
    const vaultFolder = join(folder, 'vault')
    mkdirSync(vaultFolder)
    const ballast = join(folder, 'ballast')
    writeFileSync(ballast, Buffer.alloc(30 * mebi))
    const scene = await beginVolume(t, { seed, bytes, vaultFolder })
    t.after(() => {
      execFileSync('umount', [folder])
      rmSync(folder, { recursive: true })
    })
    const { world, load, random, server } = scene
    const client = await NbdClient.connect({ at: { path: server.folder.nbd } }, new AbortController().signal)
    await load.pause()
    const isStalled = async (): Promise<boolean> => (await world.glance())?.stalled === true
    for (let round = 0; !(await isStalled()); round++) {
      assert.ok(round < 200, 'the vault is never full')
      const data = Buffer.from(random.bytes(mebi))
      await client.write(0, data)
      await client.write(0, load.model.subarray(0, mebi))
    }
    await client[Symbol.asyncDispose]()
    load.resume()
    await load.answers(100)
    await waitFor(
      'the source to say so',
      () => world.source('disk'),
      (source) => source?.problems.some(({ code }) => code === 'vault-full') === true,
    )
    rmSync(ballast)
    await assertHealed(scene)
    assert.deepEqual(await holesOf(scene), [])
  },
)

test(
  'a backing that is cut short is told by errors and does not grow again, and what was answered comes back with it',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes })
    const { world, agent, load, backing, server } = scene
    await load.answers(60)
    await load.pause()
    await world.quietMoment('disk')
    // The last of what was written is in the backing: nothing of it is in the memory of the server.
    await agent.process.kill()
    await server.kill()
    await agent.process.start(keptGroup)
    load.assertSame(await load.read(), 'the volume')
    const content = readFileSync(backing)
    const { pid } = server
    const client = await NbdClient.connect({ at: { path: server.folder.nbd } }, new AbortController().signal)
    truncateSync(backing, mebi)
    await assert.rejects(client.read(2 * mebi, mebi), isRefusedOrOver)
    const written = Buffer.alloc(mebi, 7)
    const isAnswered = await client.write(2 * mebi, written).then(
      () => true,
      () => false,
    )
    await until('the server ends by itself', () => pid === undefined || !existsSync(`/proc/${pid}/exe`))
    assert.equal(statSync(backing).size, mebi, 'no write has made it grow again')
    client.destroy(new Error('the test is done with it'))
    await world.until('disk', 'why it is not served', ({ problems }) =>
      problems.some(({ message }) => message.includes(`had ${bytes}`)),
    )
    assert.ok(
      !existsSync(server.folder.nbd) || (await refusesToConnect(server.folder.nbd)),
      'half a volume is not served',
    )
    writeFileSync(backing, content)
    await until('it is served again', async () => !(await refusesToConnect(server.folder.nbd)))
    const found = await load.read()
    if (isAnswered) assert.ok(found.subarray(2 * mebi, 3 * mebi).equals(written), 'what was answered is in the log')
    load.assertSame(
      Buffer.concat([found.subarray(0, 2 * mebi), load.model.subarray(2 * mebi, 3 * mebi), found.subarray(3 * mebi)]),
      'the rest',
    )
    await using again = await NbdClient.connect({ at: { path: server.folder.nbd } }, new AbortController().signal)
    await again.write(2 * mebi, content.subarray(2 * mebi, 3 * mebi))
    load.resume()
    await assertHealed(scene)
    assert.deepEqual(await holesOf(scene), [])
  },
)

/** A server whose backing has shrunk answers by errors, and ends when it notices. */
const isRefusedOrOver = (error: unknown): boolean =>
  (error instanceof NbdRefused && error.error === 'EIO') || isCode(error, 'unreachable')

async function refusesToConnect(path: string): Promise<boolean> {
  try {
    await using _client = await NbdClient.connect({ at: { path } }, new AbortController().signal)
    return false
  } catch {
    return true
  }
}
