import { unreachable } from '../../src/base/assert.ts'
import type { Attributes, Change, ChunkId, Content, Extent } from '../../src/model/change.ts'
import { type BinaryString, isWithin, stagingName, type TreePath } from '../../src/model/path.ts'

/** What stands at a path: bytes and all, never a reference into anything of the product. */
export type TreeNode = { readonly attributes: Attributes } & (
  | { readonly type: 'directory' | 'fifo' | 'socket' }
  | { readonly type: 'file'; readonly data: Buffer }
  | { readonly type: 'symlink'; readonly target: BinaryString }
  | { readonly type: 'character-device' | 'block-device'; readonly major: number; readonly minor: number }
)

/** What a file has that only a `write` or `truncate` made. */
export const madeByWrite: Attributes = { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }

/**
 * A tree as plainly as it can be said, and said again rather than shared with the product: names point at numbers,
 * numbers at nodes; two names of one number are hard links. Values never change; `after` gives the next tree.
 */
export class Tree {
  static readonly empty = new Tree(new Map(), new Map(), 1)
  readonly names: ReadonlyMap<TreePath, number>
  readonly nodes: ReadonlyMap<number, TreeNode>
  readonly #nextNumber: number

  private constructor(names: ReadonlyMap<TreePath, number>, nodes: ReadonlyMap<number, TreeNode>, nextNumber: number) {
    this.names = names
    this.nodes = nodes
    this.#nextNumber = nextNumber
  }

  static of(names: ReadonlyMap<TreePath, number>, nodes: ReadonlyMap<number, TreeNode>): Tree {
    return new Tree(names, nodes, Math.max(0, ...nodes.keys()) + 1)
  }

  at(path: TreePath): TreeNode | undefined {
    const number = this.names.get(path)
    return number === undefined ? undefined : this.nodes.get(number)
  }

  /** Without what is being staged, ascending. */
  paths(): TreePath[] {
    return [...this.names.keys()].filter((path) => !isWithin(path, stagingName as TreePath)).sort()
  }

  /** The names of each file that has more than one of those that show, ascending. */
  linked(): TreePath[][] {
    const groups = new Map<number, TreePath[]>()
    for (const path of this.paths()) {
      const number = this.names.get(path)!
      groups.set(number, [...(groups.get(number) ?? []), path])
    }
    return [...groups.values()].filter((group) => group.length > 1)
  }

  /** `chunks` gives the bytes of what the change only names. */
  after(change: Change, chunks: (id: ChunkId) => Uint8Array): Tree {
    return this.afterAll([change], chunks)
  }

  /** One after the other; a large file is copied once, however many of them change it. */
  afterAll(changes: Iterable<Change>, chunks: (id: ChunkId) => Uint8Array): Tree {
    const own = new Set<Buffer>()
    return Iterator.from(changes).reduce((tree: Tree, change) => tree.#after(change, chunks, own), this)
  }

  /** `own` are buffers that no tree has that anybody sees. */
  #after(change: Change, chunks: (id: ChunkId) => Uint8Array, own: Set<Buffer>): Tree {
    const names = new Map(this.names)
    const nodes = new Map(this.nodes)
    let nextNumber = this.#nextNumber
    const make = (path: TreePath, node: TreeNode): void => {
      names.set(path, nextNumber)
      nodes.set(nextNumber++, node)
    }
    const removeBelow = (path: TreePath): void => {
      for (const name of names.keys()) if (isWithin(name, path)) names.delete(name)
    }
    const fileData = (path: TreePath): Buffer => {
      const node = this.at(path)
      if (node?.type !== 'file') throw new Error(`the simulated source made an impossible ${change.kind} of ${path}`)
      return node.data
    }
    const ownOf = (old: Buffer, bytes: number): Buffer => {
      if (own.has(old) && old.length === bytes) return old
      const data = Buffer.alloc(bytes)
      old.copy(data)
      own.add(data)
      return data
    }
    const setData = (path: TreePath, data: Buffer, attributes?: Attributes): void => {
      const number = names.get(path)
      if (number === undefined) return make(path, { type: 'file', attributes: attributes ?? madeByWrite, data })
      nodes.set(number, { type: 'file', attributes: attributes ?? nodes.get(number)!.attributes, data })
    }
    switch (change.kind) {
      case 'put': {
        const node = nodeOf(change.attributes, change.content, chunks)
        const there = this.at(change.path)
        if (there?.type === 'directory' && node.type === 'directory') {
          nodes.set(names.get(change.path)!, node)
          break
        }
        removeBelow(change.path)
        make(change.path, node)
        break
      }
      case 'patch': {
        const old = fileData(change.path)
        const ends = [...change.extents, ...change.zeros].map(({ at, bytes }) => at + bytes)
        const data = ownOf(old, Math.max(old.length, change.bytes, ...ends))
        for (const { at, bytes } of change.zeros) data.fill(0, at, at + bytes)
        fill(data, change.extents, chunks)
        setData(change.path, data.length === change.bytes ? data : data.subarray(0, change.bytes), change.attributes)
        break
      }
      case 'link': {
        fileData(change.to)
        const number = names.get(change.to)!
        removeBelow(change.path)
        names.set(change.path, number)
        break
      }
      case 'rename': {
        const moved = [...names].filter(([name]) => isWithin(name, change.from))
        if (moved.length === 0) throw new Error(`the simulated source renamed the absent ${change.from}`)
        removeBelow(change.from)
        removeBelow(change.path)
        for (const [name, number] of moved)
          names.set((change.path + name.slice(change.from.length)) as TreePath, number)
        break
      }
      case 'remove':
        removeBelow(change.path)
        break
      case 'attributes': {
        const number = names.get(change.path)!
        nodes.set(number, { ...nodes.get(number)!, attributes: change.attributes })
        break
      }
      case 'write': {
        const old = names.has(change.path) ? fileData(change.path) : Buffer.alloc(0)
        const data = ownOf(old, Math.max(old.length, change.at + change.data.length))
        data.set(change.data, change.at)
        setData(change.path, data)
        break
      }
      case 'zero': {
        const old = fileData(change.path)
        const data = ownOf(old, old.length)
        data.fill(0, change.at, Math.min(change.at + change.bytes, data.length))
        setData(change.path, data)
        break
      }
      case 'truncate': {
        const old = names.has(change.path) ? fileData(change.path) : Buffer.alloc(0)
        const data = Buffer.alloc(change.bytes)
        old.copy(data)
        setData(change.path, data)
        break
      }
      case 'mark':
        return this
      default:
        return unreachable(change)
    }
    const used = new Set(names.values())
    for (const number of nodes.keys()) if (!used.has(number)) nodes.delete(number)
    return new Tree(names, nodes, nextNumber)
  }
}

function nodeOf(attributes: Attributes, content: Content, chunks: (id: ChunkId) => Uint8Array): TreeNode {
  if (content.type !== 'file') return { attributes, ...content }
  const data = Buffer.alloc(content.bytes)
  fill(data, content.extents, chunks)
  return { attributes, type: 'file', data }
}

function fill(data: Buffer, extents: readonly Extent[], chunks: (id: ChunkId) => Uint8Array): void {
  for (const extent of extents) data.set('data' in extent ? extent.data : chunks(extent.chunk), extent.at)
}

/** What differs between two trees, told for a person; empty where nothing does. */
export function differences(wanted: Tree, found: Tree): string[] {
  const lines: string[] = []
  const paths = new Set([...wanted.paths(), ...found.paths()])
  for (const path of paths) {
    const difference = nodeDifference(wanted.at(path), found.at(path))
    if (difference !== undefined) lines.push(`${JSON.stringify(path)}: ${difference}`)
  }
  const [links, foundLinks] = [JSON.stringify(wanted.linked()), JSON.stringify(found.linked())]
  if (links !== foundLinks) lines.push(`hard links: wanted ${links}, found ${foundLinks}`)
  return lines
}

function nodeDifference(wanted: TreeNode | undefined, found: TreeNode | undefined): string | undefined {
  if (wanted === undefined) return `not wanted, found a ${found?.type}`
  if (found === undefined) return `wanted a ${wanted.type}, found nothing`
  if (wanted.type !== found.type) return `wanted a ${wanted.type}, found a ${found.type}`
  const [kept, told] = [describe(wanted.attributes), describe(found.attributes)]
  if (kept !== told) return `attributes: wanted ${kept}, found ${told}`
  if (wanted.type === 'file' && found.type === 'file') return dataDifference(wanted.data, found.data)
  const [{ attributes: _, ...rest }, { attributes: __, ...foundRest }] = [wanted, found]
  const [restText, foundText] = [
    JSON.stringify(Object.entries(rest).sort()),
    JSON.stringify(Object.entries(foundRest).sort()),
  ]
  return restText === foundText ? undefined : `wanted ${restText}, found ${foundText}`
}

export function dataDifference(wanted: Buffer, found: Buffer): string | undefined {
  if (wanted.equals(found)) return undefined
  const at = wanted.findIndex((byte, index) => byte !== found[index])
  if (wanted.length !== found.length) return `wanted ${wanted.length} bytes, found ${found.length}`
  return `bytes differ from ${at} of ${wanted.length}`
}

const describe = (attributes: Attributes): string =>
  JSON.stringify([
    attributes.mode,
    attributes.uid,
    attributes.gid,
    String(attributes.modifiedNs),
    attributes.xattrs.map(({ name, value }) => [name, Buffer.from(value).toString('hex')]),
  ])
