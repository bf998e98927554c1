import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import { keptGroup } from '../support/volume-server-process.ts'
import { beginVolume, contentAt, holesOf, type VolumeScene } from './volume-scene.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_126)
const rounds = Number(process.env['TIDEMARK_ROUNDS'] ?? 30)
const zeroLossRounds = Math.ceil(rounds / 6)
const bytes = 4 * 1024 * 1024
/** Every so many rounds what the volume holds is kept, with the moment. */
const recordEvery = 4
/** Sequences of the journal whose state is looked at. */
const looks = 16

type Victim = 'server' | 'agent' | 'vault' | 'client'
const victims: readonly (readonly Victim[])[] = [
  ['server'],
  ['agent'],
  ['vault'],
  ['client'],
  ['server', 'agent'],
  ['server', 'vault'],
  ['agent', 'vault'],
  ['client', 'agent'],
  ['server', 'agent', 'vault'],
]

async function kill({ world, agent, server, load }: VolumeScene, one: Victim): Promise<void> {
  if (one === 'client') await load.killClients()
  else if (one === 'server') await server.kill()
  else await (one === 'agent' ? agent.process : world.vault).kill()
}

async function start({ world, agent }: VolumeScene, one: Victim): Promise<void> {
  if (one === 'agent') await agent.process.start(keptGroup)
  if (one === 'vault') await world.vault.start()
}

/** Kills them at once under load, and starts them again: what was answered is on the volume before anything is sent again. */
async function strike(scene: VolumeScene, all: readonly Victim[], meanwhile: () => Promise<void>): Promise<void> {
  const { load } = scene
  const isServerKilled = all.includes('server')
  if (isServerKilled) load.keepAway()
  await Promise.all(all.map((one) => kill(scene, one)))
  await meanwhile()
  for (const one of all) await start(scene, one)
  if (!isServerKilled) return
  load.assertSurvived(await load.read())
  load.letIn()
}

/** Of any state that the vault tells: whoever was answered before another asked is in it if the other one is. */
async function assertPrefix(scene: VolumeScene, at: string): Promise<void> {
  const { newestSent, missingAnswered } = scene.load.reachOf(await contentAt(scene, at))
  assert.ok(missingAnswered > newestSent, `${at}: event ${missingAnswered} is missing, and ${newestSent} is there`)
}

test(
  'whatever of agent, vault, volume server and clients is killed under load, the volume holds what was answered, and the vault each moment of it',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes })
    const { world, load, random } = scene
    const begun = (await world.source('disk'))?.sequence ?? 0
    let sequence = begun
    const recorded: { readonly at: string; readonly content: Buffer }[] = []
    for (let round = 1; round <= rounds; round++) {
      await load.answers(random.integer(20, 80))
      const all = random.pick(victims)
      sequence = Math.max(sequence, (await world.source('disk'))?.sequence ?? 0)
      await strike(scene, all, async () => {
        if (!all.includes('server') && random.chance(0.5)) await load.answers(random.integer(1, 40))
      })
      const { sequence: after } = await world.until('disk', 'an answer', () => true)
      assert.ok(after >= sequence, `round ${round}: the vault had acknowledged ${sequence} and has ${after}`)
      await load.pause()
      load.assertSame(await load.read(), `round ${round}, ${all.join(' and ')} killed`)
      if (round % recordEvery === 0) recorded.push({ at: await betweenChanges(), content: Buffer.from(load.model) })
      load.resume()
    }
    await load.answers(100)
    await load.pause()
    await world.quietMoment('disk')
    load.assertSame(await contentAt(scene, 'latest'), 'the newest state at the vault')
    for (const { at, content } of recorded) {
      assert.ok((await contentAt(scene, at)).equals(content), `at ${at} the vault has what the volume was`)
    }
    const last = (await world.source('disk'))?.sequence ?? 0
    for (let look = 0; look < looks; look++) await assertPrefix(scene, `seq:${random.integer(begun, last)}`)
    assert.deepEqual(await holesOf(scene), [])
    t.diagnostic(
      `${load.answeredCount} answers, ${load.flushes} flushes, ${load.resent} sent again, ${load.abandoned} left by dead clients; sequences ${begun} to ${last}`,
    )
  },
)

/** A moment that no change has, while none is made. */
async function betweenChanges(): Promise<string> {
  await systemClock.sleep(2)
  const now = isoMoment(moment(systemClock.now()))
  await systemClock.sleep(2)
  return now
}

test(
  'with zero loss, what a flush was answered for is at the vault, whatever is killed under load',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes, options: ['--zero-loss'] })
    const { load, random } = scene
    for (let round = 1; round <= zeroLossRounds; round++) {
      const flushes = load.flushes
      do await load.answers(20)
      while (load.flushes === flushes)
      if (random.chance(0.5)) await strike(scene, random.pick([['agent'], ['vault']]), async () => {})
      const all: readonly Victim[] = random.pick([
        ['server', 'agent'],
        ['server', 'agent', 'vault'],
      ])
      load.keepAway()
      await Promise.all(all.map((one) => kill(scene, one)))
      // Before the server is back and could send what is missing.
      if (all.includes('vault')) await start(scene, 'vault')
      const { missingAnswered, missingForced, newestSent } = load.reachOf(await contentAt(scene, 'latest'))
      const what = `round ${round}, ${all.join(' and ')} killed`
      assert.ok(missingAnswered > load.flushedSent, `${what}: what was flushed is at the vault`)
      assert.deepEqual(missingForced, [], `${what}: what was forced is at the vault`)
      assert.ok(missingAnswered > newestSent, `${what}: in its order`)
      await start(scene, 'agent')
      load.assertSurvived(await load.read())
      load.letIn()
    }
    await load.answers(20)
    await load.pause()
    load.assertSame(await load.read(), 'the volume at the end')
    t.diagnostic(`${zeroLossRounds} rounds, ${load.answeredCount} answers, ${load.flushes} flushes, none lost`)
  },
)
