import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { indexOf } from '../../../test/oracle/judge.ts'
import { MemoryChunks, MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { applyToOracle, emptyTree } from '../../../test/oracle/tree-oracle.ts'
import { changeExtentsMax } from '../../model/batch.ts'
import type { Change, ChunkId, Extent } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import { type BinaryString, rootPath, type TreePath } from '../../model/path.ts'
import { IndexReader } from '../index/index-reader.ts'
import { ContentReader } from './content-reader.ts'
import { manifestOf } from './manifest.ts'
import { filled, View } from './view.ts'

const attributes = { mode: 0o644, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }
const big = 'big' as TreePath

async function viewOf(journal: MemoryJournal, chunks: ReadonlyMap<ChunkId, Buffer>) {
  const index = await indexOf(journal)
  const rows = new IndexReader(index.database, index.sealing)
  const view = new View({ rows, content: new ContentReader(journal, new MemoryChunks(chunks)), at: journal.last })
  return { view, [Symbol.dispose]: () => index[Symbol.dispose]() }
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}

test('a file of more extents than one change may hold is read, and told in a manifest, whole', async () => {
  const count = 2 * changeExtentsMax + 100
  const chunks = new Map<ChunkId, Buffer>()
  const extents: Extent[] = Array.from({ length: count }, (_, at) => {
    const data = Buffer.from(`piece ${String(at % 1000).padStart(4, '0')}`)
    const chunk = createHash('sha256').update(data).digest('latin1') as ChunkId
    chunks.set(chunk, data)
    // A hole of one byte after each.
    return { at: at * 11, bytes: 10, chunk }
  })
  const bytes = count * 11
  const journal = new MemoryJournal()
  const staged = '.tidemark-staging/1' as TreePath
  const changes: Change[] = [{ kind: 'put', path: staged, attributes, content: { type: 'file', bytes, extents: [] } }]
  for (let at = 0; at < count; at += changeExtentsMax) {
    const part = extents.slice(at, at + changeExtentsMax)
    changes.push({ kind: 'patch', path: staged, attributes, bytes, extents: part, zeros: [] })
  }
  for (const change of changes) journal.append([{ moment: moment(1), change }])
  {
    using building = await viewOf(journal, chunks)
    assert.equal(building.view.lookup(staged), undefined, 'what is being built is hidden')
    assert.deepEqual([...building.view.list(rootPath)], [])
  }
  journal.append([{ moment: moment(2), change: { kind: 'rename', path: big, from: staged } }])
  using world = await viewOf(journal, chunks)
  const { view } = world
  const told = await collect(manifestOf(view, [rootPath]))
  assert.deepEqual(
    told.map(({ kind }) => kind),
    ['put', 'patch', 'patch'],
  )
  const tree = emptyTree()
  const whole = Buffer.alloc(bytes)
  for (const extent of extents) chunks.get('chunk' in extent ? extent.chunk : ('' as ChunkId))!.copy(whole, extent.at)
  const version = view.version(view.find(big).node)!
  assert.deepEqual(Buffer.concat(await collect(filled(view.read(version)))), whole)
  const [start, end] = [bytes - 100_000, bytes - 5_000]
  assert.deepEqual(Buffer.concat(await collect(filled(view.read(version, start, end)))), whole.subarray(start, end))
  // The oracle copies the whole file at each extent: the last part is enough.
  const last = told.at(-1)!
  assert.ok(last.kind === 'patch' && last.extents.length === 100 && last.bytes === bytes)
  applyToOracle(
    tree,
    { kind: 'put', path: big, attributes, content: { type: 'file', bytes, extents: [] } },
    () => whole,
  )
  applyToOracle(tree, last, (id) => chunks.get(id)!)
  assert.deepEqual(tree.nodes.get(tree.names.get(big)!)!.bytes.subarray(-1100), whole.subarray(-1100))
})

test('much data standing in changes is told in several of them', async () => {
  const journal = new MemoryJournal()
  const part = Buffer.alloc(60_000, 7)
  for (let at = 0; at < 60; at++) {
    journal.append([{ moment: moment(at), change: { kind: 'write', path: big, at: at * part.length, data: part } }])
  }
  using world = await viewOf(journal, new Map())
  const told = await collect(manifestOf(world.view, [rootPath]))
  assert.deepEqual(
    told.map(({ kind }) => kind),
    ['put', 'patch', 'patch', 'patch'],
  )
  const data = told.flatMap((change) =>
    change.kind === 'patch'
      ? change.extents
      : change.kind === 'put' && change.content.type === 'file'
        ? change.content.extents
        : [],
  )
  assert.deepEqual(
    Buffer.concat(data.map((extent) => ('data' in extent ? Buffer.from(extent.data) : Buffer.alloc(0)))),
    Buffer.alloc(60 * part.length, 7),
  )
})

test('a directory of very many entries is listed in order, from any name on', async () => {
  const count = 20_000
  const journal = new MemoryJournal()
  const nameOf = (number: number): string => `entry-${String(number).padStart(6, '0')}`
  for (let at = 0; at < count; at += 5_000) {
    journal.append(
      Array.from({ length: 5_000 }, (_, below) => ({
        moment: moment(at),
        change: {
          kind: 'put',
          path: `d/${nameOf(((at + below) * 7) % count)}` as TreePath,
          attributes,
          content: { type: 'fifo' },
        } as const,
      })),
    )
  }
  using world = await viewOf(journal, new Map())
  const folder = 'd' as TreePath
  const listed = [...world.view.list(folder)].flat().map(({ path }) => path)
  assert.deepEqual(
    listed,
    Array.from({ length: count }, (_, number) => `d/${nameOf(number)}`),
  )
  const after = [...world.view.list(folder, nameOf(19_990) as BinaryString)].flat().map(({ path }) => path)
  assert.deepEqual(after, listed.slice(19_991))
})
