import { readdirSync } from 'node:fs'
import { isSystemError, messageOf } from '../../base/errors.ts'
import type { SuspectReason } from '../../model/change.ts'
import { displayName, joinPath, nameOf, parentOf, stagingName, type TreePath } from '../../model/path.ts'
import type { Anchors } from './anchors.ts'
import { attributesAt } from './attributes.ts'
import type { BatchWriter } from './batch-writer.ts'
import { type CatalogTree, type ChildRow, type NodeId, rootNode } from './catalog-tree.ts'
import { reason } from './dirty-set.ts'
import type { EntryCapture } from './entry-capture.ts'
import type { Filesystems, Look } from './filesystems.ts'
import type { Hearing } from './hearing.ts'
import type { Problems } from './problems.ts'
import { absolute, type ProtectedPaths } from './protected-paths.ts'
import type { SourceTree } from './source-tree.ts'
import { changedNsOf, isEqualStat, sizeOf, systemPath, typeOf } from './stat.ts'
import type { Outcome, Subject } from './subject.ts'
import type { Watching } from './watching.ts'

/** Names that are no longer where they were are looked at last, when what has been renamed has been found elsewhere. */
const goneMax = 10_000
/** Of listing a directory that is not where the catalog has it. */
const triesMax = 1000

export interface ScanParts {
  readonly tree: CatalogTree
  readonly writer: BatchWriter
  readonly filesystems: Filesystems
  readonly watching: Watching
  readonly anchors: Anchors
  readonly protectedPaths: ProtectedPaths
  readonly problems: Problems
  readonly source: SourceTree
  readonly entries: EntryCapture
  readonly hearing: Hearing
  /** Looks after what could not be captured at once. */
  unsettled(subject: Subject, outcome: Exclude<Outcome, 'done'>): void
}

export interface ScanRequest {
  readonly reason: SuspectReason
  /** Which protected paths or anchors; all where none is named. */
  readonly paths: readonly TreePath[]
  /** Nodes changed at this time or later are read even when their times are as known: what was noticed ended about then. */
  readonly trustedBeforeNs: bigint
}

interface Listing {
  readonly directory: NodeId
  readonly names: readonly string[]
  index: number
  isTouched: boolean
  /** What the catalog has here and the names so far were not. */
  readonly known: Map<string, ChildRow>
}

/**
 * Compares everything with the catalog, a slice at a time. Every directory is followed before it is listed, so that
 * together with the watcher nothing falls between.
 */
export class Scan {
  readonly request: ScanRequest
  /** Met so far. */
  entries = 0
  bytes = 0
  readonly #parts: ScanParts
  readonly #starts: TreePath[]
  readonly #directories: NodeId[] = []
  readonly #gone: Subject[] = []
  #listing: Listing | undefined
  readonly #tries = new Map<NodeId, number>()

  constructor(parts: ScanParts, request: ScanRequest) {
    this.#parts = parts
    this.request = request
    this.#starts = [...request.paths].reverse()
  }

  /** A directory to compare, found while comparing its name. */
  push(directory: NodeId): void {
    this.#directories.push(directory)
  }

  /** Goes on until the end or until `isTime` says so. */
  step(isTime: () => boolean): 'more' | 'done' {
    while (!isTime()) {
      if (this.#listing !== undefined) this.#compareNext(this.#listing)
      else if (!this.#listNext()) return 'done'
    }
    return 'more'
  }

  #listNext(): boolean {
    const directory = this.#directories.pop()
    if (directory !== undefined) {
      this.#list(directory)
      return true
    }
    const start = this.#starts.pop()
    if (start !== undefined) {
      this.#start(start)
      return true
    }
    const gone = this.#gone.pop()
    if (gone === undefined) return false
    this.#capture(gone)
    return true
  }

  /** Makes the directories above a protected path be in the tree, then begins with the path itself. */
  #start(path: TreePath): void {
    if (path === '') return void this.#directories.push(rootNode)
    const above = this.#parts.protectedPaths.isAbove(parentOf(path))
      ? this.#above(parentOf(path))
      : this.#parts.tree.idAt(parentOf(path))
    if (above === undefined) return
    this.#followFile(path, above)
    this.#capture({ directory: above, name: nameOf(path), reasons: reason.entry | reason.below })
  }

  #above(path: TreePath): NodeId | undefined {
    if (path === '') return rootNode
    const parent = this.#above(parentOf(path))
    const look = this.#parts.filesystems.lookThrough(absolute(path))
    if (parent === undefined) return undefined
    const { tree, writer } = this.#parts
    const known = tree.child(parent, nameOf(path))
    if (look === undefined) return known?.id
    const { attributes, xattrs } = attributesAt(absolute(path), look.stat)
    const facts = { stat: look.stat, xattrs, content: undefined }
    if (known === undefined) {
      writer.write('bulk', { kind: 'put', path, attributes, content: { type: 'directory' } })
      return tree.add(parent, nameOf(path), facts)
    }
    if (!isEqualStat(known.stat, look.stat)) {
      writer.write('bulk', { kind: 'attributes', path, attributes })
      tree.setFacts(known.id, facts)
    }
    return known.id
  }

  /** A protected path that is no directory is seen only in the directory above it. */
  #followFile(path: TreePath, above: NodeId): void {
    const { filesystems, watching } = this.#parts
    const look = filesystems.lookThrough(absolute(path))
    const around = filesystems.lookThrough(absolute(parentOf(path)))
    if (look === undefined || around === undefined || typeOf(look.stat) === 'directory') return
    watching.follow(above, absolute(parentOf(path)), around)
  }

  #list(directory: NodeId): void {
    const { tree, anchors, problems, source } = this.#parts
    const path = tree.pathOf(directory)
    if (path === undefined || anchors.isVanished(path)) return
    const names = listDirectory(path, problems)
    if (!source.stands(directory)) return this.#listLater(directory)
    if (names === undefined) return
    const known = new Map(tree.children(directory).map((row) => [row.name, row]))
    if (directory === rootNode) known.delete(stagingName)
    this.#listing = { directory, names, index: 0, isTouched: false, known }
  }

  /** It is not where the catalog has it: once its own name has been compared, it is, or is no longer in the catalog. */
  #listLater(directory: NodeId): void {
    const at = this.#parts.tree.nameOf(directory)
    const tries = (this.#tries.get(directory) ?? 0) + 1
    if (at === undefined || tries > triesMax) return
    this.#tries.set(directory, tries)
    this.#parts.unsettled({ ...at, reasons: reason.entry }, 'moved')
    this.#directories.unshift(directory)
  }

  #compareNext(listing: Listing): void {
    const { directory, names, known } = listing
    const path = this.#parts.tree.pathOf(directory)
    if (path === undefined) return void (this.#listing = undefined)
    const name = names[listing.index++]
    if (name === undefined) {
      this.#listing = undefined
      // Its own times may be of before it was followed.
      if (listing.isTouched || known.size > 0) this.#parts.hearing.directory(directory)
      for (const goneName of known.keys()) {
        const gone = { directory, name: goneName, reasons: reason.entry }
        if (this.#gone.length < goneMax) this.#gone.push(gone)
        else this.#capture(gone)
      }
      return
    }
    const row = known.get(name)
    known.delete(name)
    this.entries++
    const childPath = joinPath(path, name)
    const subject = { directory, name, reasons: reason.entry | reason.below }
    let look: Look | undefined
    try {
      look = this.#parts.filesystems.look(absolute(childPath))
    } catch (error) {
      if (!isSystemError(error, 'EACCES', 'EIO', 'ELOOP', 'ENAMETOOLONG')) throw error
      // The same happens to the comparison, which tells it.
      return this.#capture(subject)
    }
    if (look === undefined) return this.#capture(subject)
    this.bytes += sizeOf(look.stat)
    if (row === undefined) listing.isTouched = true
    if (row !== undefined && isEqualStat(row.stat, look.stat)) {
      const isDirectory = typeOf(look.stat) === 'directory'
      if (!this.#parts.protectedPaths.admits(childPath, isDirectory)) return this.#capture(subject)
      if (isDirectory) return this.#follow(row.id, childPath, look)
      if (changedNsOf(look.stat) < this.request.trustedBeforeNs) return
      return this.#capture({ ...subject, reasons: reason.entry | reason.doubt }, look)
    }
    this.#capture(subject, look)
  }

  #follow(id: NodeId, path: TreePath, look: Look): void {
    if (this.#parts.filesystems.isVirtual(look)) return
    this.#parts.watching.follow(id, absolute(path), look)
    this.#directories.push(id)
  }

  #capture(subject: Subject, look?: Look): void {
    const outcome = this.#parts.entries.capture(subject, 'bulk', look)
    if (outcome !== 'done') this.#parts.unsettled(subject, outcome)
  }
}

/** The names in a directory as binary strings; undefined where it cannot be listed, told as a problem unless it is gone. */
export function listDirectory(path: TreePath, problems: Problems): string[] | undefined {
  try {
    return readdirSync(systemPath(absolute(path)), 'latin1')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ESTALE')) return undefined
    if (!isSystemError(error, 'EACCES', 'EPERM', 'EIO', 'ETIMEDOUT', 'EUCLEAN')) throw error
    problems.set(`below ${path}`, {
      code: 'unreadable',
      message: `the directory /${displayName(path)} cannot be listed: ${messageOf(error)}; what is known of it stands`,
      hint: 'let the agent read it, or exclude it',
    })
    return undefined
  }
}
