import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checkDiff,
  checkHistory,
  checkRange,
  checkTree,
  indexKey,
  indexOf,
  makeWorld,
  packedSmall,
} from '../../../test/oracle/judge.ts'
import { MemoryChunks, MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import type { Change } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import { rootPath, type TreePath } from '../../model/path.ts'
import { beforeFirst, type Sequence } from '../../model/sequence.ts'
import { IndexReader } from '../index/index-reader.ts'
import { IndexWriter } from '../index/index-writer.ts'
import { memoryLocation } from '../index/schema.ts'
import { ContentReader } from './content-reader.ts'
import { diffViews } from './diff.ts'
import { historyOf } from './history.ts'
import { filled, View } from './view.ts'

const seeds = 200

test('any history is seen at any moment as a second telling of it says', async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const world = makeWorld(seed)
    using index = await indexOf(world.journal, seed % 2 === 0 ? packedSmall : undefined)
    const rows = new IndexReader(index.database, index.sealing)
    const end = world.states.length - 1
    try {
      for (let count = 0; count < 5; count++) {
        const at = 1 + world.chance.below(end)
        await checkTree(world, rows, at)
        await checkRange(world, rows, at)
        const within = world.chance.below(3) === 0 ? world.random.path() : rootPath
        const from = 1 + world.chance.below(at)
        const there = [from, at].some((point) => world.states[point]!.names.has(within))
        if (within === rootPath || there) checkDiff(world, rows, from, at, within)
      }
      await checkTree(world, rows, end)
      for (let count = 0; count < 4; count++) {
        const path = world.random.path()
        if (path !== rootPath) checkHistory(world, rows, path, 0)
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
})

test('an index made in pieces, or made again, is the same to the last row', async () => {
  for (let seed = 1000; seed < 1060; seed++) {
    const world = makeWorld(seed)
    using whole = await indexOf(world.journal)
    using pieces = new IndexWriter(memoryLocation, indexKey)
    for await (const stored of world.journal.batches(beforeFirst)) {
      pieces.apply(stored)
      pieces.commit()
      pieces.apply(stored)
    }
    pieces.commit()
    assert.deepEqual(dump(pieces), dump(whole))
    const { files, bytes } = new IndexReader(whole.database, whole.sealing).state()
    const last = world.states.at(-1)!
    const ids = new Set([...last.names.values()].filter((id) => last.nodes.get(id)!.type === 'file'))
    assert.deepEqual(
      { files, bytes },
      { files: ids.size, bytes: [...ids].reduce((sum, id) => sum + last.nodes.get(id)!.bytes.length, 0) },
    )
  }
})

const dump = ({ database }: IndexWriter): unknown[] =>
  ['entry', 'version', 'extent', 'batch', 'mark', 'state'].map((table) =>
    database.prepare(`SELECT * FROM ${table} ORDER BY 1, 2, 3`).all(),
  )

test('writes of one batch make one version, and a difference between any two of them is still told', async () => {
  const journal = new MemoryJournal()
  const disk = 'disk' as TreePath
  const write = (at: number, text: string): Change => ({ kind: 'write', path: disk, at, data: Buffer.from(text) })
  const append = (...changes: Change[]): void =>
    journal.append(changes.map((change) => ({ moment: moment(journal.last + 1), change })))
  append(write(0, 'aaaaaaaa'))
  append(
    write(2, 'b'),
    write(3, 'c'),
    { kind: 'remove', path: 'nothing' as TreePath },
    { kind: 'zero', path: disk, at: 0, bytes: 1 },
  )
  append(write(7, 'd'))
  using index = await indexOf(journal)
  const rows = new IndexReader(index.database, index.sealing)
  const at = (place: number): View =>
    new View({ rows, content: new ContentReader(journal, new MemoryChunks(new Map())), at: place as Sequence })
  const expected = ['aaaaaaaa', 'aabaaaaa', 'aabcaaaa', 'aabcaaaa', '\0abcaaaa', '\0abcaaad']
  for (const [from, before] of expected.entries()) {
    const view = at(from + 1)
    const pieces: Buffer[] = []
    for await (const piece of filled(view.read(view.version(view.find(disk).node)!))) pieces.push(piece)
    assert.equal(Buffer.concat(pieces).toString('latin1'), before)
    for (let to = from; to < expected.length; to++) {
      const told = [...diffViews({ from: at(from + 1), to: at(to + 1) }, rootPath)].map((row) => row?.change)
      assert.deepEqual(told, before === expected[to] ? [] : ['content'], `from ${from + 1} to ${to + 1}`)
    }
  }
  const versions = [...historyOf(rows, disk)].map((row) => row.sequence)
  assert.deepEqual(versions, [1, 2, 6])
})
