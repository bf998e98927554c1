import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { keptGroup } from '../support/volume-server-process.ts'
import { until } from '../support/until.ts'
import { beginVolume, type VolumeScene } from './volume-scene.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_130)
const bytes = 2 * 1024 * 1024
const rounds = 3
const writesMax = 12

/** The only user of a volume, and what it has been answered for. */
class User {
  readonly content: Buffer
  readonly #scene: VolumeScene
  #client: NbdClient | undefined

  private constructor(scene: VolumeScene) {
    this.#scene = scene
    this.content = Buffer.from(scene.load.model)
  }

  static async of(scene: VolumeScene): Promise<User> {
    await scene.load.pause()
    const user = new User(scene)
    scene.world.atEnd(async () => user.#client?.destroy(new Error('the test is over')))
    return user
  }

  async client(): Promise<NbdClient> {
    const { folder } = this.#scene.server
    return (this.#client ??= await NbdClient.connect({ at: { path: folder.nbd } }, new AbortController().signal))
  }

  /** Which says nothing of where it is kept. */
  async write(): Promise<void> {
    const { random } = this.#scene
    const client = await this.client()
    for (let count = random.integer(1, writesMax); count > 0; count--) {
      const at = 512 * random.integer(0, bytes / 512 - 64)
      const data = Buffer.from(random.bytes(512 * random.integer(1, 64)))
      await client.write(at, data)
      this.content.set(data, at)
    }
  }

  async flush(): Promise<void> {
    await (await this.client()).flush()
  }

  /** Over a new connection, once there is a server again. */
  async comesBack(): Promise<void> {
    await until('the volume is served again', async () => {
      this.#client = undefined
      return this.flush().then(
        () => true,
        () => false,
      )
    })
  }
}

/** With a first write that the vault has. */
async function beginZeroLoss(t: TestContext, option: string): Promise<{ scene: VolumeScene; user: User }> {
  const scene = await beginVolume(t, { seed, bytes, options: [option] })
  const user = await User.of(scene)
  await user.write()
  await user.flush()
  return { scene, user }
}

/** From the vault alone: nothing can come to it any more. The agent runs again afterwards. */
async function assertAtVault({ world, agent }: VolumeScene, user: User, when: string): Promise<void> {
  await agent.process.kill()
  const restored = join(world.folder, 'restored.img')
  await world.restore('disk', 'latest', restored)
  assert.ok(readFileSync(restored).equals(user.content), `${when}, what was flushed is at the vault`)
  rmSync(restored)
  await agent.process.start(keptGroup)
}

/** What the agent says is wrong with the volume. */
async function untilTold({ world, agent }: VolumeScene, code: string): Promise<void> {
  await world.untilAgent(agent, 'disk', code, ({ capture }) =>
    (capture?.problems ?? []).some((problem) => problem.code === code),
  )
}

/** The vault knows of spans in which flushes did not wait for it: the first begins between these two, and the last ends after `to`. */
async function assertSpan({ world }: VolumeScene, from: string, answered: string, to: string): Promise<void> {
  let spans: { readonly since: string; readonly over: string }[] = []
  await until('the span is at the vault', async () => {
    const { out } = await world.atVault('points', 'disk', '--json', '--limit', '100000')
    const said = out.matchAll(/did not wait for the vault from (\S+?Z) to (\S+?Z)/g)
    spans = [...said].map(([, since = '', over = '']) => ({ since, over }))
    return spans.some(({ over }) => to <= over)
  })
  const [since = ''] = spans.map((span) => span.since).toSorted()
  assert.ok(from <= since && since <= answered, `without protection from ${from}, told from ${since}`)
}

test(
  'with zero loss no flush is answered while the vault is away, and each that is answered is at the vault at that moment',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes, options: ['--zero-loss'] })
    const { world } = scene
    const user = await User.of(scene)
    for (let round = 1; round <= rounds; round++) {
      await user.write()
      await user.flush()
      await assertAtVault(scene, user, `round ${round}, the vault near`)
      await world.vault.kill()
      await user.write()
      let isAnswered = false
      const flushed = user.flush().then(() => (isAnswered = true))
      await untilTold(scene, 'zero-loss-blocked')
      assert.equal(isAnswered, false, 'a flush waits for the vault')
      await world.vault.start()
      await flushed
      await assertAtVault(scene, user, `round ${round}, the vault back`)
    }
  },
)

test(
  'with zero loss that degrades a flush goes on without a vault that is away, and the span without protection is a mark',
  { timeout: 900_000 },
  async (t) => {
    const { scene, user } = await beginZeroLoss(t, '--zero-loss=degrade:1s')
    const { world } = scene
    await world.vault.kill()
    const away = isoMoment(moment(systemClock.now()))
    await user.write()
    await user.flush()
    await untilTold(scene, 'zero-loss-degraded')
    await user.write()
    await user.flush()
    const back = isoMoment(moment(systemClock.now()))
    await world.vault.start()
    await assertSpan(scene, away, back, back)
    await user.write()
    await user.flush()
    await assertAtVault(scene, user, 'after the span')
  },
)

test(
  'a span without protection comes to the vault also where agent and volume server are killed before it is over',
  { timeout: 900_000 },
  async (t) => {
    const { scene, user } = await beginZeroLoss(t, '--zero-loss=degrade:1s')
    const { world, agent, server } = scene
    await world.vault.kill()
    const away = isoMoment(moment(systemClock.now()))
    await user.write()
    await user.flush()
    const answered = isoMoment(moment(systemClock.now()))
    await agent.process.kill()
    await server.kill()
    await world.vault.start()
    await agent.process.start(keptGroup)
    await assertSpan(scene, away, answered, answered)
  },
)

test(
  'a volume with zero loss that is paused is served on, makes no flush wait, and the span of the pause is a mark',
  { timeout: 900_000 },
  async (t) => {
    const { scene, user } = await beginZeroLoss(t, '--zero-loss')
    const { world, server } = scene
    const before = isoMoment(moment(systemClock.now()))
    await world.atVault('pause', 'disk')
    await user.write()
    await user.flush()
    const answered = isoMoment(moment(systemClock.now()))
    await server.kill()
    await user.comesBack()
    await user.write()
    await user.flush()
    const paused = isoMoment(moment(systemClock.now()))
    await world.atVault('resume', 'disk')
    // One each of the two servers.
    await assertSpan(scene, before, answered, paused)
    await user.write()
    await user.flush()
    await assertAtVault(scene, user, 'after the pause')
  },
)
