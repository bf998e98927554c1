import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import { indexKey, packedSmall } from '../../../test/oracle/judge.ts'
import { MemoryChunks, MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { type Chance, seeded } from '../../../test/oracle/random-changes.ts'
import { attributes } from '../../../test/support/vault-world.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import type { Change, ChunkId } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Piece } from '../index/extent-reader.ts'
import { Indexer } from '../index/indexer.ts'
import type { PackingLimits } from '../index/runs/limits.ts'
import { memoryLocation } from '../index/schema.ts'
import { ContentReader } from '../views/content-reader.ts'
import { filled, View } from '../views/view.ts'
import { chunksInUse } from './chunk-filter.ts'
import { retain, type RetainParts } from './retain.ts'

const disk = 'image' as TreePath
const packed: Partial<PackingLimits> = { fileBytesMin: 0 }
const chunkKey = createSecretKey(Buffer.alloc(32, 3))

/** A volume in a journal, and what was done to it, told a second time by bytes and places alone. */
class VolumeStory {
  readonly journal = new MemoryJournal()
  readonly chunks = new Map<ChunkId, Buffer>()
  readonly bytes: number
  readonly #chance: Chance
  readonly #done: { readonly at: number; readonly data: Buffer }[] = []

  constructor(chance: Chance, bytes: number) {
    this.#chance = chance
    this.bytes = bytes
    this.#append([{ kind: 'put', path: disk, attributes, content: { type: 'file', bytes, extents: [] } }])
  }

  /** After a change; the first one made the disk. */
  stateAt(change: number): Buffer {
    const state = Buffer.alloc(this.bytes)
    for (const { at, data } of this.#done.slice(0, change - 1)) state.set(data, at)
    return state
  }

  #append(changes: readonly Change[]): void {
    const first = this.journal.last + 1
    this.journal.append(changes.map((change, index) => ({ moment: moment(1000 + first + index), change })))
  }

  #random(at: number, bytes: number): Change {
    const isZero = this.#chance.below(10) === 0
    const data = Buffer.from(Array.from({ length: bytes }, () => (isZero ? 0 : 1 + this.#chance.below(255))))
    this.#done.push({ at, data })
    return isZero ? { kind: 'zero', path: disk, at, bytes } : { kind: 'write', path: disk, at, data }
  }

  /** Batches of writes, and of some zeros, at multiples of `unit`; then a segment ends. */
  write(count: number, { unit, unitsMax = 1, batch = 8 }: { unit: number; unitsMax?: number; batch?: number }): void {
    const chance = this.#chance
    for (let left = count; left > 0;) {
      const changes = Array.from({ length: Math.min(1 + chance.below(batch), left) }, () => {
        const units = 1 + chance.below(unitsMax)
        return this.#random(chance.below(Math.floor(this.bytes / unit) - units + 1) * unit, units * unit)
      })
      this.#append(changes)
      left -= changes.length
    }
    this.journal.seal()
  }

  /** So many bytes at each of the places; then a segment ends. */
  writeAt(places: readonly number[], bytes: number): void {
    for (const at of places) {
      const data = Buffer.alloc(bytes, `${at} `)
      this.#done.push({ at, data })
      this.#append([{ kind: 'write', path: disk, at, data }])
    }
    this.journal.seal()
  }

  async index(packing: Partial<PackingLimits> = {}): Promise<Indexer> {
    const { journal } = this
    const indexer = new Indexer({ location: memoryLocation, indexKey, journal, clock: systemClock, packing })
    await this.indexed(indexer)
    return indexer
  }

  async indexed(indexer: Indexer): Promise<void> {
    indexer.durable(this.journal.last)
    await indexer.reached(this.journal.last)
  }

  parts(indexer: Indexer): RetainParts {
    return {
      indexer,
      content: this.content(),
      chunkKey,
      keep: async (chunks) => {
        for (const { id, data } of chunks) this.chunks.set(id, Buffer.from(data))
      },
      segmentStarts: () => this.journal.segmentStarts(),
      writeCheckpoint: (at, when, changes) => this.journal.writeCheckpoint(at, when, changes),
      dropBefore: (at) => this.journal.dropBefore(at),
    }
  }

  content(): ContentReader {
    return new ContentReader(this.journal, new MemoryChunks(this.chunks))
  }

  view(indexer: Indexer, at: number): View {
    return new View({ rows: indexer.rows, content: this.content(), at: at as Sequence })
  }

  async assertReads(indexer: Indexer, at: number, start = 0, end = this.bytes): Promise<void> {
    const view = this.view(indexer, at)
    const parts: Buffer[] = []
    for await (const part of filled(view.read(versionOf(view), start, end))) parts.push(part)
    assert.ok(Buffer.concat(parts).equals(this.stateAt(at).subarray(start, end)), `bytes ${start} to ${end} at ${at}`)
  }

  /** Forgets what came before the change `at`, with which a segment ends. */
  async forget(indexer: Indexer, at: Sequence, parts: Partial<RetainParts> = {}): Promise<void> {
    const kept = await retain({ ...this.parts(indexer), ...parts }, moment(1000 + at + 1))
    assert.equal(kept, at)
  }
}

const versionOf = (view: View) => view.version(view.find(disk).node) ?? assert.fail('the disk is there')
const piecesAt = (view: View): Piece[] => [...view.pieces(versionOf(view))]

/** Deletes every chunk that is not in use. */
async function sweep(story: VolumeStory, indexer: Indexer): Promise<void> {
  const filter = await chunksInUse([indexer])
  for (const id of story.chunks.keys()) if (!filter.has(id)) story.chunks.delete(id)
}

test('neighbours become one chunk, over many turns of retention, and every kept point reads the same', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const chance = seeded(seed)
    const story = new VolumeStory(chance, 16 * 1024)
    const packing = seed % 2 === 0 ? packedSmall : {}
    await using indexer = await story.index(packing)
    const regionBytes = chance.of([512, 1024, 4096])
    // Of which many turns read again what stands in the journal.
    const limits = { regionBytes, heldBytesMax: chance.of([2_000, 1_000_000]), regionsMax: chance.of([3, 1000]) }
    const unit = chance.of([64, 64, 10])
    for (let turn = 0; turn < 4; turn++) {
      story.write(100, { unit, unitsMax: 6 })
      const kept = story.journal.last
      story.write(60, { unit, unitsMax: 6 })
      await story.indexed(indexer)
      await story.forget(indexer, kept, { limits })
      await sweep(story, indexer)
      await using anew = await story.index(packing)
      for (const one of [indexer, anew]) {
        for (const point of [kept, kept + chance.below(story.journal.last - kept + 1), story.journal.last]) {
          await story.assertReads(one, point)
          const start = chance.below(16 * 1024)
          await story.assertReads(one, point, start, start + chance.below(16 * 1024 - start))
        }
      }
      const pieces = piecesAt(story.view(indexer, kept))
      assert.deepEqual(piecesAt(story.view(anew, kept)).map(bare), pieces.map(bare), `seed ${seed}`)
      for (const { cut, source, bytes } of pieces) {
        assert.ok(!cut && 'chunk' in source && story.chunks.get(source.chunk)?.length === bytes)
      }
      const regions = (16 * 1024) / regionBytes
      const gaps = pieces.filter(
        (piece, index) => piece.at !== (pieces[index - 1]?.at ?? 0) + (pieces[index - 1]?.bytes ?? 0),
      )
      const crossing = pieces.filter(
        ({ at: from, bytes }) => Math.floor(from / regionBytes) !== Math.floor((from + bytes - 1) / regionBytes),
      )
      assert.ok(
        pieces.length <= regions + gaps.length + 2 * crossing.length,
        `${pieces.length} pieces, ${regions} regions`,
      )
    }
  }
})

const bare = ({ at, bytes, source }: Piece) => ({ at, bytes, source })

for (const [packing, what] of [
  [{}, 'of a small file'],
  [packedSmall, 'of one that is packed'],
] as const)
  test(`rows ${what} become as few as the chunks, where nothing was written over since`, async () => {
    const story = new VolumeStory(seeded(5), 64 * 1024)
    await using indexer = await story.index(packing)
    story.write(3000, { unit: 64 })
    await story.indexed(indexer)
    const kept = story.journal.last
    await story.forget(indexer, kept)
    const pieces = piecesAt(story.view(indexer, kept))
    const { count } = (await indexer.exclusively(({ database }) =>
      database.prepare('SELECT count(*) AS count FROM extent').get(),
    )) as { count: number }
    assert.equal(count, pieces.length)
    assert.ok(count < 200, `${count}`)
  })

test('a backlog that is too large to be merged is settled as it stands', async () => {
  const story = new VolumeStory(seeded(6), 16 * 1024)
  await using indexer = await story.index()
  story.write(200, { unit: 64, unitsMax: 4 })
  await story.indexed(indexer)
  const kept = story.journal.last
  await story.forget(indexer, kept, { limits: { mergedBytesMax: 1000 } })
  await story.assertReads(indexer, kept)
  await using anew = await story.index()
  await story.assertReads(anew, kept)
})

test('a view that is read while retention moves what it reads has the same bytes, or says that its point is gone', async () => {
  for (const [at, packing] of [
    ['forgotten', {}],
    ['forgotten', packed],
    ['kept', packed],
    ['kept', {}],
    ['last', packed],
  ] as const) {
    const story = new VolumeStory(seeded(7), 6000 * 64)
    await using indexer = await story.index(packing)
    // More pieces than one look into the index brings.
    story.write(9000, { unit: 64, batch: 500 })
    const boundary = story.journal.last
    story.write(500, { unit: 64, batch: 500 })
    const point = { forgotten: boundary - 10, kept: boundary, last: story.journal.last }[at]
    await story.indexed(indexer)
    const view = story.view(indexer, point)
    const parts: Buffer[] = []
    let bytes = 0
    let isForgotten = false
    const reading = async (): Promise<void> => {
      for await (const part of filled(view.read(versionOf(view)))) {
        parts.push(part)
        bytes += part.length
        if (isForgotten || bytes < 100_000) continue
        isForgotten = true
        await story.forget(indexer, boundary)
        await sweep(story, indexer)
      }
    }
    if (at === 'forgotten') {
      await assert.rejects(reading(), (error) => isCode(error, 'point-unreachable') || isCode(error, 'not-found'))
    } else await reading()
    assert.ok(isForgotten)
    const read = Buffer.concat(parts)
    assert.ok(read.equals(story.stateAt(point).subarray(0, read.length)), at)
    if (at !== 'forgotten') assert.equal(read.length, 6000 * 64)
  }
})

test('a neighbour that is damaged stays where it is, and keeps nothing from being forgotten', async () => {
  const story = new VolumeStory(seeded(8), 4096)
  await using indexer = await story.index()
  story.writeAt([0, 128], 64)
  await story.indexed(indexer)
  const first = story.journal.last
  await story.forget(indexer, first, { limits: { regionBytes: 64 } })
  const [damaged] = piecesAt(story.view(indexer, first))
  assert.ok(damaged !== undefined && 'chunk' in damaged.source)
  const { chunk } = damaged.source
  story.writeAt([64, 192], 64)
  await story.indexed(indexer)
  const chunks = new MemoryChunks(story.chunks)
  const content = new ContentReader(story.journal, {
    read: (id) => (id === chunk ? Promise.reject(new TidemarkError('damaged', { message: 'it is' })) : chunks.read(id)),
  })
  const kept = story.journal.last
  await story.forget(indexer, kept, { content })
  await story.assertReads(indexer, kept)
  const pieces = piecesAt(story.view(indexer, kept))
  assert.deepEqual(
    pieces.map(({ at, bytes }) => [at, bytes]),
    [
      [0, 64],
      [64, 192],
    ],
  )
  assert.deepEqual(pieces[0]?.source, { chunk })
})
