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
  packedSmall,
  viewOf,
  type World,
} from '../../../test/oracle/judge.ts'
import { MemoryChunks, MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { rootPath, treePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { Indexer } from '../index/indexer.ts'
import type { PackingLimits } from '../index/runs/limits.ts'
import { memoryLocation } from '../index/schema.ts'
import { ContentReader } from '../views/content-reader.ts'
import { manifestOf, tellInline } from '../views/manifest.ts'
import { listPoints } from '../views/points.ts'
import { View } from '../views/view.ts'
import { chunksInUse } from './chunk-filter.ts'
import { retain, type RetainParts } from './retain.ts'

const seeds = 25
const chunkKey = createSecretKey(Buffer.alloc(32, 3))

type Kept = Pick<World, 'journal' | 'chunks'>

async function indexerOf(world: Kept, packing: Partial<PackingLimits> = {}): Promise<Indexer> {
  const { journal } = world
  const indexer = new Indexer({ location: memoryLocation, indexKey, journal, clock: systemClock, packing })
  indexer.durable(world.journal.last)
  await indexer.reached(world.journal.last)
  return indexer
}

const partsOf = (world: Kept, indexer: Indexer): RetainParts => ({
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
    const packing = seed % 2 === 0 ? packedSmall : {}
    await using indexer = await indexerOf(world, packing)
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
        await using anew = await indexerOf(world, packing)
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
  for (const [stopAt, packing] of [
    ['keep', {}],
    ['keep', packedSmall],
    ['writeCheckpoint', {}],
    ['writeCheckpoint', packedSmall],
    ['dropBefore', {}],
    ['after', packedSmall],
  ] as const) {
    const world = makeWorld(7)
    const [, , , start] = await startsOf(world)
    const stop = new Error('stopped')
    const fail = (): Promise<never> => Promise.reject(stop)
    let before: Moment
    {
      await using indexer = await indexerOf(world, packing)
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

/** A file of two writes, each in a segment of its own, and a third segment. */
function shortWorld(): Kept {
  const journal = new MemoryJournal()
  for (const [index, text] of ['one', 'two', 'end'].entries()) {
    const change = { kind: 'write', path: treePath('log'), at: index * 3, data: Buffer.from(text) } as const
    journal.append([{ moment: moment(1000 + index), change }])
    journal.seal()
  }
  return { journal, chunks: new Map() }
}

test('a manifest that is told while retention moves what it tells goes on with the same bytes', async () => {
  const world = shortWorld()
  await using indexer = await indexerOf(world)
  const parts = partsOf(world, indexer)
  const content = new ContentReader(world.journal, new MemoryChunks(world.chunks))
  const view = new View({ rows: indexer.rows, content, at: world.journal.last })
  const data: Uint8Array[] = []
  let kept: Sequence | undefined
  for await (const change of manifestOf(view, [rootPath], async (...piece) => {
    kept ??= await retain(parts, moment(1002))
    return tellInline(...piece)
  })) {
    if (change.kind !== 'put' || change.content.type !== 'file') continue
    for (const extent of change.content.extents) if ('data' in extent) data.push(extent.data)
  }
  assert.equal(kept, 2)
  await assert.rejects(world.journal.batchOf(1 as Sequence), (error) => isCode(error, 'not-found'))
  assert.equal(Buffer.concat(data).toString(), 'onetwoend')
})

test('retention of an index that is closed meanwhile is interrupted', async () => {
  for (const step of ['segmentStarts', 'keep', 'writeCheckpoint', 'dropBefore'] as const) {
    const world = shortWorld()
    const indexer = await indexerOf(world)
    const parts = partsOf(world, indexer)
    const closing: RetainParts = {
      ...parts,
      async *segmentStarts() {
        if (step === 'segmentStarts') await indexer[Symbol.asyncDispose]()
        yield* parts.segmentStarts()
      },
      keep: async (chunks) => {
        if (step === 'keep') await indexer[Symbol.asyncDispose]()
        return parts.keep(chunks)
      },
      writeCheckpoint: async (...told) => {
        if (step === 'writeCheckpoint') await indexer[Symbol.asyncDispose]()
        return parts.writeCheckpoint(...told)
      },
      dropBefore: async (at) => {
        if (step === 'dropBefore') await indexer[Symbol.asyncDispose]()
        return parts.dropBefore(at)
      },
    }
    const interrupted = (error: unknown): boolean => isCode(error, 'interrupted')
    await assert.rejects(retain(closing, moment(1002)), interrupted, step)
    await assert.rejects(
      indexer.exclusively(() => undefined),
      interrupted,
    )
    await assert.rejects(indexer.reached(99 as Sequence), interrupted)
    await using anew = await indexerOf(world)
    assert.equal((await retain(partsOf(world, anew), moment(1002))) ?? 2, 2)
  }
})
