import { readlinkSync } from 'node:fs'
import { isSystemError, messageOf } from '../../base/errors.ts'
import { deviceParts } from '../../base/syscalls/nodes.ts'
import type { Content } from '../../model/change.ts'
import {
  type BinaryString,
  displayName,
  fromBuffer,
  isWithin,
  joinPath,
  parentOf,
  stagingName,
  type TreePath,
} from '../../model/path.ts'
import type { Anchors } from './anchors.ts'
import { attributesAt, isSameXattrs } from './attributes.ts'
import type { Lane } from '../batch-builder.ts'
import type { CatalogNode, CatalogTree, NameRow, NodeId } from './catalog-tree.ts'
import { dirtyKey, reason } from './dirty-set.ts'
import type { FileCapture } from './file-capture.ts'
import type { Filesystems, Look } from './filesystems.ts'
import type { Hearing } from './hearing.ts'
import { largeFileBytes } from './large-file.ts'
import type { LargeFiles } from './large-files.ts'
import type { Problems } from './problems.ts'
import { absolute, type ProtectedPaths } from './protected-paths.ts'
import { emptySignature } from './signature.ts'
import type { SourceTree } from './source-tree.ts'
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
import { isDoubtful, type KnownPlace, type Outcome, type Place, type Subject } from './subject.ts'
import type { TreeWriter } from './tree-writer.ts'
import type { Watching } from './watching.ts'

export interface EntryCaptureParts {
  readonly tree: CatalogTree
  readonly source: SourceTree
  readonly treeWriter: TreeWriter
  readonly filesystems: Filesystems
  readonly watching: Watching
  readonly hearing: Hearing
  readonly anchors: Anchors
  readonly protectedPaths: ProtectedPaths
  readonly problems: Problems
  readonly files: FileCapture
  readonly largeFiles: LargeFiles
  /** What changed at this time or later may have changed while there was somebody to tell. */
  readonly listeningSinceNs: bigint
  /** A directory is in the catalog that is new, or of which everything below has to be compared. It is followed already. */
  compareBelow(lane: Lane, directory: NodeId, path: TreePath): void
}

/**
 * Compares one name of one directory with the catalog and writes what makes the vault's tree equal to what stands
 * there. It needs no events and may be repeated at will: all knowledge of what changed comes from the comparison.
 */
export class EntryCapture {
  readonly #parts: EntryCaptureParts

  constructor(parts: EntryCaptureParts) {
    this.#parts = parts
  }

  /** `look` is what was seen there just now, if it was. */
  capture(subject: Subject, lane: Lane, look?: Look): Outcome {
    const { tree, anchors, problems } = this.#parts
    const parent = tree.pathOf(subject.directory)
    if (parent === undefined) return 'done'
    const path = joinPath(parent, subject.name)
    if (anchors.isVanished(path)) return 'vanished'
    try {
      const outcome = this.#compare(subject, lane, path, look)
      if (outcome !== 'torn') problems.clear(path)
      return outcome
    } catch (error) {
      // Gone or replaced between two calls: the next look tells.
      if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EISDIR', 'ESTALE')) return 'torn'
      if (!isSystemError(error, 'EACCES', 'EPERM', 'EIO', 'ETIMEDOUT', 'EUCLEAN', 'ENAMETOOLONG')) throw error
      problems.set(path, {
        code: 'unreadable',
        message: `/${displayName(path)} cannot be read: ${messageOf(error)}; an earlier version stands`,
        hint: 'let the agent read it, or exclude it',
      })
      return 'unreadable'
    }
  }

  #compare(subject: Subject, lane: Lane, path: TreePath, seen: Look | undefined): Outcome {
    const { tree, protectedPaths, source, anchors, files } = this.#parts
    const { directory, name } = subject
    const isRoot = protectedPaths.is(path)
    const look = isRoot ? source.look(path) : (seen ?? source.look(path))
    const known = tree.child(directory, name)
    const isAdmitted = look !== undefined && protectedPaths.admits(path, typeOf(look.stat) === 'directory')

    const pending = files.pendingAt(subject)
    if (pending !== undefined) {
      if (isAdmitted && isEqualStat(pending, look.stat) && !isDoubtful(subject)) return 'done'
      files.cancel(subject)
    }
    if (isAdmitted) {
      const isAnchor = known !== undefined && anchors.is(path)
      if (isAnchor && !anchors.standsFor(known.stat, known.id, look, absolute(path))) return this.#vanish(path)
      const place = { subject, lane, path, look }
      return known !== undefined && isStillThat(known, look, isAnchor)
        ? this.#update({ ...place, known, occupant: undefined })
        : this.#arrive({ ...place, known: undefined, occupant: known })
    }
    if (look === undefined && isRoot) return this.#vanish(path)
    if (look === undefined && !source.stands(directory)) return this.#moved(subject)
    if (known === undefined || (look !== undefined && protectedPaths.isAbove(path))) return 'done'
    return this.#remove(subject, lane, path)
  }

  // --- gone

  #remove(subject: Subject, lane: Lane, path: TreePath): Outcome {
    const fallen = this.#parts.anchors.fallenAbove(path)
    if (fallen !== undefined) return this.#vanish(fallen)
    this.#parts.treeWriter.remove(lane, subject, path)
    return 'done'
  }

  #vanish(anchor: TreePath): Outcome {
    this.#parts.anchors.vanish(anchor)
    return 'vanished'
  }

  #moved({ directory }: Subject): Outcome {
    this.#parts.hearing.lookFor(directory)
    return 'moved'
  }

  // --- still the same node

  #update(at: KnownPlace): Outcome {
    const { look, known, subject } = at
    const isChanged = !isEqualStat(known.stat, look.stat)
    switch (typeOf(look.stat)) {
      case 'directory':
        return this.#updateDirectory(at)
      case 'file':
        if (!isChanged && !isDoubtful(subject)) return 'done'
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

  #updateDirectory(at: KnownPlace): Outcome {
    const { look, known, subject } = at
    const outcome = isEqualStat(known.stat, look.stat) ? 'done' : this.#updateAttributes(at)
    const isToCompare = (subject.reasons & reason.below) !== 0 || !isSameNode(known.stat, look.stat)
    if (outcome === 'done' && isToCompare) this.#follow(at, known.id)
    return outcome
  }

  #follow({ lane, path, look }: Place, id: NodeId): void {
    this.#parts.watching.follow(id, absolute(path), look)
    this.#parts.compareBelow(lane, id, path)
  }

  #updateAttributes(at: KnownPlace): Outcome {
    const { look, known, path, lane, subject } = at
    const { attributes, xattrs } = attributesAt(absolute(path), look.stat)
    if (isSameAttributesStat(known.stat, look.stat) && isSameXattrs(known.xattrs, xattrs)) return this.#keepStat(at)
    if (!this.#parts.source.stands(subject.directory)) return this.#moved(subject)
    const facts = { stat: look.stat, xattrs, content: known.content }
    this.#parts.treeWriter.setAttributes(lane, path, known.id, attributes, facts)
    return 'done'
  }

  /** Nothing changed that a tree holds. */
  #keepStat({ known, look }: KnownPlace): Outcome {
    this.#parts.tree.setStat(known.id, look.stat)
    return 'done'
  }

  #updateFile(at: KnownPlace): Outcome {
    const { look, known, subject, lane } = at
    const mayBeWritten = isDoubtful(subject) || lane === 'bulk'
    if (!mayBeWritten && isProven(known.stat) && isSameContentStat(known.stat, look.stat))
      return this.#updateAttributes(at)
    if (sizeOf(look.stat) > largeFileBytes || sizeOf(known.stat) > largeFileBytes) return { large: at }
    return this.#parts.files.capture(at, this.#parts.tree.signature(known))
  }

  // --- something else than before, or something new

  #arrive(at: Place): Outcome {
    const { subject, look, path } = at
    const { tree, files } = this.#parts
    // Another name of a file that is about to be written: it becomes a link to that one.
    if (look.links > 1 && typeOf(look.stat) === 'file' && this.#isUnderWayElsewhere(at)) return 'moved'
    for (const node of tree.withInode(inodeOf(look.stat))) {
      if (!isSameNode(node.stat, look.stat) || !isProven(node.stat)) continue
      const names = tree
        .names(node.id)
        .filter(({ directory, name }) => directory !== subject.directory || name !== subject.name)
      const kept = names.find((other) => this.#standsAt(other, node))
      // Mounted at two places, or with a symbolic link to it that is protected, one directory is two in the tree.
      if (kept !== undefined && typeOf(look.stat) === 'directory') continue
      if (kept !== undefined && look.links > 1) return this.#link(at, node, kept)
      const left = names.find((other) => !this.#standsAt(other, node))
      if (left === undefined) continue
      const from = tree.pathAt(left.directory, left.name)
      if (from === undefined || from.startsWith(stagingName)) continue
      if (isWithin(parentOf(path), from)) return this.#moved(subject)
      return this.#rename(at, node, left, from)
    }
    if (typeOf(look.stat) !== 'file') return this.#put(at)
    return sizeOf(look.stat) > largeFileBytes ? { large: at } : files.capture(at, emptySignature)
  }

  #isUnderWayElsewhere({ subject, look }: Place): boolean {
    const key = dirtyKey(subject.directory, subject.name)
    const { files, largeFiles } = this.#parts
    return files.isPendingElsewhere(look.stat, key) || largeFiles.isReadElsewhere(inodeOf(look.stat), key)
  }

  #standsAt({ directory, name }: NameRow, node: CatalogNode): boolean {
    const path = this.#parts.tree.pathAt(directory, name)
    if (path === undefined) return false
    const look = this.#parts.source.look(path)
    return look !== undefined && isSameNode(look.stat, node.stat)
  }

  #link(at: Place, node: CatalogNode, kept: NameRow): Outcome {
    const { tree, source, treeWriter } = this.#parts
    const to = tree.pathAt(kept.directory, kept.name)
    if (to === undefined || !source.stands(at.subject.directory)) return this.#moved(at.subject)
    treeWriter.link(at, to, node.id)
    return this.#update({ ...this.#doubted(at), known: node, occupant: undefined })
  }

  #rename(at: Place, node: CatalogNode, left: NameRow, from: TreePath): Outcome {
    const { subject, look } = at
    const { source, treeWriter, hearing, watching } = this.#parts
    if (!source.stands(subject.directory)) return this.#moved(subject)
    treeWriter.rename(at, node, left, from)
    // What was put where it came from is compared when its turn comes; what is here now may have changed on the way.
    hearing.notice(left, reason.entry)
    const outcome = this.#update({ ...this.#doubted(at), known: node, occupant: undefined })
    // It may have left a part of the tree that has not been compared yet for one that has.
    const isUncertain = look.handle === undefined || !watching.isFollowed(node.id)
    if (typeOf(node.stat) === 'directory' && isUncertain && (subject.reasons & reason.below) === 0)
      this.#follow(at, node.id)
    return outcome
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

  /** Everything but a file. */
  #put(at: Place): Outcome {
    const { subject, path, look } = at
    const { source, anchors, filesystems, treeWriter } = this.#parts
    const content = contentAt(absolute(path), look.stat)
    const { attributes, xattrs } = attributesAt(absolute(path), look.stat)
    if (!source.stands(subject.directory)) return this.#moved(subject)
    const target = content.type === 'symlink' ? Buffer.from(content.target, 'latin1') : undefined
    const id = treeWriter.put(at, { attributes, content, facts: { stat: look.stat, xattrs, content: target } })
    if (id === undefined || content.type !== 'directory') return 'done'
    if (anchors.isMount(subject.directory, look.stat)) anchors.addMount(id)
    if (!filesystems.isVirtual(look)) this.#follow(at, id)
    return 'done'
  }
}

/** An anchor stays itself whatever directory is in its place; a node from a manifest is recognised by its type. */
function isStillThat(known: CatalogNode, look: Look, isAnchor: boolean): boolean {
  if (isSameNode(known.stat, look.stat)) return true
  if (typeOf(known.stat) !== typeOf(look.stat)) return false
  return !isProven(known.stat) || (isAnchor && typeOf(look.stat) === 'directory')
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
