import assert from 'node:assert/strict'
import {
  existsSync,
  openSync,
  closeSync,
  ftruncateSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { apiPath } from '../../src/api/client.ts'
import { volumeFolderOf } from '../../src/capture/volume/volume-folder.ts'
import type { Id } from '../../src/model/source.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { Seeded } from '../sim/random.ts'
import { until } from '../support/until.ts'
import { type Agent, command, World } from './harness.ts'

const bytes = 12 * 1024 * 1024
/** The test moves no process out of the control group that it runs in. */
const environment = { TIDEMARK_VOLUME_GROUP: 'keep' }

/** What a user of the volume has written, and what the volume therefore is. */
class User {
  readonly model: Buffer
  readonly #random: Seeded
  readonly #socket: string
  #client: NbdClient | undefined

  constructor(model: Buffer, random: Seeded, socket: string) {
    this.model = model
    this.#random = random
    this.#socket = socket
  }

  get client(): NbdClient {
    assert.ok(this.#client)
    return this.#client
  }

  /** As soon as a server answers. */
  async connect(): Promise<void> {
    await until('the volume is served', async () => {
      try {
        const at = { path: this.#socket }
        this.#client = await NbdClient.connect({ at, exportName: 'disk1' }, new AbortController().signal)
        return true
      } catch {
        return false
      }
    })
  }

  async write(count: number): Promise<void> {
    const random = this.#random
    for (let index = 0; index < count; index++) {
      const at = 512 * random.integer(0, bytes / 512 - 1)
      const length = Math.min(bytes - at, 512 * random.integer(1, random.chance(0.1) ? 600 : 16))
      if (random.chance(0.15)) {
        if (random.chance(0.5)) await this.client.trim(at, length)
        else await this.client.zero(at, length)
        this.model.fill(0, at, at + length)
      } else {
        const data = Buffer.from(random.bytes(length))
        await this.client.write(at, data, { isForced: random.chance(0.1) })
        this.model.set(data, at)
      }
      if (random.chance(0.2)) await this.client.flush()
    }
    await this.client.flush()
  }

  async assertReads(): Promise<void> {
    const read = await this.client.read(0, bytes)
    assert.ok(read.equals(this.model), `byte ${firstDifference(read, this.model)} is what was answered`)
  }
}

test(
  'a volume is restored to any moment exactly, over kills of agent, vault and volume server, and let go unharmed',
  { timeout: 600_000 },
  async (t) => {
    const random = new Seeded(20_261_124)
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start(environment)
    const backing = join(world.folder, 'disk.img')
    const initial = makeBacking(backing, random)
    await world.atAgent(agent, 'protect', 'volume', backing, '--name', 'disk1')
    const { id } = (await world.source('disk1')) ?? assert.fail('it is protected')
    const folder = volumeFolderOf(agent.folder, { id: id as Id })
    endServerAfter(t, folder.said)
    const user = new User(Buffer.from(initial), random, folder.nbd)
    await user.connect()
    const recorded: { at: string; content: Buffer }[] = []
    const record = async (): Promise<void> => {
      const at = await world.quietMoment('disk1')
      recorded.push({ at, content: Buffer.from(user.model) })
    }

    await record()
    await user.write(150)
    await record()

    await agent.process.kill()
    await user.write(100)
    await agent.process.start(environment)
    await user.write(50)
    await record()

    const server = serverOf(folder.said)
    process.kill(server, 'SIGKILL')
    await user.connect()
    await until('another process serves it', () => serverOf(folder.said) !== server)
    await user.assertReads()
    await user.write(100)
    await record()

    await world.vault.kill()
    await user.write(100)
    await world.vault.start()
    await user.write(50)
    await record()

    await refuse(world, [backing], 'in-use')
    const calls = join(world.folder, 'calls')
    const hooks = ['--freeze', `echo freeze >> ${calls}`, '--thaw', `echo thaw >> ${calls}`]
    await world.atAgent(agent, 'mark', 'disk1', 'quiet', ...hooks)
    recorded.push({ at: 'mark:quiet', content: Buffer.from(user.model) })
    assert.equal(readFileSync(calls, 'utf8'), 'freeze\nthaw\n')
    await user.write(50)
    await record()

    for (const { at, content } of recorded) {
      const restored = await contentAt(world, at)
      assert.equal(restored.length, bytes)
      assert.ok(restored.equals(content), `at ${at}, byte ${firstDifference(restored, content)} is what was written`)
    }
    const holes = (await world.atVault('points', 'disk1', '--json', '--limit', '1000')).out
    assert.doesNotMatch(holes, /"kind":"hole"/)
    await letGo(world, agent, user, folder.directory, backing)
  },
)

/** While somebody uses it the volume goes on; then its server ends, and everything is in the backing. */
async function letGo(world: World, agent: Agent, user: User, directory: string, backing: string): Promise<void> {
  await world.atAgent(agent, 'unprotect', 'disk1')
  await until('the agent has let go of it', () =>
    /no longer protected/.test(readFileSync(join(directory, 'server.log'), 'utf8')),
  )
  await user.write(20)
  await user.assertReads()
  await user.client[Symbol.asyncDispose]()
  // While somebody uses it the agent rests ever longer before it tries again.
  await until('the folder of the volume is gone', () => !existsSync(directory), 300_000)
  assert.ok(readFileSync(backing).equals(user.model), 'the backing is the volume')
  // It goes under another name before it is removed.
  await until('nothing of it is left', () => readdirSync(join(agent.folder, 'volumes')).length === 0)
}

test('what cannot be protected is refused with the next step', async (t) => {
  const world = await World.begin(t)
  const folder = world.directory('files')
  writeFileSync(join(folder, 'odd.img'), Buffer.alloc(5000))
  await refuse(world, [join(folder, 'missing.img')], 'not-found')
  await refuse(world, [folder], 'bad-request')
  await refuse(world, [join(folder, 'odd.img')], 'bad-request')
  await refuse(world, [join(folder, 'odd.img'), '--size', '4096'], 'bad-request')
  await refuse(world, [join(folder, 'new.img'), '--size', '1000'], 'bad-request')
})

async function refuse(world: World, args: readonly string[], code: string): Promise<void> {
  const { out } = await command(['--vault', world.vaultFolder, 'protect', 'volume', ...args, '--name', 'x', '--json'])
  const { error } = JSON.parse(out) as { error: { code: string; hint: string } }
  assert.equal(error.code, code, out)
  assert.notEqual(error.hint, '')
}

function makeBacking(path: string, random: Seeded): Buffer {
  const content = Buffer.alloc(bytes)
  const file = openSync(path, 'w')
  ftruncateSync(file, bytes)
  for (let at = 0; at < bytes; at += 2 * 1024 * 1024) {
    const data = Buffer.from(random.bytes(700_000))
    writeSync(file, data, 0, data.length, at)
    content.set(data, at)
  }
  closeSync(file)
  return content
}

async function contentAt(world: World, at: string): Promise<Buffer> {
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const pieces = await client.stream('GET', apiPath('/v1/sources/disk1/content', { at, path: 'disk' }))
  return Buffer.concat(await Array.fromAsync(pieces))
}

const serverOf = (said: string): number =>
  Number([...readFileSync(said, 'utf8').matchAll(/process (\d+) serves/g)].at(-1)?.[1])

/** It outlives its agent, and must not outlive the test. */
function endServerAfter(t: TestContext, said: string): void {
  t.after(() => {
    if (!existsSync(said)) return
    const pid = serverOf(said)
    const told = `/proc/${pid}/cmdline`
    if (existsSync(told) && readFileSync(told, 'utf8').includes('volume\0run')) process.kill(pid, 'SIGKILL')
  })
}

const firstDifference = (one: Buffer, other: Buffer): number => one.findIndex((byte, index) => byte !== other[index])
