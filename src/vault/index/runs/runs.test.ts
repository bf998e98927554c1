import assert from 'node:assert/strict'
import { test } from 'node:test'
import { indexKey, packedSmall } from '../../../../test/oracle/judge.ts'
import { type Chance, seeded } from '../../../../test/oracle/random-changes.ts'
import { attributes } from '../../../../test/support/vault-world.ts'
import type { Change, ChunkId } from '../../../model/change.ts'
import { moment } from '../../../model/moment.ts'
import type { TreePath } from '../../../model/path.ts'
import { sequence } from '../../../model/sequence.ts'
import type { Piece } from '../extent-reader.ts'
import { IndexReader } from '../index-reader.ts'
import { IndexWriter } from '../index-writer.ts'
import { memoryLocation } from '../schema.ts'
import { JournalOrder } from './journal-order.ts'
import type { PackingLimits } from './limits.ts'
import { encodePage, Page, Rows } from './page.ts'

const disk = 'disk' as TreePath
const fileBytes = 2048

/** A file of which the change that brought each byte is known a second time; 0 is zeros. */
class Story {
  readonly index: IndexWriter
  readonly rows: IndexReader
  readonly states: Int32Array[] = [new Int32Array(0)]
  readonly chunks = new Map<string, number>()
  readonly #chance: Chance
  #bytes = 0
  #last = 0

  constructor(chance: Chance, packing: PackingLimits) {
    this.#chance = chance
    this.index = new IndexWriter(memoryLocation, indexKey, packing)
    this.rows = new IndexReader(this.index.database, this.index.sealing)
    this.apply([{ kind: 'put', path: disk, attributes, content: { type: 'file', bytes: fileBytes, extents: [] } }])
  }

  get last(): number {
    return this.#last
  }

  apply(changes: readonly Change[]): void {
    const first = this.#last + 1
    for (const change of changes) {
      this.#last++
      const before = this.states.at(-1) as Int32Array
      this.#bytes = sizeAfter(change, this.#bytes)
      const state = new Int32Array(this.#bytes)
      state.set(before.subarray(0, this.#bytes))
      if (change.kind === 'write') state.fill(this.#last, change.at, change.at + change.data.length)
      if (change.kind === 'zero') state.fill(0, change.at, change.at + change.bytes)
      if (change.kind === 'patch') {
        for (const extent of change.extents) state.fill(this.#last, extent.at, extent.at + extent.bytes)
        for (const { at, bytes } of change.zeros) state.fill(0, at, at + bytes)
      }
      this.states.push(state)
    }
    const stamped = changes.map((change) => ({ moment: moment(1000), change }))
    const batch = { first: sequence(first), settled: true, cursor: Buffer.alloc(0), changes: stamped }
    this.index.apply({ batch, received: moment(1000) })
    if (this.#chance.below(3) > 0) this.index.commit()
  }

  /** What may come as the change `number`. */
  random(number: number): Change {
    const chance = this.#chance
    const range = () => {
      // Some places again and again, with one length or with many.
      const at = chance.below(3) === 0 ? chance.of([512, 520]) : chance.below(fileBytes / 8) * 8
      return { at, bytes: Math.min(chance.of([8, 8, 8, 16, 64, 700]), fileBytes - at) }
    }
    const what = chance.below(20)
    const { at, bytes } = range()
    if (what < 15) return { kind: 'write', path: disk, at, data: Buffer.alloc(bytes, 1) }
    if (what < 17) return { kind: 'zero', path: disk, at, bytes }
    if (what === 17) return { kind: 'truncate', path: disk, bytes: chance.of([fileBytes, fileBytes / 2]) }
    const half = Math.floor(bytes / 2)
    const chunk = `${number}`.padEnd(32, '.')
    this.chunks.set(chunk, number)
    const extents = [{ at, bytes: half, chunk: chunk as ChunkId }]
    const zeros = [{ at: at + half, bytes: bytes - half }]
    return { kind: 'patch', path: disk, attributes, bytes: fileBytes, extents, zeros }
  }

  content(at: number): { content: number; bytes: number } {
    const { content, bytes } = this.rows.version(2, at) ?? assert.fail('the file is there')
    assert.ok(typeof content === 'number' && bytes === this.states[at]?.length)
    return { content, bytes }
  }

  pieces(at: number, start: number, end: number, countMax: number): Piece[] {
    const all: Piece[] = []
    for (let from = start; ;) {
      const pieces = this.rows.extents.pieces(this.content(at), { start: from, end }, at, countMax)
      all.push(...pieces)
      const last = pieces.at(-1)
      if (last === undefined || pieces.length < countMax) return all
      from = last.at + last.bytes
    }
  }

  /** What the pieces say of each byte from `start` up to `end`. */
  told(pieces: readonly Piece[], start: number, end: number): Int32Array {
    const told = new Int32Array(end)
    let reached = 0
    for (const { at, bytes, skip, source } of pieces) {
      assert.ok(at >= reached && bytes > 0, 'ascending, and none over another')
      if ('sequence' in source) assert.equal(at - skip, source.origin)
      told.fill('sequence' in source ? source.sequence : (this.chunks.get(source.chunk) as number), at, at + bytes)
      reached = at + bytes
    }
    return told.subarray(start)
  }
}

function sizeAfter(change: Change, before: number): number {
  switch (change.kind) {
    case 'put':
      return fileBytes
    case 'patch':
    case 'truncate':
      return change.bytes
    case 'write':
      return Math.max(before, change.at + change.data.length)
    case 'zero':
      return Math.max(before, change.at + change.bytes)
    default:
      return before
  }
}

test('of a packed file every byte at every point is that of the newest write over it, however runs were merged', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const chance = seeded(seed)
    const story = new Story(chance, chance.of([packedSmall, { ...packedSmall, rowsPerPage: 7, runsPerLevel: 3 }]))
    while (story.last < 300) {
      const next = story.last + 1
      story.apply(Array.from({ length: 1 + chance.below(9) }, (_, index) => story.random(next + index)))
    }
    story.index.commit()
    for (let count = 0; count < 60; count++) {
      const at = count === 0 ? story.last : 2 + chance.below(story.last - 1)
      const state = story.states[at] as Int32Array
      const start = count < 5 ? 0 : chance.below(state.length)
      const end = count < 5 ? state.length : start + 1 + chance.below(state.length - start)
      const pieces = story.pieces(at, start, end, chance.of([1, 2, 5, 1000]))
      const told = story.told(pieces, start, end).subarray(0, end - start)
      assert.deepEqual(told, state.subarray(start, end), `seed ${seed}, at ${at}, ${start} to ${end}`)
      if (typeof story.rows.version(2, at)?.content !== 'number') continue
      checkJournalOrder(story, at, chance.of([1, 3, 1000]))
      const from = chance.below(at + 1)
      const isWritten = story.rows.extents.isWritten(story.content(at).content, from, at)
      assert.equal(isWritten, at > Math.max(from, 1), `seed ${seed}, from ${from} to ${at}`)
    }
  }
})

/** Pieces that stand in the journal come in its order, whole. */
function checkJournalOrder(story: Story, at: number, countMax: number): void {
  const whole = story.pieces(at, 0, fileBytes, 1000).filter(({ source }) => 'sequence' in source)
  const told: Piece[] = []
  for (let after = { location: 0, at: Number.MAX_SAFE_INTEGER, since: 0 }; ;) {
    const found = story.rows.extents.journalPieces(story.content(at), after, at, countMax)
    told.push(...found.map(({ piece }) => piece))
    const last = found.at(-1)
    if (last === undefined || found.length < countMax) break
    after = last.key
  }
  assert.deepEqual(told.map(placed), whole.toSorted(byJournal).map(placed))
}

const sequenceOf = ({ source }: Piece): number => ('sequence' in source ? source.sequence : 0)
const byJournal = (a: Piece, b: Piece): number => sequenceOf(a) - sequenceOf(b) || a.at - b.at
const placed = ({ at, bytes, skip, cut, source }: Piece) => ({ at, bytes, skip, cut, source })

test('pieces are brought into the order of the journal some at a time', () => {
  const chance = seeded(4)
  const pieces = Array.from({ length: 200 }, (_, at): Piece => {
    const source = { sequence: sequence(1 + chance.below(60)), origin: at }
    return { at, bytes: 1, skip: 0, cut: false, isEnd: false, source }
  })
  const told: Piece[] = []
  for (let after = { location: 0, at: 0 }; told.length < pieces.length;) {
    const order = new JournalOrder({ content: 1, at: 1, bytes: 200 }, after, 9)
    for (const piece of pieces) order.add(piece)
    order.finish()
    for (let found = order.behind(after, 4); found !== undefined; found = order.behind(after, 4)) {
      told.push(...found)
      const last = found.at(-1)
      if (last === undefined) break
      after = { location: sequenceOf(last), at: last.at }
    }
  }
  assert.deepEqual(told, pieces.toSorted(byJournal))
})

test('a page gives back its rows, whatever their widths', () => {
  const chance = seeded(5)
  for (let round = 0; round < 200; round++) {
    const unit = chance.of([1, 7, 512, 4096, 2 ** 22])
    const reach = chance.of([1, 60, 60_000, 2 ** 28])
    const rows = new Rows(1)
    const isOneLength = chance.below(2) === 0
    const places = Array.from({ length: 1 + chance.below(50) }, () => chance.below(reach) * unit).sort((a, b) => a - b)
    for (const at of places) {
      const since = chance.of([1, 2 ** 40]) + chance.below(chance.of([10, 100_000, 2 ** 30]))
      rows.push(2 ** 41 + at, since, isOneLength ? 4096 : 1 + chance.below(2 ** 20), chance.below(chance.of([1, 3])))
    }
    const page = new Page(encodePage(rows))
    assert.equal(page.count, rows.count)
    for (let row = 0; row < rows.count; row++) {
      const told = [page.at(row), page.since(row), page.bytes(row), page.kind(row)]
      assert.deepEqual(told, [rows.at[row], rows.since[row], rows.bytes[row], rows.kind[row]])
    }
    const place = 2 ** 41 + chance.of(places)
    assert.equal(page.firstFrom(place), rows.at.subarray(0, rows.count).indexOf(place))
  }
})
