import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { until } from '../../test/support/until.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import type { Problem } from '../model/report.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../model/source.ts'
import { Releases } from './releases.ts'

const source: SourceDefinition = {
  id: '7'.repeat(32) as Id,
  name: 'orders',
  kind: 'postgres',
  agent: '1'.repeat(32) as Id,
  paths: [],
  exclude: [],
  policy: defaultPolicy,
  paused: false,
}
const triedMsMax = 3_600_000

/** Time that passes only when the test says so; waits are over at once, so that what is tried again is tried often. */
class TriedClock implements Clock {
  #ms = 0

  now(): number {
    return systemClock.now()
  }

  monotonicMs(): number {
    return this.#ms
  }

  passes(ms: number): void {
    this.#ms += ms
  }

  sleep(_: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(1, signal)
  }
}

async function begin(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-releases-'))
  const world = { isAway: true, tries: 0, hasLine: true, told: [] as (readonly Problem[])[] }
  const clock = new TriedClock()
  const lines: string[] = []
  const parts = {
    directory,
    kinds: {
      postgres: {
        letGo: async () => {
          world.tries++
          if (world.isAway)
            throw new TidemarkError('unreachable', { message: 'db2 is away', hint: 'SELECT drop_it();' })
        },
        triedMsMax,
      },
    },
    report: async (_: SourceDefinition, problems: readonly Problem[]) => {
      if (!world.hasLine) throw new TidemarkError('unreachable', { message: 'no line' })
      world.told.push(problems)
    },
    clock,
    random: systemRandom,
    tell: (line: string) => void lines.push(line),
  }
  const start = () => {
    const stop = new AbortController()
    const releases = new Releases(parts)
    const running = releases.run(stop.signal).catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
    const end = async (): Promise<void> => {
      stop.abort(new Error('the test is over'))
      await running
    }
    return { releases, end }
  }
  const first = start()
  t.after(async () => {
    await first.end()
    await rm(directory, { recursive: true })
  })
  return { ...first, world, clock, lines, directory, start }
}

const codes = (told: (readonly Problem[])[]): (string | undefined)[] => told.map(([problem]) => problem?.code)

test('what cannot be let go is tried for so long and no longer, and the vault is told what is left and how it is done by hand', async (t) => {
  const { releases, world, clock, lines } = await begin(t)
  await releases.add(source)
  await until('it is tried again and again', () => world.tries > 3)
  assert.deepEqual(codes(world.told), ['release-waits'])
  assert.equal(releases.status()[0]?.state, 'trying')

  clock.passes(triedMsMax)
  await until('it is left', () => releases.status()[0]?.state === 'left')
  await until('the vault is told', () => world.told.length === 2)
  const [left] = world.told.at(-1) ?? []
  assert.equal(left?.code, 'release-left')
  assert.match(left.message, /db2 is away/)
  assert.match(left.hint ?? '', /^SELECT drop_it\(\);.*--again.*--force/)
  assert.equal(lines.length, 2, 'each is said once')
  const { tries } = world
  releases.vaultReached()
  await until('another vault process is told too', () => world.told.length === 3)
  assert.equal(world.tries, tries, 'it is not tried any more')
})

test('asked for, it is tried again, and when it is done nothing is left and nothing is shown', async (t) => {
  const { releases, world, clock, directory } = await begin(t)
  await releases.add(source)
  await until('it was tried', () => world.tries > 0)
  clock.passes(triedMsMax)
  await until('it is left', () => releases.status()[0]?.state === 'left')
  world.isAway = false
  releases.again('orders')
  await until('it is done', () => releases.status().length === 0)
  await until('the vault is told', () => world.told.at(-1)?.length === 0)
  assert.deepEqual(await readdir(directory), [])
  assert.throws(() => releases.again('orders'), { code: 'not-found' })
})

test('an agent that was started again tries as long as at first; by order what is left is forgotten', async (t) => {
  const { releases, end, start, world, clock, directory } = await begin(t)
  await releases.add(source)
  await until('it was tried', () => world.tries > 0)
  clock.passes(triedMsMax)
  await until('it is left', () => releases.status()[0]?.state === 'left')
  await end()
  const next = start()
  t.after(next.end)
  await until('it is tried', () => next.releases.status()[0]?.state === 'trying')
  await until('it has failed', () => next.releases.status()[0]?.problem !== undefined)
  const [problem] = await next.releases.forget('orders')
  assert.match(problem?.hint ?? '', /SELECT drop_it\(\);/)
  assert.deepEqual(next.releases.status(), [])
  assert.deepEqual(await readdir(directory), [])
})

test('without a line the vault is told as soon as there is one', async (t) => {
  const { releases, world, clock } = await begin(t)
  world.hasLine = false
  await releases.add(source)
  await until('it was tried', () => world.tries > 0)
  clock.passes(triedMsMax)
  await until('it is left', () => releases.status()[0]?.state === 'left')
  world.hasLine = true
  await until('the vault is told', () => world.told.length > 0)
  assert.equal(world.told.at(-1)?.[0]?.code, 'release-left')
})
