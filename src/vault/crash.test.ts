import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { scratchFolder } from '../../test/support/memory-vault.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  collect,
  newTestVault,
  openTestVault,
  putFile,
  start,
  write,
} from '../../test/support/vault-world.ts'
import type { Clock } from '../base/clock.ts'
import type { Chunk } from '../format/block.ts'
import { decodeBatch } from '../format/batch.ts'
import type { Change } from '../model/change.ts'
import { beforeFirst, type Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import type { Vault } from './vault.ts'

const seeds = 100
const limits = { segmentBytes: 3000, packBytes: 20_000, waitingBytesMax: 30_000 }

/** What an agent did: every batch it ever sent, by first sequence, and what it was told is durable. */
interface Story {
  readonly agent: Id
  readonly source: Id
  acknowledged: Sequence
  readonly sent: Map<number, Buffer>
  readonly contents: Buffer[]
}

test('whenever the vault ends, what was acknowledged is there, in order and once, and nothing that was not sent', async (context) => {
  const folder = await scratchFolder(context)
  for (let seed = 0; seed < seeds; seed++) {
    try {
      await runSeed(seed, seed % 3 === 0 ? join(folder, `${seed}`) : ':memory:')
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
})

async function runSeed(seed: number, cataloguePath: string): Promise<void> {
  const random = new Seeded(seed)
  const disk = new MemoryDisk({ random: random.fork('disk') })
  const parts = { random: random.fork('vault'), cataloguePath, limits }
  const stories: Story[] = []
  {
    await using vault = await newTestVault({ ...parts, store: disk.store(), clock: livingClock({ alive: true }) })
    for (const name of ['a', 'b']) {
      stories.push({
        ...(await addAgentWithSource(vault, name)),
        acknowledged: beforeFirst,
        sent: new Map(),
        contents: [],
      })
    }
  }
  for (let life = 0; life < 4; life++) {
    const living = { alive: true }
    const ended = Promise.withResolvers<void>()
    disk.endAfter(random.integer(1, 150), random.chance(0.7) ? 'power' : 'process', () => {
      living.alive = false
      ended.resolve()
    })
    const store = disk.store()
    const work = async (): Promise<void> => {
      const vault = await openTestVault({ ...parts, store, clock: livingClock(living) })
      assert.deepEqual(vault.damage, [])
      for (const story of stories) await check(vault, story)
      await Promise.all(stories.map((story) => append(vault, story, random.fork(`${life} ${story.source}`))))
      await vault[Symbol.asyncDispose]()
    }
    await Promise.race([work(), ended.promise])
    living.alive = false
  }
  disk.endAfter(Infinity, 'process', () => undefined)
  await using vault = await openTestVault({ ...parts, store: disk.store(), clock: livingClock({ alive: true }) })
  for (const story of stories) await check(vault, story)
}

async function append(vault: Vault, story: Story, random: Seeded): Promise<void> {
  const appender = await vault.appender(story.agent, story.source, new AbortController().signal)
  let next = appender.durable + 1
  const underWay: Promise<void>[] = []
  for (let count = 0; count < 12; count++) {
    const changes: Change[] = []
    if (random.chance(0.6)) {
      const chunks = await sendBlock(vault, story, appender, random)
      changes.push(putFile(`file-${random.integer(0, 5)}`, chunks))
    }
    for (let index = random.integer(0, 3); index >= 0; index--) {
      changes.push(write('log', random.integer(0, 100), random.bytes(random.skewed(1, 800))))
    }
    const bytes = batchOf(next, changes)
    for (const first of story.sent.keys()) if (first >= next) story.sent.delete(first)
    story.sent.set(next, bytes)
    next += changes.length
    const last = next - 1
    underWay.push(
      appender.batch(bytes).then(() => {
        assert.equal(appender.durable >= last, true)
        story.acknowledged = Math.max(story.acknowledged, last) as Sequence
      }),
    )
    if (random.chance(0.5)) await Promise.all(underWay)
  }
  await Promise.all(underWay)
}

async function sendBlock(
  vault: Vault,
  story: Story,
  appender: Awaited<ReturnType<Vault['appender']>>,
  random: Seeded,
): Promise<Chunk[]> {
  const contents = Array.from({ length: random.integer(1, 3) }, () => {
    const known = story.contents.length > 0 && random.chance(0.3)
    return known ? random.pick(story.contents) : Buffer.from(random.bytes(random.skewed(1, 4000)))
  })
  story.contents.push(...contents)
  const { chunks, bytes } = blockOf(vault, ...contents)
  if (appender.missing(chunks.map(({ id }) => id)).some((missing) => missing)) await appender.block(bytes)
  return chunks
}

async function check(vault: Vault, story: Story): Promise<void> {
  const journal = vault.journal(story.source)
  assert.ok(
    journal.durable >= story.acknowledged,
    `${journal.durable} is durable, ${story.acknowledged} was acknowledged`,
  )
  story.acknowledged = journal.durable
  let next = 1
  for (const { batch } of await collect(journal.batches(beforeFirst))) {
    assert.equal(batch.first, next)
    const sent = story.sent.get(next)
    assert.ok(sent, `nothing was sent from ${next} on`)
    assert.deepEqual(batch, decodeBatch(sent))
    next += batch.changes.length
    for (const { change } of batch.changes) await checkChunks(vault, change)
  }
  assert.equal(next - 1, journal.durable)
}

async function checkChunks(vault: Vault, change: Change): Promise<void> {
  if (change.kind !== 'put' || change.content.type !== 'file') return
  for (const extent of change.content.extents) {
    if ('chunk' in extent) assert.equal((await vault.chunks.read(extent.chunk)).length, extent.bytes)
  }
}

/** Time that passes at once, and stands still for those who are gone. */
function livingClock(living: { alive: boolean }): Clock {
  let ms = 0
  return {
    now: () => start + ms * 1000,
    monotonicMs: () => ms,
    sleep: (rest, signal) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => living.alive && reject(signal.reason), { once: true })
        setImmediate(() => {
          ms += rest
          if (living.alive) resolve()
        })
      }),
  }
}
