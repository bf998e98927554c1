import type { Attributes, Change, ChunkId, Content, Extent } from '../../src/model/change.ts'
import { isWithin, parentOf, rootPath, type TreePath } from '../../src/model/path.ts'

/**
 * The meaning of changes, told a second time and as simply as possible: a whole tree in memory, with every byte. Values
 * are never changed in place, so that a copy of the two maps is a copy of the tree.
 */

export interface OracleNode {
  readonly type: Content['type']
  readonly attributes: Attributes
  /** Of a file. */
  readonly bytes: Buffer
  /** Target or device, as text. */
  readonly particulars: string
}

export interface OracleTree {
  /** Which node stands at a path; several paths may mean one node. */
  readonly names: Map<TreePath, number>
  readonly nodes: Map<number, OracleNode>
  lastNode: number
}

export const emptyTree = (): OracleTree => ({ names: new Map(), nodes: new Map(), lastNode: 0 })

export const copyTree = ({ names, nodes, lastNode }: OracleTree): OracleTree => ({
  names: new Map(names),
  nodes: new Map(nodes),
  lastNode,
})

const untold = { uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }

export type ChunkBytes = (id: ChunkId) => Buffer

export function applyToOracle(tree: OracleTree, change: Change, chunk: ChunkBytes): void {
  const nodeAt = (path: TreePath): OracleNode | undefined => tree.nodes.get(tree.names.get(path) ?? -1)
  const removeAll = (path: TreePath): void => {
    for (const name of [...tree.names.keys()]) if (isWithin(name, path)) tree.names.delete(name)
  }
  const place = (path: TreePath, id: number): void => {
    removeAll(path)
    makeParents(path)
    tree.names.set(path, id)
  }
  const create = (path: TreePath, node: OracleNode): void => {
    const id = ++tree.lastNode
    tree.nodes.set(id, node)
    place(path, id)
  }
  const makeParents = (path: TreePath): void => {
    if (path === rootPath || parentOf(path) === rootPath) return
    const parent = parentOf(path)
    if (nodeAt(parent)?.type === 'directory') return
    create(parent, {
      type: 'directory',
      attributes: { ...untold, mode: 0o700 },
      bytes: Buffer.alloc(0),
      particulars: '',
    })
  }
  const alter = (path: TreePath, altered: (node: OracleNode) => OracleNode): void => {
    const id = tree.names.get(path)
    if (id !== undefined) tree.nodes.set(id, altered(tree.nodes.get(id)!))
  }
  const alterFile = (path: TreePath, altered: (node: OracleNode) => OracleNode): void => {
    if (nodeAt(path)?.type === 'file') alter(path, altered)
  }
  const createFile = (path: TreePath): void => {
    if (nodeAt(path) !== undefined || path === rootPath) return
    create(path, { type: 'file', attributes: { ...untold, mode: 0o600 }, bytes: Buffer.alloc(0), particulars: '' })
  }

  switch (change.kind) {
    case 'put': {
      const { path, attributes, content } = change
      if (path === rootPath && content.type !== 'directory') return
      const node = nodeOf(attributes, content, chunk)
      const same = nodeAt(path)?.type === content.type
      const shared = [...tree.names.values()].filter((id) => id === tree.names.get(path)).length > 1
      if (same && !shared) alter(path, () => node)
      else if (path === rootPath) {
        tree.nodes.set(++tree.lastNode, node)
        tree.names.set(rootPath, tree.lastNode)
      } else create(path, node)
      return
    }
    case 'patch':
      return alterFile(change.path, (node) => {
        let bytes = node.bytes
        for (const extent of change.extents) bytes = over(bytes, extent.at, bytesOf(extent, chunk))
        for (const { at, bytes: count } of change.zeros) bytes = over(bytes, at, Buffer.alloc(count))
        return { ...node, attributes: change.attributes, bytes: sized(bytes, change.bytes) }
      })
    case 'link': {
      const id = tree.names.get(change.to)
      const type = nodeAt(change.to)?.type
      if (id === undefined || type === 'directory' || change.path === rootPath) return
      if (change.path !== change.to && isWithin(change.path, change.to)) return
      if (tree.names.get(change.path) !== id) place(change.path, id)
      return
    }
    case 'rename': {
      const { path, from } = change
      if (!tree.names.has(from) || from === rootPath || path === rootPath || isWithin(path, from)) return
      const moved = [...tree.names].filter(([name]) => isWithin(name, from))
      removeAll(from)
      removeAll(path)
      makeParents(path)
      for (const [name, id] of moved) tree.names.set((path + name.slice(from.length)) as TreePath, id)
      return
    }
    case 'remove': {
      const root = tree.names.get(rootPath)
      removeAll(change.path)
      if (change.path === rootPath && root !== undefined) tree.names.set(rootPath, root)
      return
    }
    case 'attributes':
      if (change.path === rootPath && !tree.names.has(rootPath)) {
        tree.nodes.set(++tree.lastNode, nodeOf(change.attributes, { type: 'directory' }, chunk))
        tree.names.set(rootPath, tree.lastNode)
        return
      }
      return alter(change.path, (node) => ({ ...node, attributes: change.attributes }))
    case 'write':
      createFile(change.path)
      return alterFile(change.path, (node) => ({
        ...node,
        bytes: change.data.length === 0 ? node.bytes : over(node.bytes, change.at, Buffer.from(change.data)),
      }))
    case 'zero':
      return alterFile(change.path, (node) => ({
        ...node,
        bytes: change.bytes === 0 ? node.bytes : over(node.bytes, change.at, Buffer.alloc(change.bytes)),
      }))
    case 'truncate':
      createFile(change.path)
      return alterFile(change.path, (node) => ({ ...node, bytes: sized(node.bytes, change.bytes) }))
    case 'mark':
      return
  }
}

function nodeOf(attributes: Attributes, content: Content, chunk: ChunkBytes): OracleNode {
  let bytes: Buffer = Buffer.alloc(content.type === 'file' ? content.bytes : 0)
  let particulars = ''
  if (content.type === 'file') {
    for (const extent of content.extents) bytes = over(bytes, extent.at, bytesOf(extent, chunk))
  } else if (content.type === 'symlink') particulars = content.target
  else if ('major' in content) particulars = `${content.major}:${content.minor}`
  return { type: content.type, attributes, bytes, particulars }
}

const bytesOf = (extent: Extent, chunk: ChunkBytes): Buffer =>
  'chunk' in extent ? chunk(extent.chunk) : Buffer.from(extent.data)

function over(bytes: Buffer, at: number, written: Buffer): Buffer {
  const result = sized(bytes, Math.max(bytes.length, at + written.length))
  written.copy(result, at)
  return result
}

function sized(bytes: Buffer, length: number): Buffer {
  const result = Buffer.alloc(length)
  bytes.copy(result, 0, 0, Math.min(bytes.length, length))
  return result
}
