import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { MemoryChunks, MemoryJournal } from './memory-journal.ts'
import { type Chance, RandomChanges, seeded } from './random-changes.ts'
import { applyToOracle, copyTree, emptyTree, type OracleTree } from './tree-oracle.ts'
import { readChange, writeChange } from '../../src/format/change.ts'
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import type { Stamped } from '../../src/model/batch.ts'
import type { Change, ChunkId } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { isWithin, rootPath, type TreePath } from '../../src/model/path.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import { IndexReader } from '../../src/vault/index/index-reader.ts'
import { IndexWriter } from '../../src/vault/index/index-writer.ts'
import type { PackingLimits } from '../../src/vault/index/runs/limits.ts'
import { memoryLocation } from '../../src/vault/index/schema.ts'
import { ContentReader } from '../../src/vault/views/content-reader.ts'
import { type DiffRow, diffViews } from '../../src/vault/views/diff.ts'
import { historyOf } from '../../src/vault/views/history.ts'
import { manifestOf } from '../../src/vault/views/manifest.ts'
import { filled, View } from '../../src/vault/views/view.ts'

/** Random histories, and how views of them are judged by a tree that was told a second time. */
const changesPerSeed = 120
export const indexKey = createSecretKey(Buffer.alloc(32, 7))

export interface World {
  readonly chance: Chance
  readonly journal: MemoryJournal
  readonly chunks: Map<ChunkId, Buffer>
  /** The tree after each change; before the first at 0. */
  readonly states: OracleTree[]
  /** Writes and the like that are not the first change of their batch: those of one file may be told as one version. */
  readonly laterWrites: Set<number>
  readonly random: RandomChanges
}

export function makeWorld(seed: number): World {
  const chance = seeded(seed)
  const random = new RandomChanges(chance)
  const journal = new MemoryJournal()
  const states = [emptyTree()]
  const laterWrites = new Set<number>()
  let when = 1_000_000
  while (states.length <= changesPerSeed) {
    const changes: Stamped[] = []
    for (let count = 1 + chance.below(6); count > 0; count--) {
      when += chance.of([0, 1, 500, 3_000_000])
      const change = random.next()
      const isWrite = change.kind === 'write' || change.kind === 'zero' || change.kind === 'truncate'
      if (isWrite && changes.length > 0) laterWrites.add(states.length)
      changes.push({ moment: moment(when), change })
      const next = copyTree(states.at(-1)!)
      applyToOracle(next, change, (id) => random.chunks.get(id)!)
      states.push(next)
    }
    journal.append(changes, chance.below(2) === 0)
    if (chance.below(5) === 0) journal.seal()
  }
  return { chance, journal, chunks: random.chunks, states, laterWrites, random }
}

/** Every file that is written to in part is packed, in pages and levels so small that few changes fill them. */
export const packedSmall: PackingLimits = { fileBytesMin: 0, rowsPerPage: 3, runsPerLevel: 2 }

/** A whole index in memory. Where it packs files, each batch is a commit of its own. */
export async function indexOf(journal: MemoryJournal, packing?: PackingLimits): Promise<IndexWriter> {
  const index = new IndexWriter(memoryLocation, indexKey, packing)
  for await (const stored of journal.batches(beforeFirst)) {
    index.apply(stored)
    if (packing !== undefined) index.commit()
  }
  index.commit()
  return index
}

export const viewOf = (world: World, rows: IndexReader, at: number): View =>
  new View({ rows, content: new ContentReader(world.journal, new MemoryChunks(world.chunks)), at: at as Sequence })

/** A tree as text: each path with its type, attributes, particulars, bytes, and which paths are the same file. */
function tell(tree: OracleTree): string[] {
  const first = new Map<number, TreePath>()
  return [...tree.names]
    .filter(([path]) => path !== rootPath)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, id]) => {
      const node = tree.nodes.get(id)!
      const same = first.get(id) ?? path
      first.set(id, same)
      return `${path} = ${same} ${node.type} ${tellAttributes(node.attributes)} ${node.particulars} ${node.bytes.toString('hex')}`
    })
}

const tellAttributes = ({
  mode,
  uid,
  gid,
  modifiedNs,
  xattrs,
}: Extract<Change, { kind: 'put' }>['attributes']): string =>
  `${mode} ${uid} ${gid} ${modifiedNs} ${xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`)}`

async function tellView(view: View): Promise<string[]> {
  const told: [TreePath, string][] = []
  const names = new Map<number, TreePath[]>()
  for (const found of view.walk(view.find(rootPath))) {
    if (found.path === rootPath) continue
    const entry = view.stat(found.path)
    assert.equal(entry.node, found.node)
    const version = view.version(found.node)!
    const parts: Buffer[] = []
    for await (const part of filled(view.read(version))) parts.push(part)
    const particulars = entry.target ?? (entry.device ? `${entry.device.major}:${entry.device.minor}` : '')
    names.set(entry.node, [...(names.get(entry.node) ?? []), entry.path])
    assert.equal(entry.bytes, Buffer.concat(parts).length)
    told.push([
      entry.path,
      `${entry.type} ${tellAttributes(entry.attributes)} ${particulars} ${Buffer.concat(parts).toString('hex')}`,
    ])
  }
  return told
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, rest]) => `${path} = ${[...names.values()].find((all) => all.includes(path))!.sort()[0]} ${rest}`)
}

/** Everything a manifest tells, applied to nothing. */
async function replay(changes: AsyncIterable<Change>, chunks: ReadonlyMap<ChunkId, Buffer>): Promise<OracleTree> {
  const tree = emptyTree()
  for await (const change of changes) {
    const writer = new ByteWriter()
    writeChange(writer, change)
    applyToOracle(tree, readChange(new ByteReader(writer.finish())), (id) => chunks.get(id)!)
  }
  return tree
}

/** Parents first, everything below a directory before its next sibling, siblings ascending. */
function checkOrder(told: readonly TreePath[]): void {
  const paths = told.map((path) => path.split('/'))
  for (const [index, path] of paths.slice(1).entries()) {
    const before = paths[index]!
    const at = path.findIndex((name, place) => name !== before[place])
    const ascends = at === before.length || before[0] === '' || (before[at] !== undefined && path[at]! > before[at])
    assert.equal(ascends, true, `${path} after ${before}`)
  }
}

/** A manifest of several paths is in order too, and makes what is at and below them. */
async function checkSome(world: World, view: View): Promise<void> {
  const paths = Array.from({ length: 3 }, () => world.random.path()).filter((path) => view.lookup(path) !== undefined)
  if (paths.length === 0) return
  const told: TreePath[] = [rootPath]
  for await (const change of manifestOf(view, paths)) {
    if ('path' in change && change.path !== rootPath && change.path !== told.at(-1)) told.push(change.path)
  }
  checkOrder(told)
  const there = [...world.states[view.at]!.names.keys()]
  const wanted = there.filter((name) => paths.some((path) => isWithin(name, path) || isWithin(path, name)))
  assert.deepEqual(told.slice(1).sort(), wanted.filter((name) => name !== rootPath).sort())
}

export async function checkTree(world: World, rows: IndexReader, at: number): Promise<void> {
  const view = viewOf(world, rows, at)
  const expected = tell(world.states[at]!)
  assert.deepEqual(await tellView(view), expected, `the tree at ${at}`)
  assert.deepEqual(tell(await replay(manifestOf(view, [rootPath]), world.chunks)), expected, `the manifest at ${at}`)
  checkOrder([...view.walk(view.find(rootPath))].map(({ path }) => path))
  await checkSome(world, view)
  const path = world.random.path()
  if (view.lookup(path) === undefined || path === rootPath) return
  const part = await replay(manifestOf(view, [path]), world.chunks)
  for (const [name, id] of part.names) {
    const there = world.states[at]!
    assert.deepEqual(part.nodes.get(id), there.nodes.get(there.names.get(name)!), `${name} in the manifest of ${path}`)
  }
  const below = [...world.states[at]!.names.keys()].filter((name) => name === path || name.startsWith(`${path}/`))
  assert.deepEqual(
    [...part.names.keys()].filter((name) => name.startsWith(path) && below.includes(name)).sort(),
    below.sort(),
  )
}

export async function checkRange(world: World, rows: IndexReader, at: number): Promise<void> {
  const files = [...world.states[at]!.names].filter(([, id]) => world.states[at]!.nodes.get(id)!.bytes.length > 0)
  if (files.length === 0) return
  const [path, id] = world.chance.of(files)
  const whole = world.states[at]!.nodes.get(id)!.bytes
  const start = world.chance.below(whole.length)
  const end = start + world.chance.below(whole.length)
  const view = viewOf(world, rows, at)
  const parts: Buffer[] = []
  for await (const part of filled(view.read(view.version(view.find(path).node)!, start, end))) parts.push(part)
  assert.deepEqual(Buffer.concat(parts), whole.subarray(start, end), `bytes ${start} to ${end} of ${path} at ${at}`)
}

export function checkDiff(world: World, rows: IndexReader, from: number, to: number, within: TreePath): void {
  const told = [...diffViews({ from: viewOf(world, rows, from), to: viewOf(world, rows, to) }, within)].filter(
    (row) => row !== undefined,
  )
  const found = new Map<TreePath, DiffRow['change']>()
  for (const { path, change } of told) {
    assert.equal(found.has(path), false, `${path} is told twice between ${from} and ${to}`)
    found.set(path, change)
  }
  const before = world.states[from]!
  const after = world.states[to]!
  for (const path of new Set([...before.names.keys(), ...after.names.keys(), ...found.keys()])) {
    const inside = within === rootPath || path === within || path.startsWith(`${within}/`)
    if (path === rootPath) continue
    const expected = inside ? differenceOf(before, after, path) : undefined
    const seen = found.get(path)
    if (seen === 'content' && (expected === undefined || expected === 'attributes')) continue
    assert.equal(seen, expected, `${JSON.stringify(path)} between ${from} and ${to} within ${JSON.stringify(within)}`)
  }
}

function differenceOf(before: OracleTree, after: OracleTree, path: TreePath): DiffRow['change'] | undefined {
  const old = before.nodes.get(before.names.get(path) ?? -1)
  const young = after.nodes.get(after.names.get(path) ?? -1)
  if (old === undefined) return young === undefined ? undefined : 'added'
  if (young === undefined) return 'removed'
  if (old.type !== young.type) return 'type'
  if (!old.bytes.equals(young.bytes)) return 'content'
  const same =
    tellAttributes(old.attributes) === tellAttributes(young.attributes) && old.particulars === young.particulars
  return same ? undefined : 'attributes'
}

export function checkHistory(world: World, rows: IndexReader, path: TreePath, earliest: number): void {
  const expected: { row: string; mayBeLeftOut: boolean }[] = []
  const tells = (row: string, mayBeLeftOut = false): void => void expected.push({ row, mayBeLeftOut })
  for (let at = Math.max(earliest, 1); at < world.states.length; at++) {
    const before = at === earliest ? emptyTree() : world.states[at - 1]!
    const after = world.states[at]!
    const old = before.names.get(path)
    const young = after.names.get(path)
    if (young === undefined) {
      if (old !== undefined) tells(`${at} removed`)
    } else if (old !== young || before.nodes.get(old) !== after.nodes.get(young)) {
      const node = after.nodes.get(young)!
      const sameLength = old === young && before.nodes.get(old)?.bytes.length === node.bytes.length
      tells(
        `${at} ${node.type} ${node.bytes.length} ${node.attributes.modifiedNs}`,
        sameLength && world.laterWrites.has(at),
      )
    }
  }
  const found = [...historyOf(rows, path)].map((row) =>
    row.event === 'removed' ? `${row.sequence} removed` : `${row.sequence} ${row.type} ${row.bytes} ${row.modifiedNs}`,
  )
  let next = 0
  const left = expected.filter(({ row, mayBeLeftOut }) => {
    const isTold = found[next] === row
    if (isTold) next++
    return isTold || !mayBeLeftOut
  })
  assert.deepEqual(
    found,
    left.map(({ row }) => row),
    `the history of ${JSON.stringify(path)}`,
  )
}
