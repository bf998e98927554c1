import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import {
  checkDiff,
  checkHistory,
  checkRange,
  checkTree,
  indexKey,
  makeWorld,
  viewOf,
  type World,
} from '../../../test/oracle/judge.ts'
import { MemoryChunks } from '../../../test/oracle/memory-journal.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { rootPath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { Indexer } from '../index/indexer.ts'
import { memoryLocation } from '../index/schema.ts'
import { ContentReader } from '../views/content-reader.ts'
import { listPoints } from '../views/points.ts'
import { chunksInUse } from './chunk-filter.ts'
import { retain, type RetainParts } from './retain.ts'

const seeds = 25
const chunkKey = createSecretKey(Buffer.alloc(32, 3))

async function indexerOf(world: World): Promise<Indexer> {
  const indexer = new Indexer({ location: memoryLocation, indexKey, journal: world.journal, clock: systemClock })
  indexer.durable(world.journal.last)
  await indexer.reached(world.journal.last)
  return indexer
}

const partsOf = (world: World, indexer: Indexer): RetainParts => ({
  indexer,
  content: new ContentReader(world.journal, new MemoryChunks(world.chunks)),
  chunkKey,
  keep: async (chunks) => {
    for (const { id, data } of chunks) world.chunks.set(id, Buffer.from(data))
  },
  segmentStarts: () => world.journal.segmentStarts(),
  writeCheckpoint: (at, when, changes) => world.journal.writeCheckpoint(at, when, changes),
  dropBefore: (at) => world.journal.dropBefore(at),
})

async function startsOf({ journal }: World): Promise<Sequence[]> {
  const starts: Sequence[] = []
  for await (const start of journal.segmentStarts()) starts.push(start)
  return starts
}

/** Deletes every chunk that is not in use; how many that were. */
async function sweep(world: World, indexer: Indexer): Promise<number> {
  const filter = await chunksInUse([indexer])
  const before = world.chunks.size
  for (const id of world.chunks.keys()) if (!filter.has(id)) world.chunks.delete(id)
  return before - world.chunks.size
}

async function judge(world: World, indexer: Indexer, earliest: number): Promise<void> {
  const { rows } = indexer
  const end = world.states.length - 1
  for (const at of [earliest, end, earliest + world.chance.below(end - earliest + 1)]) {
    await checkTree(world, rows, at)
    await checkRange(world, rows, at)
    checkDiff(world, rows, earliest + world.chance.below(at - earliest + 1), at, rootPath)
  }
  for (let count = 0; count < 4; count++) {
    const path = world.random.path()
    if (path !== rootPath) checkHistory(world, rows, path, earliest)
  }
  assert.throws(
    () => viewOf(world, rows, earliest - 1),
    (error) => isCode(error, 'point-unreachable'),
  )
}

test('after retention every kept point reads the same, from this index and from one made anew, and space is free', async () => {
  let freed = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const world = makeWorld(seed)
    await using indexer = await indexerOf(world)
    try {
      let kept = 0
      for (let round = 0; round < 2; round++) {
        const starts = (await startsOf(world)).filter((start) => start > kept + 1)
        const start = starts[Math.floor(starts.length / 2)]
        if (start === undefined) continue
        const { last_moment: when } = indexer.rows.batchAt(start - 1)!
        // Segments that end at the same moment go together.
        kept = (await retain(partsOf(world, indexer), moment(when + 1)))!
        assert.ok(kept >= start - 1 && indexer.rows.batchAt(kept) === undefined)
        freed += await sweep(world, indexer)
        await judge(world, indexer, kept)
        await using anew = await indexerOf(world)
        await judge(world, anew, kept)
        const points = listPoints(indexer.rows, { limit: 1000 })
        assert.deepEqual(listPoints(anew.rows, { limit: 1000 }), points)
        const { files, bytes } = anew.rows.state()
        assert.deepEqual({ files, bytes }, pick(indexer.rows.state()))
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  assert.ok(freed > seeds * 10, `${freed} chunks freed`)
})

const pick = ({ files, bytes }: { files: number; bytes: number }) => ({ files, bytes })

test('retention that is stopped at any step is finished by the next', async () => {
  for (const stopAt of ['keep', 'writeCheckpoint', 'dropBefore', 'after'] as const) {
    const world = makeWorld(7)
    const [, , , start] = await startsOf(world)
    const stop = new Error('stopped')
    const fail = (): Promise<never> => Promise.reject(stop)
    let before: Moment
    {
      await using indexer = await indexerOf(world)
      before = moment(indexer.rows.batchAt(start! - 1)!.last_moment + 1)
      const parts = partsOf(world, indexer)
      if (stopAt === 'after') {
        const dropBefore = async (at: Sequence) => {
          await parts.dropBefore(at)
          throw stop
        }
        await assert.rejects(retain({ ...parts, dropBefore }, before), stop)
      } else await assert.rejects(retain({ ...parts, [stopAt]: fail }, before), stop)
      await retain(parts, before)
      await judge(world, indexer, start! - 1)
    }
    await using anew = await indexerOf(world)
    await judge(world, anew, start! - 1)
  }
})
