import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { HeldClock } from '../../../test/support/held-clock.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  newTestVault,
  openTestVault,
  putFile,
  start,
  write,
} from '../../../test/support/vault-world.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import { isoMoment, type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { defaultPolicy, type Id } from '../../model/source.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { directoryStore } from '../../store/directory.ts'
import type { Store } from '../../store/store.ts'
import { IndexThread } from '../index/index-thread.ts'
import type { Vault } from '../vault.ts'
import { ThreadedViews } from '../views/threaded-views.ts'
import { waitingViews } from '../views/waiting-views.ts'
import { forgetOldHistory, ForgetTurns, freeChunks } from './forget.ts'

const forever = new AbortController().signal
const contentBytes = 30_000

const storedBytes = async (store: Store): Promise<number> =>
  [...(await store.list('packs')), ...(await store.list('journals'))].reduce((sum, { bytes }) => sum + bytes, 0)

async function bytesOf(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

async function withThreads(
  vault: Vault,
  folder: string,
  source: Id,
  use: (parts: { indexes: IndexThread; views: ReturnType<typeof waitingViews> }) => Promise<void>,
): Promise<void> {
  const setup = { directory: join(folder, 'vault'), indexFolder: join(folder, 'indexes'), keys: vault.readerKeys }
  await using indexes = new IndexThread({ setup, vault, clock: systemClock })
  await indexes.add(source, vault.registry.journalKey(source), vault.journal(source).durable)
  using _growing = vault.onDurable(({ source: grown, durable }) => indexes.grown(grown, durable))
  const journalKey = (of: Id): Uint8Array => vault.registry.journalKey(of)
  await using threads = new ThreadedViews({ setup, journalKey, progress: indexes, threads: 1 })
  await use({ indexes, views: waitingViews(threads, indexes, new HeldClock()) })
}

test('what has left the window is gone from the disk, and every point that is kept reads the same bytes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-forget-'))
  try {
    const parts = {
      store: await directoryStore(join(folder, 'vault')),
      clock: systemClock,
      random: systemRandom,
      cataloguePath: join(folder, 'catalogue'),
      limits: { segmentBytes: 4_000, packBytes: 200_000, touchedKeptMs: 0 },
    }
    const contents = Array.from({ length: 60 }, () => randomBytes(contentBytes))
    const inline = randomBytes(300)
    let keptFrom: Sequence = sequence(0)
    let source: Id
    {
      await using vault = await newTestVault(parts)
      const added = await addAgentWithSource(vault, 'web')
      source = added.source
      const appender = await vault.appender(added.agent, source, forever)
      await appender.batch(batchOf(1, [write('inline', 0, inline), write('inline', 100, Buffer.from('patched'))]))
      for (const content of contents) {
        const { chunks, bytes } = blockOf(vault, content)
        await appender.block(bytes)
        await appender.batch(
          batchOf(appender.durable + 1, [putFile('one', chunks), write('log', appender.durable, Buffer.from('x'))]),
        )
      }
      await appender[Symbol.asyncDispose]()
      await withThreads(vault, folder, source, async ({ indexes, views }) => {
        await indexes.reached(source, vault.journal(source).durable)
        const before = await storedBytes(parts.store)
        const now = moment(start + 80 + defaultPolicy.windowMs * 1000)
        const turns = new ForgetTurns(systemClock)
        const reader = moment(start + 40)
        const beneath = await forgetOldHistory({ vault, indexes, turns, held: () => reader }, now, forever)
        const heldAt = (await views.resolve(source, isoMoment(reader), now)).sequence
        assert.ok(beneath.sources.every((one) => one.keptFrom <= heldAt))
        const last = Math.floor((heldAt - 3) / 2)
        const read = await bytesOf(views.content(source, heldAt, 'one' as TreePath, 0, contentBytes))
        assert.deepEqual(read, contents[last], 'what somebody reads is kept')
        const held = (): undefined => undefined
        const forgotten = await forgetOldHistory(
          { vault, indexes, turns: new ForgetTurns(systemClock), held },
          now,
          forever,
        )
        assert.deepEqual(forgotten.failures, [])
        await freeChunks({ vault, indexes }, forever)
        keptFrom = forgotten.sources[0]!.keptFrom
        assert.ok(keptFrom > 20 && keptFrom < 80, `${keptFrom}`)
        const freed = before - (await storedBytes(parts.store))
        const packsMax = 2 * 200_000
        assert.ok(freed > (keptFrom / 2) * contentBytes - packsMax, `${freed} bytes freed from ${before}`)
        assert.deepEqual(
          (await forgetOldHistory({ vault, indexes, turns: new ForgetTurns(systemClock), held }, now, forever)).sources,
          [],
        )
        await judge(views)
      })
    }
    await rm(join(folder, 'indexes'), { recursive: true })
    await using vault = await openTestVault(parts)
    await withThreads(vault, folder, source, ({ views }) => judge(views))

    async function judge(views: ReturnType<typeof waitingViews>): Promise<void> {
      const expected = Buffer.from(inline)
      expected.write('patched', 100)
      const read = (at: number, path: string): Promise<Buffer> =>
        bytesOf(views.content(source, at as Sequence, path as TreePath, 0, contentBytes))
      for (let at = keptFrom as number; at <= 122; at += 7) {
        const last = Math.floor((at - 3) / 2)
        assert.deepEqual(await read(at, 'one'), contents[last], `at ${at}`)
        assert.deepEqual(await read(at, 'inline'), expected)
      }
      for await (const event of views.verify(source, 122 as Sequence)) assert.deepEqual(event.failures, [])
      await assert.rejects(read(keptFrom - 1, 'one'), (error) => isCode(error, 'point-unreachable'))
      const earlier = views.resolve(source, `seq:${keptFrom - 1}`, 0 as Moment)
      await assert.rejects(earlier, (error) => isCode(error, 'point-unreachable'))
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
