import { closeSync, readlinkSync } from 'node:fs'
import { isSystemError, messageOf } from '../../base/errors.ts'
import type { Chunk } from '../../format/block.ts'
import { deviceParts } from '../../base/syscalls/nodes.ts'
import type { Content, Extent } from '../../model/change.ts'
import {
  type BinaryString,
  displayName,
  fromBuffer,
  isWithin,
  joinPath,
  stagingName,
  type TreePath,
} from '../../model/path.ts'
import type { Anchors } from './anchors.ts'
import { attributesAt, isSameXattrs } from './attributes.ts'
import type { BatchWriter, Lane } from './batch-writer.ts'
import { type CatalogNode, type CatalogTree, type NodeId, rootNode } from './catalog-tree.ts'
import { type DirtyKey, dirtyKey, reason } from './dirty-set.ts'
import type { Filesystems, Look } from './filesystems.ts'
import type { Offers } from './offers.ts'
import type { Problems } from './problems.ts'
import { absolute, type ProtectedPaths } from './protected-paths.ts'
import { FileComparison } from './file-comparison.ts'
import { type FileReader, type FileVersion, isSame, openFile } from './read-file.ts'
import { emptySignature, entriesOf, entryAt, entryBytes, type Signature } from './signature.ts'
import {
  type AbsolutePath,
  changedNsOf,
  deviceOf,
  inodeOf,
  isEqualStat,
  isProven,
  isSameAttributesStat,
  isSameContentStat,
  isSameNode,
  sizeOf,
  type Stat,
  systemPath,
  typeOf,
} from './stat.ts'
import type { Staging, StagingPlace } from './staging.ts'
import type { Watching } from './watching.ts'

/** Larger files are read in steps, see large-file.ts. */
export const largeFileBytes = 16 * 1024 * 1024
/** Live content up to this length is sent without asking whether the vault has it. */
const unaskedBytesMax = 128 * 1024
/** One name to compare, and why. */
export interface Subject {
  readonly directory: NodeId
  readonly name: string
  readonly reasons: number
}

/**
 * - `done`: the catalog, and with it the journal, says what stands there, or will once the vault has answered
 * - `moved`: something else has to be found out first, such as where its directory is now
 * - `torn`: it kept changing while it was read
 * - `large`: a file to be read in steps, see large-file.ts
 * - `vanished`: an anchor above is gone
 * - `unreadable`: it is there and cannot be read; the problem has been told
 */
export type Outcome = 'done' | 'moved' | 'torn' | 'vanished' | 'unreadable' | { readonly large: Place }

/** What happens to a directory once it is in the catalog. */
export interface Directories {
  /** It is new, or everything below it has to be compared. It is followed already. */
  compareBelow(lane: Lane, directory: NodeId, path: TreePath): void
}

export interface EntryCaptureParts {
  readonly tree: CatalogTree
  readonly writer: BatchWriter
  readonly offers: Offers
  readonly filesystems: Filesystems
  readonly watching: Watching
  readonly anchors: Anchors
  readonly protectedPaths: ProtectedPaths
  readonly problems: Problems
  readonly reader: Omit<FileReader, 'writes'>
  readonly directories: Directories
  readonly staging: Staging
  /** When this session began, with the distance that `granularityNs` keeps. */
  readonly listeningSinceNs: bigint
  /** Hears the watcher out; how often this name has been told of as written. */
  writes(key: DirtyKey): number
  /** A name has to be looked at again. */
  again(directory: NodeId, name: string, reasons: number): void
  /** The file with this inode has to be looked at again, under the names it has in the catalog by then. */
  againNode(inode: bigint): void
  vanished(anchor: TreePath): void
  /** Whether a large file with this inode is being read under another name. */
  isBeingRead(inode: bigint, except: DirtyKey): boolean
  /** Whether the vault can be asked. */
  isLineUp(): boolean
}

interface PendingFile {
  readonly version: FileVersion
  cancelled: boolean
}

/**
 * Compares one name of one directory with the catalog and writes what makes the vault's tree equal to what stands
 * there. It needs no events and may be repeated at will: all knowledge of what changed comes from the comparison.
 */
export class EntryCapture {
  readonly #parts: EntryCaptureParts
  readonly #pending = new Map<DirtyKey, PendingFile>()

  constructor(parts: EntryCaptureParts) {
    this.#parts = parts
  }

  /** `look` is what was seen there just now, if it was. */
  capture(subject: Subject, lane: Lane, look?: Look): Outcome {
    const { tree, anchors } = this.#parts
    const parent = tree.pathOf(subject.directory)
    if (parent === undefined) return 'done'
    const path = joinPath(parent, subject.name)
    if (anchors.isVanished(path)) return 'vanished'
    try {
      const outcome = this.#compare(subject, lane, parent, path, look)
      if (outcome !== 'torn') this.#parts.problems.clear(path)
      return outcome
    } catch (error) {
      // Gone or replaced between two calls: the next look tells.
      if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EISDIR', 'ESTALE')) return 'torn'
      if (!isSystemError(error, 'EACCES', 'EPERM', 'EIO', 'ETIMEDOUT', 'EUCLEAN', 'ENAMETOOLONG')) throw error
      this.#parts.problems.set(path, {
        code: 'unreadable',
        message: `/${displayName(path)} cannot be read: ${messageOf(error)}; an earlier version stands`,
        hint: 'let the agent read it, or exclude it',
      })
      return 'unreadable'
    }
  }

  #compare(subject: Subject, lane: Lane, parent: TreePath, path: TreePath, seen: Look | undefined): Outcome {
    const { tree, protectedPaths, filesystems } = this.#parts
    const { directory, name } = subject
    const isRoot = protectedPaths.is(path)
    const look = isRoot ? filesystems.lookThrough(absolute(path)) : (seen ?? filesystems.look(absolute(path)))
    const known = tree.child(directory, name)
    const isAdmitted = look !== undefined && protectedPaths.admits(path, typeOf(look.stat) === 'directory')

    const pending = this.#pending.get(dirtyKey(directory, name))
    if (pending !== undefined) {
      if (isAdmitted && isEqualStat(pending.version.stat, look.stat) && !this.#isDoubtful(subject)) return 'done'
      this.#cancel(directory, name)
    }
    if (isAdmitted) {
      const isAnchor = known !== undefined && this.#parts.anchors.is(path)
      if (isAnchor && !this.#parts.anchors.standsFor(known.stat, known.id, look, absolute(path)))
        return this.#vanish(path)
      const place = { subject, lane, parent, path, look }
      return known !== undefined && isStillThat(known, look, isAnchor)
        ? this.#update({ ...place, known, occupant: undefined })
        : this.#arrive({ ...place, known: undefined, occupant: known })
    }
    if (look === undefined && isRoot) return this.#vanish(path)
    if (look === undefined && !this.stands(directory)) return this.#moved(subject)
    if (known === undefined || (look !== undefined && protectedPaths.isAbove(path))) return 'done'
    return this.#remove(subject, lane, path)
  }

  // --- gone

  #remove({ directory, name }: Subject, lane: Lane, path: TreePath): Outcome {
    const fallen = this.#parts.anchors.fallenAbove(path)
    if (fallen !== undefined) return this.#vanish(fallen)
    this.#parts.writer.write(lane, { kind: 'remove', path })
    this.#forget(directory, name)
    return 'done'
  }

  #forget(directory: NodeId, name: string): void {
    for (const gone of this.#parts.tree.remove(directory, name)) this.#parts.watching.forget(gone)
  }

  #vanish(anchor: TreePath): Outcome {
    this.#parts.vanished(anchor)
    return 'vanished'
  }

  /** The directory is looked for where it was; when that has been settled, this name is looked at again. */
  #moved({ directory }: Subject): Outcome {
    const at = this.#parts.tree.nameOf(directory)
    if (at !== undefined) this.#parts.again(at.parent, at.name, reason.entry)
    return 'moved'
  }

  /** Whether the directory is where the catalog has it. Asked before everything that is written. */
  stands(directory: NodeId): boolean {
    if (directory === rootNode) return true
    const { tree, filesystems, protectedPaths } = this.#parts
    const path = tree.pathOf(directory)
    const node = tree.node(directory)
    if (path === undefined || node === undefined) return false
    if (protectedPaths.isAbove(path)) return true
    return filesystems.isAt(absolute(path), node.stat, protectedPaths.is(path))
  }

  // --- still the same node

  #update(at: Place & { known: CatalogNode }): Outcome {
    const { look, known, subject } = at
    const isChanged = !isEqualStat(known.stat, look.stat)
    switch (typeOf(look.stat)) {
      case 'directory':
        return this.#updateDirectory(at)
      case 'file':
        if (!isChanged && !this.#isDoubtful(subject)) return 'done'
        return this.#updateFile(at)
      case 'symlink': {
        if (!isChanged) return 'done'
        const target = readlinkSync(systemPath(absolute(at.path)), 'buffer')
        const isOther = known.content?.equals(target) !== true
        return isOther || !isSameAttributesStat(known.stat, look.stat) ? this.#put(at) : this.#keepStat(at)
      }
      default:
        if (!isChanged) return 'done'
        return deviceOf(known.stat) === deviceOf(look.stat) ? this.#updateAttributes(at) : this.#put(at)
    }
  }

  #updateDirectory(at: Place & { known: CatalogNode }): Outcome {
    const { look, known, path, subject, lane } = at
    const outcome = isEqualStat(known.stat, look.stat) ? 'done' : this.#updateAttributes(at)
    if (outcome === 'done' && ((subject.reasons & reason.below) !== 0 || !isSameNode(known.stat, look.stat))) {
      this.#parts.watching.follow(known.id, absolute(path), look)
      this.#parts.directories.compareBelow(lane, known.id, path)
    }
    return outcome
  }

  #updateAttributes(at: Place & { known: CatalogNode }): Outcome {
    const { look, known, path, lane, subject } = at
    const { attributes, xattrs } = attributesAt(absolute(path), look.stat)
    if (isSameAttributesStat(known.stat, look.stat) && isSameXattrs(known.xattrs, xattrs)) return this.#keepStat(at)
    if (!this.stands(subject.directory)) return this.#moved(subject)
    this.#parts.writer.write(lane, { kind: 'attributes', path, attributes })
    this.#parts.tree.setFacts(known.id, { stat: look.stat, xattrs, content: known.content })
    this.#linkOtherNames(lane, known.id, path)
    return 'done'
  }

  /** Nothing changed that a tree holds. */
  #keepStat({ known, look }: Place & { known: CatalogNode }): Outcome {
    this.#parts.tree.setStat(known.id, look.stat)
    return 'done'
  }

  #updateFile(at: Place & { known: CatalogNode }): Outcome {
    const { look, known, subject, lane } = at
    const mayBeWritten = this.#isDoubtful(subject) || lane === 'bulk'
    if (!mayBeWritten && isProven(known.stat) && isSameContentStat(known.stat, look.stat))
      return this.#updateAttributes(at)
    if (sizeOf(look.stat) > largeFileBytes || sizeOf(known.stat) > largeFileBytes) return { large: at }
    return this.#readFile(at, this.#parts.tree.signature(known))
  }

  /**
   * Equal times prove nothing when a write is known of: the kernel sets the times before it copies the bytes, and a
   * store through mmap may set none.
   */
  #isDoubtful({ reasons }: Subject): boolean {
    return (reasons & (reason.content | reason.doubt)) !== 0
  }

  // --- something else than before, or something new

  #arrive(at: Place & { parent: TreePath }): Outcome {
    const { subject, look, parent } = at
    // Another name of a file that is about to be written: it becomes a link to that one.
    if (look.links > 1 && typeOf(look.stat) === 'file' && this.#isPendingElsewhere(at)) return 'moved'
    const here = { parent: subject.directory, name: subject.name }
    for (const node of this.#parts.tree.withInode(inodeOf(look.stat))) {
      if (!isSameNode(node.stat, look.stat) || !isProven(node.stat)) continue
      const names = this.#parts.tree
        .names(node.id)
        .filter(({ parent: above, name }) => above !== here.parent || name !== here.name)
      const kept = look.links > 1 ? names.find((other) => this.#standsAt(other, node)) : undefined
      if (kept !== undefined) return this.#link(at, node, kept)
      const left = names.find((other) => !this.#standsAt(other, node))
      if (left === undefined) continue
      const from = this.#pathOf(left)
      if (from === undefined || from.startsWith(stagingName)) continue
      if (isWithin(parent, from)) return this.#moved(subject)
      return this.#rename(at, node, left, from)
    }
    if (typeOf(look.stat) !== 'file') return this.#put(at)
    return sizeOf(look.stat) > largeFileBytes ? { large: at } : this.#readFile(at, emptySignature)
  }

  /**
   * A known file met under a new name in a listing: of what was written to it there before the directory was followed
   * nobody has told. If it has changed at all since there is somebody to tell, it is read.
   */
  #doubted(at: Place): Place {
    const isListed = (at.subject.reasons & reason.below) !== 0
    if (!isListed || changedNsOf(at.look.stat) < this.#parts.listeningSinceNs) return at
    return { ...at, subject: { ...at.subject, reasons: at.subject.reasons | reason.doubt } }
  }

  #isPendingElsewhere({ subject, look }: Place): boolean {
    const key = dirtyKey(subject.directory, subject.name)
    for (const [other, { version }] of this.#pending)
      if (other !== key && isSameNode(version.stat, look.stat)) return true
    return this.#parts.isBeingRead(inodeOf(look.stat), key)
  }

  #standsAt(at: { parent: NodeId; name: string }, node: CatalogNode): boolean {
    const path = this.#pathOf(at)
    if (path === undefined) return false
    const look = this.#parts.filesystems.look(absolute(path))
    return look !== undefined && isSameNode(look.stat, node.stat)
  }

  #pathOf(at: { parent: NodeId; name: string }): TreePath | undefined {
    const parent = this.#parts.tree.pathOf(at.parent)
    return parent === undefined ? undefined : joinPath(parent, at.name)
  }

  #link(at: Place, node: CatalogNode, to: { parent: NodeId; name: string }): Outcome {
    const { subject, lane, path } = at
    const target = this.#pathOf(to)
    if (target === undefined || !this.stands(subject.directory)) return this.#moved(subject)
    this.#clear(at)
    this.#parts.writer.write(lane, { kind: 'link', path, to: target })
    this.#parts.tree.link(subject.directory, subject.name, node.id)
    return this.#update({ ...this.#doubted(at), known: node, occupant: undefined })
  }

  #rename(at: Place, node: CatalogNode, left: { parent: NodeId; name: string }, from: TreePath): Outcome {
    const { subject, lane, path, look } = at
    if (!this.stands(subject.directory)) return this.#moved(subject)
    const here = { parent: subject.directory, name: subject.name }
    const isDirectory = typeOf(node.stat) === 'directory'
    if (isWithin(from, path)) {
      // It comes out of what it replaces.
      const aside = this.#parts.staging.place(lane)
      this.#parts.writer.write(lane, { kind: 'rename', path: aside.path, from })
      this.#parts.tree.rename(left, aside, node.id, isDirectory)
      this.#parts.writer.write(lane, { kind: 'rename', path, from: aside.path })
      this.#forget(subject.directory, subject.name)
      this.#parts.tree.rename(aside, here, node.id, isDirectory)
    } else {
      this.#parts.writer.write(lane, { kind: 'rename', path, from })
      this.#forget(subject.directory, subject.name)
      this.#parts.tree.rename(left, here, node.id, isDirectory)
    }
    // What was put where it came from is compared when its turn comes; what is here now may have changed on the way.
    this.#parts.again(left.parent, left.name, reason.entry)
    const outcome = this.#update({ ...this.#doubted(at), known: node, occupant: undefined })
    // It may have left a part of the tree that has not been compared yet for one that has.
    const isUncertain = look.handle === undefined || !this.#parts.watching.isFollowed(node.id)
    if (isDirectory && isUncertain && (subject.reasons & reason.below) === 0) {
      this.#parts.watching.follow(node.id, absolute(path), look)
      this.#parts.directories.compareBelow(lane, node.id, path)
    }
    return outcome
  }

  /** Takes away what stands at the place in the vault's tree, where writing over it would keep a part of it. */
  #clear({ occupant, subject, path, lane }: Place): void {
    if (occupant === undefined) return
    this.#parts.writer.write(lane, { kind: 'remove', path })
    this.#forget(subject.directory, subject.name)
  }

  /** Everything but a file. */
  #put(at: Place): Outcome {
    const { subject, lane, path, look, known } = at
    const { tree, writer, watching, directories, anchors, filesystems } = this.#parts
    const content = contentAt(absolute(path), look.stat)
    const { attributes, xattrs } = attributesAt(absolute(path), look.stat)
    if (!this.stands(subject.directory)) return this.#moved(subject)
    if (at.occupant !== undefined && typeOf(at.occupant.stat) === 'directory') this.#clear(at)
    writer.write(lane, { kind: 'put', path, attributes, content })
    const facts = {
      stat: look.stat,
      xattrs,
      content: content.type === 'symlink' ? Buffer.from(content.target, 'latin1') : undefined,
    }
    if (known !== undefined) {
      tree.setFacts(known.id, facts)
      return 'done'
    }
    this.#forget(subject.directory, subject.name)
    const id = tree.add(subject.directory, subject.name, facts)
    if (content.type !== 'directory') return 'done'
    if (anchors.isMount(subject.directory, look.stat)) anchors.addMount(id)
    if (filesystems.isVirtual(look)) return 'done'
    watching.follow(id, absolute(path), look)
    directories.compareBelow(lane, id, path)
    return 'done'
  }

  // --- files

  #readFile(at: Place, known: Signature): Outcome {
    const key = dirtyKey(at.subject.directory, at.subject.name)
    const path = absolute(at.path)
    const reader = { ...this.#parts.reader, writes: () => this.#parts.writes(key) }
    const fd = openFile(path)
    try {
      if (!isSame(fd, path, at.look.stat, reader)) return 'torn'
      const comparison = new FileComparison(path, at.look, known, reader)
      let result = comparison.step(fd, Infinity, () => false)
      while (result === 'more') result = comparison.step(fd, Infinity, () => false)
      return result === 'torn' || result === 'much' ? 'torn' : this.writeVersion(at, result)
    } finally {
      closeSync(fd)
    }
  }

  /** Writes a version that has just been read, or offers its content first. */
  writeVersion(at: Place, version: FileVersion): Outcome {
    const { subject, lane } = at
    const { offers, writer } = this.#parts
    const unknown = version.chunks.filter((chunk) => writer.isNew(chunk))
    const unknownBytes = unknown.reduce((sum, { data }) => sum + data.length, 0)
    const isAsked = unknownBytes > (lane === 'live' ? unaskedBytesMax : 0)
    if (!isAsked || !this.#parts.isLineUp()) {
      if (!this.stands(subject.directory)) return this.#moved(subject)
      this.#writeFile(at, version, unknown)
      return 'done'
    }
    const key = dirtyKey(subject.directory, subject.name)
    const pending: PendingFile = { version, cancelled: false }
    this.#pending.set(key, pending)
    offers.add(lane, {
      chunks: version.chunks,
      write: (missing) => {
        if (this.#pending.get(key) === pending) this.#pending.delete(key)
        if (!pending.cancelled && !this.#writeOffered(at, pending, missing)) {
          this.#parts.again(subject.directory, subject.name, reason.content)
          this.#parts.againNode(inodeOf(version.stat))
        }
      },
    })
    return 'done'
  }

  /** The answer took a while: it is written only if the name still stands for that file. */
  #writeOffered(at: Place, { version }: PendingFile, missing: readonly Chunk[]): boolean {
    const path = this.#stillWanted(at, version)
    if (path === undefined) return false
    this.#writeFile({ ...at, path }, version, missing)
    return true
  }

  /** Where to write what was read some time ago; undefined where that is out of date. */
  #stillWanted({ subject, known, occupant }: Place, version: FileVersion): TreePath | undefined {
    const { tree, filesystems, anchors, protectedPaths } = this.#parts
    const { directory, name } = subject
    const path = this.#pathOf({ parent: directory, name })
    if (path === undefined || anchors.isVanished(path)) return undefined
    const now = tree.child(directory, name)
    const before = known ?? occupant
    const isAsBefore =
      now?.id === before?.id && (now === undefined || before === undefined || isEqualStat(now.stat, before.stat))
    if (!isAsBefore || !this.stands(directory)) return undefined
    const look = protectedPaths.is(path) ? filesystems.lookThrough(absolute(path)) : filesystems.look(absolute(path))
    if (look === undefined || !isSameNode(look.stat, version.stat)) return undefined
    // An older state is a state, too; the newer one follows.
    if (!isEqualStat(look.stat, version.stat)) this.#parts.again(directory, name, reason.content)
    return path
  }

  #writeFile({ subject, lane, path, known, occupant }: Place, version: FileVersion, chunks: readonly Chunk[]): void {
    const { tree, writer } = this.#parts
    const { attributes, xattrs, bytes, changed, zeros, signature, stat } = version
    const facts = { stat, xattrs }
    if (known !== undefined) {
      if (changed.length === 0 && zeros.length === 0 && bytes === sizeOf(known.stat)) {
        if (isSameAttributesStat(known.stat, stat) && isSameXattrs(known.xattrs, xattrs)) {
          tree.setFile(known.id, facts, signature)
          return
        }
        writer.write(lane, { kind: 'attributes', path, attributes })
      } else if (isWhole(signature, changed)) {
        const extents = [...changed]
        writer.write(lane, { kind: 'put', path, attributes, content: { type: 'file', bytes, extents } }, chunks)
      } else {
        writer.write(lane, { kind: 'patch', path, attributes, bytes, extents: [...changed], zeros: [...zeros] }, chunks)
      }
      tree.setFile(known.id, facts, signature)
      this.#linkOtherNames(lane, known.id, path)
      return
    }
    if (occupant !== undefined && typeOf(occupant.stat) === 'directory') {
      writer.write(lane, { kind: 'remove', path })
      this.#forget(subject.directory, subject.name)
    }
    writer.write(
      lane,
      { kind: 'put', path, attributes, content: { type: 'file', bytes, extents: [...changed] } },
      chunks,
    )
    this.#forget(subject.directory, subject.name)
    tree.addFile(subject.directory, subject.name, facts, signature)
  }

  /** Puts the file that has been built whole at a staging place where it belongs; false where that is not so any more. */
  placeStaged(at: Place, version: FileVersion, staged: StagingPlace): boolean {
    const path = this.#stillWanted(at, version)
    if (path === undefined) return false
    const { tree, writer } = this.#parts
    const { subject, lane, known } = at
    writer.write(lane, { kind: 'rename', path, from: staged.path })
    tree.remove(staged.parent, staged.name)
    const facts = { stat: version.stat, xattrs: version.xattrs }
    if (known === undefined) {
      this.#forget(subject.directory, subject.name)
      tree.addFile(subject.directory, subject.name, facts, version.signature)
      return true
    }
    tree.setFile(known.id, facts, version.signature)
    this.#linkOtherNames(lane, known.id, path)
    return true
  }

  /** Says again which names are of this file, so that its other names never depend on how a change of one is told. */
  #linkOtherNames(lane: Lane, id: NodeId, path: TreePath): void {
    for (const other of this.#parts.tree.names(id)) {
      const otherPath = this.#pathOf(other)
      if (otherPath !== undefined && otherPath !== path) {
        this.#parts.writer.write(lane, { kind: 'link', path: otherPath, to: path })
      }
    }
  }

  #cancel(directory: NodeId, name: string): void {
    const key = dirtyKey(directory, name)
    const pending = this.#pending.get(key)
    if (pending === undefined) return
    pending.cancelled = true
    this.#parts.againNode(inodeOf(pending.version.stat))
    this.#pending.delete(key)
  }

  get isPending(): boolean {
    return this.#pending.size > 0
  }
}

/** Where a comparison stands: what it is of, what is there, what the catalog has there. */
export interface Place {
  readonly subject: Subject
  readonly lane: Lane
  readonly path: TreePath
  readonly look: Look
  /** In the catalog, and the same thing. */
  readonly known: CatalogNode | undefined
  /** In the catalog, and something else. */
  readonly occupant: CatalogNode | undefined
}

/** An anchor stays itself whatever directory is in its place; a node from a manifest is recognised by its type. */
function isStillThat(known: CatalogNode, look: Look, isAnchor: boolean): boolean {
  if (isSameNode(known.stat, look.stat)) return true
  if (typeOf(known.stat) !== typeOf(look.stat)) return false
  return !isProven(known.stat) || (isAnchor && typeOf(look.stat) === 'directory')
}

/** Whether everything there is has changed, so that nothing of what was before is needed. */
function isWhole(signature: Signature, changed: readonly Extent[]): boolean {
  return (
    changed.length === entriesOf(signature) &&
    changed.every(({ at, bytes }, index) => at === entryAt(signature, index) && bytes === entryBytes(signature, index))
  )
}

function contentAt(path: AbsolutePath, stat: Stat): Content {
  const type = typeOf(stat)
  switch (type) {
    case 'symlink':
      return { type, target: fromBuffer(readlinkSync(systemPath(path), 'buffer')) as BinaryString }
    case 'character-device':
    case 'block-device':
      return { type, ...deviceParts(deviceOf(stat)) }
    case 'file':
      throw new Error('broken invariant: the content of a file is read elsewhere')
    default:
      return { type }
  }
}
