import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { joinPath, rootPath, type TreePath } from '../../model/path.ts'
import { bytesOf } from './catalog-schema.ts'
import { emptySignature, type Signature, signatureEntryBytes } from './signature.ts'
import { inodeOf, type Stat, typeOf } from './stat.ts'

/** A node's number in the catalog; never used again for another. 0 is the root of the tree, of which nothing is kept. */
export type NodeId = number & { readonly is: 'NodeId' }
export const rootNode = 0 as NodeId

/** What is kept of a node beside its names. */
export interface NodeFacts {
  readonly stat: Stat
  readonly xattrs: Buffer | undefined
  /** A file's signature, or a symbolic link's target; undefined where a file's signature is in pages. */
  readonly content: Buffer | undefined
}

/** The facts of a file but for its content, of which the signature tells. */
export type FileFacts = Omit<NodeFacts, 'content'>

export interface CatalogNode extends NodeFacts {
  readonly id: NodeId
}

/** One name in one directory. */
export interface NameRow {
  readonly directory: NodeId
  readonly name: string
}

export interface ChildRow {
  readonly name: string
  readonly id: NodeId
  readonly stat: Stat
}

/** Entries of a signature in one row: an append rewrites only the last. */
const pageBytes = 512 * signatureEntryBytes
const pathsRememberedMax = 20_000

/** The catalog's nodes, their names and their content. */
export class CatalogTree {
  readonly #statements
  readonly #paths = new Map<NodeId, TreePath>([[rootNode, rootPath]])

  constructor(database: DatabaseSync) {
    this.#statements = prepare(database)
  }

  get nodes(): number {
    return Number(this.#statements.count.get()?.['count'])
  }

  node(id: NodeId): CatalogNode | undefined {
    const row = this.#statements.node.get(id)
    return row === undefined ? undefined : nodeOf(row)
  }

  child(parent: NodeId, name: string): CatalogNode | undefined {
    const row = this.#statements.child.get(parent, name)
    return row === undefined ? undefined : nodeOf(row)
  }

  /** Ascending by name. */
  children(parent: NodeId): ChildRow[] {
    return this.#statements.children.all(parent).map((row) => ({
      name: row['name'] as string,
      id: row['id'] as NodeId,
      stat: bytesOf(row['stat']) as Stat,
    }))
  }

  hasChildren(parent: NodeId): boolean {
    return this.#statements.anyChild.get(parent) !== undefined
  }

  withInode(inode: bigint): CatalogNode[] {
    return this.#statements.withInode.all(BigInt.asIntN(64, inode)).map(nodeOf)
  }

  // --- names and paths

  names(id: NodeId): NameRow[] {
    return this.#statements.names.all(id) as unknown as NameRow[]
  }

  nameOf(directory: NodeId): NameRow | undefined {
    return this.#statements.names.get(directory) as NameRow | undefined
  }

  /** Where a directory stands; undefined for one that is no longer in the catalog. */
  pathOf(directory: NodeId): TreePath | undefined {
    const known = this.#paths.get(directory)
    if (known !== undefined) return known
    const row = this.nameOf(directory)
    if (row === undefined) return undefined
    const path = this.pathAt(row.directory, row.name)
    if (path === undefined) return undefined
    if (this.#paths.size >= pathsRememberedMax) this.#forgetPaths()
    this.#paths.set(directory, path)
    return path
  }

  /** Of a name in a directory, whether the catalog has the name or not. */
  pathAt(directory: NodeId, name: string): TreePath | undefined {
    const path = this.pathOf(directory)
    return path === undefined ? undefined : joinPath(path, name)
  }

  idAt(path: TreePath): NodeId | undefined {
    let id = rootNode
    for (const name of path === rootPath ? [] : path.split('/')) {
      const child = this.child(id, name)
      if (child === undefined) return undefined
      id = child.id
    }
    return id
  }

  #forgetPaths(): void {
    this.#paths.clear()
    this.#paths.set(rootNode, rootPath)
  }

  // --- what is told by changes

  add(parent: NodeId, name: string, { stat, xattrs, content }: NodeFacts): NodeId {
    const { lastInsertRowid } = this.#statements.addNode.run(inodeKey(stat), stat, xattrs ?? null, content ?? null)
    const id = Number(lastInsertRowid) as NodeId
    this.#statements.addName.run(parent, name, id)
    return id
  }

  addFile(parent: NodeId, name: string, facts: FileFacts, signature: Signature): NodeId {
    const id = this.add(parent, name, { ...facts, content: contentOf(signature) })
    this.#setPages(id, signature)
    return id
  }

  /** Another name of a node. The name must be free. */
  link(parent: NodeId, name: string, id: NodeId): void {
    this.#statements.addName.run(parent, name, id)
  }

  setStat(id: NodeId, stat: Stat): void {
    this.#statements.setStat.run(inodeKey(stat), stat, id)
  }

  setFacts(id: NodeId, { stat, xattrs, content }: NodeFacts): void {
    this.#statements.setFacts.run(inodeKey(stat), stat, xattrs ?? null, content ?? null, id)
  }

  setFile(id: NodeId, facts: FileFacts, signature: Signature): void {
    this.setFacts(id, { ...facts, content: contentOf(signature) })
    this.#setPages(id, signature)
  }

  /** The name must be free: what stood there has to be removed first. */
  rename(from: NameRow, to: NameRow, id: NodeId, isDirectory: boolean): void {
    this.#statements.dropName.run(from.directory, from.name)
    this.#statements.addName.run(to.directory, to.name, id)
    if (isDirectory) this.#forgetPaths()
  }

  /** Takes the name away, and with its last name the node, and everything below it. Yields the directories that went. */
  remove(parent: NodeId, name: string): NodeId[] {
    const gone: NodeId[] = []
    const top = this.child(parent, name)
    if (top === undefined) return gone
    this.#statements.dropName.run(parent, name)
    this.#dropIfNameless(top, gone)
    for (let index = 0; index < gone.length; index++) {
      const directory = gone[index] as NodeId
      for (const child of this.#statements.childNodes.all(directory)) {
        this.#statements.dropName.run(directory, child['name'] as string)
        this.#dropIfNameless(nodeOf(child), gone)
      }
    }
    if (gone.length > 0) this.#forgetPaths()
    return gone
  }

  #dropIfNameless(node: CatalogNode, gone: NodeId[]): void {
    if (this.#statements.anyName.get(node.id) !== undefined) return
    if (typeOf(node.stat) === 'directory') gone.push(node.id)
    if (node.content === undefined && typeOf(node.stat) === 'file') this.#statements.dropPages.run(node.id, 0)
    this.#statements.dropNode.run(node.id)
  }

  // --- content

  signature(node: CatalogNode): Signature {
    if (typeOf(node.stat) !== 'file') return emptySignature
    if (node.content !== undefined) return node.content as Signature
    return Buffer.concat(this.#statements.pages.all(node.id).map((row) => bytesOf(row['entries']))) as Signature
  }

  #setPages(id: NodeId, signature: Signature): void {
    const count = isInRow(signature) ? 0 : Math.ceil(signature.length / pageBytes)
    const old = this.#statements.pages.all(id)
    for (let page = 0; page < count; page++) {
      const entries = signature.subarray(page * pageBytes, (page + 1) * pageBytes)
      const before = old[page]?.['entries'] as Uint8Array | undefined
      if (before !== undefined && entries.equals(before)) continue
      if (before === undefined) this.#statements.addPage.run(id, page, entries)
      else this.#statements.setPage.run(entries, id, page)
    }
    if (old.length > count) this.#statements.dropPages.run(id, count)
  }

  // --- mount points

  /** Directories on which another file system is mounted, as far as they are still in the catalog. */
  mountPoints(): NodeId[] {
    return this.#statements.mountPoints.all().map((row) => row['node'] as NodeId)
  }

  addMountPoint(id: NodeId): void {
    this.#statements.addMountPoint.run(id)
  }
}

/** A short signature stands in its node's row, a long one in pages. */
const isInRow = (signature: Signature): boolean => signature.length <= signatureEntryBytes

const contentOf = (signature: Signature): Buffer | undefined =>
  isInRow(signature) ? Buffer.from(signature) : undefined

/** SQLite's integers are signed. */
const inodeKey = (stat: Stat): bigint => BigInt.asIntN(64, inodeOf(stat))

const nodeOf = (row: Record<string, SQLOutputValue>): CatalogNode => ({
  id: row['id'] as NodeId,
  stat: bytesOf(row['stat']) as Stat,
  xattrs: row['xattrs'] === null ? undefined : bytesOf(row['xattrs']),
  content: row['content'] === null ? undefined : bytesOf(row['content']),
})

function prepare(database: DatabaseSync) {
  const nodeColumns = 'node.id, node.stat, node.xattrs, node.content'
  return {
    count: database.prepare('SELECT count(*) AS count FROM node'),
    node: database.prepare(`SELECT ${nodeColumns} FROM node WHERE id = ?`),
    child: database.prepare(
      `SELECT ${nodeColumns} FROM name JOIN node ON node.id = name.node WHERE parent = ? AND name = ?`,
    ),
    children: database.prepare(
      'SELECT name.name, node.id, node.stat FROM name JOIN node ON node.id = name.node WHERE parent = ? ORDER BY name.name',
    ),
    childNodes: database.prepare(
      `SELECT name.name, ${nodeColumns} FROM name JOIN node ON node.id = name.node WHERE parent = ?`,
    ),
    anyChild: database.prepare('SELECT 1 FROM name WHERE parent = ? LIMIT 1'),
    withInode: database.prepare(`SELECT ${nodeColumns} FROM node WHERE inode = ?`),
    names: database.prepare('SELECT parent AS directory, name FROM name WHERE node = ?'),
    anyName: database.prepare('SELECT 1 FROM name WHERE node = ? LIMIT 1'),
    addNode: database.prepare('INSERT INTO node (inode, stat, xattrs, content) VALUES (?, ?, ?, ?)'),
    addName: database.prepare('INSERT INTO name (parent, name, node) VALUES (?, ?, ?)'),
    dropName: database.prepare('DELETE FROM name WHERE parent = ? AND name = ?'),
    dropNode: database.prepare('DELETE FROM node WHERE id = ?'),
    setStat: database.prepare('UPDATE node SET inode = ?, stat = ? WHERE id = ?'),
    setFacts: database.prepare('UPDATE node SET inode = ?, stat = ?, xattrs = ?, content = ? WHERE id = ?'),
    pages: database.prepare('SELECT entries FROM page WHERE node = ? ORDER BY page'),
    addPage: database.prepare('INSERT INTO page (node, page, entries) VALUES (?, ?, ?)'),
    setPage: database.prepare('UPDATE page SET entries = ? WHERE node = ? AND page = ?'),
    dropPages: database.prepare('DELETE FROM page WHERE node = ? AND page >= ?'),
    mountPoints: database.prepare('SELECT mount_point.node FROM mount_point JOIN node ON node.id = mount_point.node'),
    addMountPoint: database.prepare('INSERT OR IGNORE INTO mount_point (node) VALUES (?)'),
  }
}
