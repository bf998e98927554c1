import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { diskPath } from '../../format/volume-tree.ts'
import type { Attributes, Change, Content, Range } from '../../model/change.ts'
import { type BinaryString, joinPath, nameOf, parentOf, rootPath, type TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { type ContentName, ContentWriter } from './content-writer.ts'
import { directoryType, fileType, type NodeType, nodeTypes, packAttributes, unpackAttributes } from './packing.ts'
import { Recent } from './recent.ts'
import type { PackingLimits } from './runs/limits.ts'
import { forever, rootNode } from './schema.ts'
import { type Sealing, shortTag } from './sealing.ts'

/** All changes of a tree; marks are kept elsewhere. */
export type TreeChange = Exclude<Change, { kind: 'mark' }>

/** What is counted along, so that it need not be counted. */
export interface TreeCounts {
  /** The number the last node and content got. */
  node: number
  content: number
  /** Files of the tree as it is now, and their bytes; one of several names counts once. */
  files: number
  bytes: number
}

interface NameRow {
  readonly id: number
  readonly since: number
  readonly node: number
  readonly type: number
}

interface Name extends NameRow {
  readonly parent: number
  readonly name: BinaryString
}

/** What has to be known of a version that is replaced whole. */
interface Brief {
  readonly id: number
  readonly since: number
  readonly linked: number
  readonly bytes: number
}

interface Version extends Brief {
  readonly attributes: Uint8Array
  readonly content: ContentName
  readonly detail: Uint8Array | null
}

const namesMax = 50_000
const foldersMax = 20_000

/** What a file or directory has of which only the existence was told. */
const untoldAttributes = { uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }
const untoldDirectory: Attributes = { ...untoldAttributes, mode: 0o700 }
const untoldFile: Attributes = { ...untoldAttributes, mode: 0o600 }

/**
 * Applies changes to the rows of a tree, with the meaning that model/change.ts gives them, and where that leaves room:
 *
 * - A `put` over a name of a file with other names takes this name off it; the other names keep the old file.
 *   `patch`, `attributes`, `write`, `zero` and `truncate` change the one file that all its names mean.
 * - Directories missing above a path appear with `untoldDirectory`; what is not a directory there gives way.
 * - `write` and `zero` make a file as long as they reach. A file made by `write` or `truncate` has `untoldFile`.
 * - A change that has no meaning here (renaming or patching what is absent, writing to a directory, linking a
 *   directory, moving one into itself) changes nothing and is counted as a misfit. Removing the root empties it.
 */
export class TreeWriter {
  readonly counts: TreeCounts
  /** First change of the batch that is being applied. */
  batchFirst = 0
  readonly #sealing: Sealing
  readonly contents: ContentWriter
  readonly #statements: ReturnType<typeof prepareAll>
  readonly #names = new Recent<string, Name>(namesMax)
  readonly #folders = new Recent<TreePath, number>(foldersMax)
  #nextEntry: number
  #nextVersion: number
  /** The version that was asked for or made last, as long as nobody else changes rows. */
  #latest: (Version & { readonly node: number }) | undefined

  constructor(database: DatabaseSync, sealing: Sealing, counts: TreeCounts, packing?: Partial<PackingLimits>) {
    this.#sealing = sealing
    this.counts = counts
    this.contents = new ContentWriter(database, counts.content, packing)
    this.#statements = prepareAll(database)
    this.#nextEntry = nextId(database, 'entry')
    this.#nextVersion = nextId(database, 'version')
  }

  get nextEntry(): number {
    return this.#nextEntry
  }

  get nextVersion(): number {
    return this.#nextVersion
  }

  /** To be called when others may have changed rows. */
  begin(): void {
    this.#latest = undefined
  }

  /** False where the change has no meaning in this tree. */
  apply(change: TreeChange, at: Sequence): boolean {
    const fits = this.#apply(change, at)
    this.counts.content = this.contents.last
    return fits
  }

  #apply(change: TreeChange, at: Sequence): boolean {
    switch (change.kind) {
      case 'put':
        return this.#put(change.path, change.attributes, change.content, at)
      case 'link':
        return this.#link(change.path, change.to, at)
      case 'rename':
        return this.#rename(change.path, change.from, at)
      case 'remove':
        return this.#remove(change.path, at)
      case 'attributes':
        return this.#setAttributes(change.path, change.attributes, at)
      default:
        return this.#changeBytes(change, at)
    }
  }

  #put(path: TreePath, attributes: Attributes, content: Content, at: Sequence): boolean {
    const type = nodeTypes.indexOf(content.type)
    if (path === rootPath) {
      if (type === directoryType) this.#putVersion(rootNode, this.#brief(rootNode), attributes, content, at)
      return type === directoryType
    }
    const parent = this.#folder(parentOf(path), at)
    const name = nameOf(path)
    const existing = this.#child(parent, name)
    const before = existing?.type === type ? this.#brief(existing.node) : undefined
    if (existing !== undefined && before !== undefined && this.#mayBecome(existing, before)) {
      this.#putVersion(existing.node, before, attributes, content, at)
      return true
    }
    if (existing !== undefined) this.#closeTree(existing, at)
    const node = ++this.counts.node
    this.#open(parent, name, node, type, at)
    if (type === fileType) this.counts.files++
    this.#putVersion(node, undefined, attributes, content, at)
    return true
  }

  /** Whether a put may go on with a node of the same type: no other name of it has to stay as it is. */
  #mayBecome({ type, node }: Name, { linked }: Brief): boolean {
    return type === directoryType || linked === 0 || this.#namesOf(node) === 1
  }

  #putVersion(node: number, before: Brief | undefined, attributes: Attributes, content: Content, at: Sequence): void {
    const bytes = content.type === 'file' ? content.bytes : 0
    const held = content.type === 'file' ? this.contents.create(content.extents, bytes, at) : null
    this.counts.bytes += bytes - (before?.bytes ?? 0)
    this.#setVersion(node, before, at, {
      linked: before?.linked ?? 0,
      bytes,
      content: held,
      ...packAttributes(attributes, content, this.#sealing),
    })
  }

  #link(path: TreePath, to: TreePath, at: Sequence): boolean {
    const target = this.#find(to)
    if (target === undefined || target.type === directoryType || path.startsWith(`${to}/`)) return false
    if (path === rootPath) return false
    const parent = this.#folder(parentOf(path), at)
    const name = nameOf(path)
    const existing = this.#child(parent, name)
    if (existing?.node === target.node) return true
    this.#statements.markLinked.run(target.node)
    this.#latest = undefined
    this.#open(parent, name, target.node, target.type, at, () => {
      if (existing !== undefined) this.#closeTree(existing, at)
    })
    return true
  }

  #rename(path: TreePath, from: TreePath, at: Sequence): boolean {
    const moved = this.#find(from)
    if (moved === undefined || path === rootPath) return false
    if (path === from) return true
    if (path.startsWith(`${from}/`)) return false
    const parent = this.#folder(parentOf(path), at)
    const name = nameOf(path)
    this.#closeName(moved, at)
    const existing = this.#child(parent, name)
    if (existing?.node === moved.node) return true
    this.#open(parent, name, moved.node, moved.type, at, () => {
      if (existing !== undefined) this.#closeTree(existing, at)
    })
    return true
  }

  #remove(path: TreePath, at: Sequence): boolean {
    if (path === rootPath) {
      this.#closeChildren(rootNode, at)
      return true
    }
    const existing = this.#find(path)
    if (existing !== undefined) this.#closeTree(existing, at)
    return true
  }

  #setAttributes(path: TreePath, attributes: Attributes, at: Sequence): boolean {
    if (path === rootPath) return this.#put(path, attributes, { type: 'directory' }, at)
    const found = this.#find(path)
    const before = found && this.#version(found.node)
    if (found === undefined || before === undefined) return false
    const { particulars } = unpackAttributes(nodeTypes[found.type] as NodeType, before, this.#sealing)
    this.#setVersion(found.node, before, at, { ...before, ...packAttributes(attributes, particulars, this.#sealing) })
    return true
  }

  #changeBytes(change: Extract<TreeChange, { kind: 'patch' | 'write' | 'zero' | 'truncate' }>, at: Sequence): boolean {
    const creates = change.kind === 'write' || change.kind === 'truncate'
    if (change.path === rootPath || !Number.isSafeInteger(reach(change))) return false
    let found = this.#find(change.path)
    if (found === undefined) {
      if (!creates) return false
      this.#put(change.path, untoldFile, { type: 'file', bytes: 0, extents: [] }, at)
      found = this.#find(change.path)
    }
    const before = found && this.#version(found.node)
    if (found?.type !== fileType || before === undefined) return false
    const patched =
      change.kind === 'patch' ? packAttributes(change.attributes, { type: 'file' }, this.#sealing) : undefined
    const bytes =
      change.kind === 'patch' || change.kind === 'truncate' ? change.bytes : Math.max(before.bytes, reach(change))
    const content = this.contents.changeable(before, change.path === diskPath, at)
    if (change.kind === 'patch') {
      for (const extent of change.extents) this.contents.put(content, extent, at)
      for (const range of change.zeros) this.#clear(content, range, at)
    } else if (change.kind === 'write' && change.data.length > 0) {
      this.contents.put(content, { at: change.at, bytes: change.data.length, data: change.data }, at)
    } else if (change.kind === 'zero') {
      this.#clear(content, change, at)
    }
    const end = Math.max(before.bytes, reach(change))
    if (bytes < end) this.contents.clear(content, bytes, end, at)
    this.counts.bytes += bytes - before.bytes
    const isSame = patched === undefined && bytes === before.bytes && content === before.content
    // The extents say what changed: of the writes of one batch the first one makes a version.
    if (isSame && before.since >= this.batchFirst) return true
    this.#setVersion(found.node, before, at, { ...before, ...patched, bytes, content })
    return true
  }

  #clear(content: number, range: Range, at: Sequence): void {
    if (range.bytes > 0) this.contents.clear(content, range.at, range.at + range.bytes, at)
  }

  // Rows of versions.

  #version(node: number): Version | undefined {
    if (this.#latest?.node === node) return this.#latest
    const found = this.#statements.version.get(node) as unknown as Version | undefined
    this.#latest = found && { ...found, node }
    return found
  }

  #brief(node: number): Brief | undefined {
    return this.#statements.brief.get(node) as unknown as Brief | undefined
  }

  #setVersion(node: number, before: Brief | undefined, at: Sequence, version: Omit<Version, 'id' | 'since'>): void {
    const { linked, bytes, attributes, content, detail } = version
    const isSame = before?.since === at
    const id = isSame ? before.id : this.#nextVersion++
    if (isSame) this.#statements.replaceVersion.run(linked, bytes, attributes, content, detail, id)
    else this.#statements.insertVersion.run(id, node, at, linked, bytes, attributes, content, detail)
    this.#latest = { id, node, since: at, linked, bytes, attributes, content, detail }
  }

  // Rows of entries.

  #find(path: TreePath): Name | undefined {
    if (path === rootPath) return undefined
    const parent = this.#existingFolder(parentOf(path))
    return parent === undefined ? undefined : this.#child(parent, nameOf(path))
  }

  #existingFolder(path: TreePath): number | undefined {
    let known = path
    while (known !== rootPath && this.#folders.get(known) === undefined) known = parentOf(known)
    let node = this.#folders.get(known) ?? rootNode
    for (const name of namesBelow(known, path)) {
      const found = this.#child(node, name)
      if (found?.type !== directoryType) return undefined
      node = found.node
    }
    if (path !== rootPath) this.#folders.set(path, node)
    return node
  }

  /** The directory at `path`; what is missing of the way there is made. */
  #folder(path: TreePath, at: Sequence): number {
    const existing = this.#existingFolder(path)
    if (existing !== undefined) return existing
    let node: number = rootNode
    let reached = rootPath
    for (const name of namesBelow(rootPath, path)) {
      reached = joinPath(reached, name)
      if (this.#child(node, name)?.type !== directoryType) {
        this.#put(reached, untoldDirectory, { type: 'directory' }, at)
      }
      node = (this.#child(node, name) as Name).node
    }
    return node
  }

  #child(parent: number, name: BinaryString): Name | undefined {
    const key = `${parent}/${name}`
    const known = this.#names.get(key)
    if (known !== undefined) return known
    const sealed = this.#sealing.sealName(name)
    const row = this.#statements.child.get(parent, shortTag(sealed), sealed) as unknown as NameRow | undefined
    if (row === undefined) return undefined
    const found = { ...row, parent, name }
    this.#names.set(key, found)
    return found
  }

  #namesOf(node: number): number {
    return (this.#statements.names.get(node) as unknown as { names: number }).names
  }

  /** Adds a name; `instead` closes what it replaces, once the node has the new name and cannot be taken as gone. */
  #open(parent: number, name: BinaryString, node: number, type: number, at: Sequence, instead?: () => void): void {
    const sealed = this.#sealing.sealName(name)
    const id = this.#nextEntry++
    this.#statements.insertEntry.run(id, parent, shortTag(sealed), sealed, at, node, type)
    instead?.()
    this.#names.set(`${parent}/${name}`, { id, parent, name, since: at, node, type })
  }

  #closeName(entry: Name, at: Sequence): void {
    if (entry.since === at) this.#statements.dropEntry.run(entry.id)
    else this.#statements.endEntry.run(at, entry.id)
    this.#names.delete(`${entry.parent}/${entry.name}`)
    if (entry.type === directoryType) this.#folders.clear()
  }

  #closeTree(entry: Name, at: Sequence): void {
    this.#closeName(entry, at)
    if (entry.type === directoryType) this.#closeChildren(entry.node, at)
    else this.#discount(entry)
  }

  #closeChildren(node: number, at: Sequence): void {
    const folders = [node]
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (;;) {
        const rows = this.#statements.children.all(folder) as unknown as (NameRow & { name: Uint8Array })[]
        if (rows.length === 0) break
        for (const row of rows) {
          const child = { ...row, parent: folder, name: this.#sealing.openName(row.name) }
          this.#closeName(child, at)
          if (child.type === directoryType) folders.push(child.node)
          else this.#discount(child)
        }
      }
    }
  }

  /** Counts a file off whose name was closed, unless it has others. */
  #discount(closed: Name): void {
    if (closed.type !== fileType) return
    const version = this.#brief(closed.node)
    if (version?.linked && this.#namesOf(closed.node) > 0) return
    this.counts.files--
    this.counts.bytes -= version?.bytes ?? 0
  }
}

const namesBelow = (ancestor: TreePath, path: TreePath): BinaryString[] =>
  path === ancestor ? [] : (path.slice(ancestor === rootPath ? 0 : ancestor.length + 1).split('/') as BinaryString[])

/** Where the last byte that a change touches ends. */
function reach(change: Extract<TreeChange, { kind: 'patch' | 'write' | 'zero' | 'truncate' }>): number {
  switch (change.kind) {
    case 'write':
      return change.data.length === 0 ? 0 : change.at + change.data.length
    case 'zero':
      return change.bytes === 0 ? 0 : change.at + change.bytes
    default:
      return change.bytes
  }
}

const childrenAtOnce = 10_000

function prepareAll(database: DatabaseSync) {
  return {
    child: database.prepare(
      `SELECT id, since, node, type FROM entry WHERE parent = ? AND tag = ? AND until = ${forever} AND name = ?`,
    ),
    children: database.prepare(
      `SELECT id, name, since, node, type FROM entry WHERE parent = ? AND until = ${forever} LIMIT ${childrenAtOnce}`,
    ),
    names: database.prepare(`SELECT count(*) AS names FROM entry WHERE node = ? AND until = ${forever}`),
    insertEntry: database.prepare(`INSERT INTO entry VALUES (?, ?, ?, ?, ?, ${forever}, ?, ?)`),
    endEntry: database.prepare('UPDATE entry SET until = ? WHERE id = ?'),
    dropEntry: database.prepare('DELETE FROM entry WHERE id = ?'),
    version: database.prepare(`
      SELECT id, since, linked, bytes, attributes, content, detail FROM version
      WHERE node = ? ORDER BY since DESC LIMIT 1`),
    brief: database.prepare('SELECT id, since, linked, bytes FROM version WHERE node = ? ORDER BY since DESC LIMIT 1'),
    insertVersion: database.prepare('INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?)'),
    replaceVersion: database.prepare(
      'UPDATE version SET linked = ?, bytes = ?, attributes = ?, content = ?, detail = ? WHERE id = ?',
    ),
    markLinked: database.prepare('UPDATE version SET linked = 1 WHERE node = ?'),
  } satisfies Record<string, StatementSync>
}

const nextId = (database: DatabaseSync, table: 'entry' | 'version'): number =>
  (database.prepare(`SELECT coalesce(max(id), 0) + 1 AS next FROM ${table}`).get() as { next: number }).next
