import { readdirSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import { displayName, isWithin, type TreePath } from '../../model/path.ts'
import type { CatalogTree, NodeId } from './catalog-tree.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { Look } from './filesystems.ts'
import type { Problems } from './problems.ts'
import { absolute, type ProtectedPaths } from './protected-paths.ts'
import type { SourceTree } from './source-tree.ts'
import { type AbsolutePath, filesystemNumberOf, isSameNode, type Stat, systemPath, typeOf } from './stat.ts'

export interface AnchorsParts {
  readonly tree: CatalogTree
  readonly source: SourceTree
  readonly protectedPaths: ProtectedPaths
  readonly writer: BatchWriter
  readonly problems: Problems
}

/**
 * Protected directories, and directories on which other file systems are mounted: what may be gone without anybody
 * having deleted what is below. An anchor that is missing, or in whose place there is an empty directory now (a mount point
 * without its mount), has vanished: nothing below it is taken as deleted until it is back.
 */
export class Anchors {
  readonly #tree: CatalogTree
  readonly #source: SourceTree
  readonly #protected: ProtectedPaths
  readonly #writer: BatchWriter
  readonly #problems: Problems
  readonly #mounts = new Set<NodeId>()
  readonly #vanished = new Set<TreePath>()

  constructor(parts: AnchorsParts) {
    this.#tree = parts.tree
    this.#source = parts.source
    this.#protected = parts.protectedPaths
    this.#writer = parts.writer
    this.#problems = parts.problems
    for (const id of parts.tree.mountPoints()) this.#mounts.add(id)
  }

  get vanished(): readonly TreePath[] {
    return [...this.#vanished]
  }

  isVanished(path: TreePath): boolean {
    for (const anchor of this.#vanished) if (isWithin(path, anchor)) return true
    return false
  }

  vanish(anchor: TreePath): void {
    if (this.isVanished(anchor)) return
    this.#vanished.add(anchor)
    this.#writer.write('live', { kind: 'mark', mark: { type: 'vanished', path: anchor } })
    this.#problems.set(problemPlace(anchor), {
      code: 'source-vanished',
      message: `/${displayName(anchor)} is not there, or is an empty directory where there was none; nothing is taken as deleted`,
      hint: 'mount it or bring it back; if it is meant to be gone, take it out of the source',
    })
  }

  /** Looks which have vanished, and yields those that are back. */
  lookAgain(): TreePath[] {
    const returned: TreePath[] = []
    for (const anchor of this.all()) {
      if (this.#hasFallen(anchor)) this.vanish(anchor)
      else if (this.#vanished.delete(anchor)) {
        this.#problems.clear(problemPlace(anchor))
        returned.push(anchor)
      }
    }
    return returned
  }

  is(path: TreePath): boolean {
    return this.#protected.is(path) || this.all().includes(path)
  }

  addMount(id: NodeId): void {
    this.#mounts.add(id)
    this.#tree.addMountPoint(id)
  }

  /** Whether a directory of this stat in this directory is where a file system is mounted. */
  isMount(directory: NodeId, stat: Stat): boolean {
    const above = this.#tree.node(directory)
    return above !== undefined && filesystemNumberOf(above.stat) !== filesystemNumberOf(stat)
  }

  /** The anchors that hold `path`, outermost first, as they stand in the catalog. */
  all(): TreePath[] {
    const paths = this.#protected.all.map(({ path }) => path)
    for (const id of this.#mounts) {
      const path = this.#tree.pathOf(id)
      if (path === undefined) this.#mounts.delete(id)
      else paths.push(path)
    }
    return paths.sort((a, b) => a.length - b.length)
  }

  /** The outermost anchor that holds `path` and has vanished. */
  fallenAbove(path: TreePath): TreePath | undefined {
    return this.all().find((anchor) => isWithin(path, anchor) && this.#hasFallen(anchor))
  }

  #hasFallen(anchor: TreePath): boolean {
    if (anchor === '') return false
    const look = this.#source.look(anchor)
    const known = this.#known(anchor)
    return !this.standsFor(known?.stat, known?.id, look, absolute(anchor))
  }

  /** Whether what is found in the place of an anchor may be taken for it, changed as it may be. */
  standsFor(known: Stat | undefined, id: NodeId | undefined, look: Look | undefined, path: AbsolutePath): boolean {
    if (look === undefined) return false
    if (known === undefined || id === undefined || isSameNode(known, look.stat)) return true
    if (typeOf(known) !== 'directory' || !this.#tree.hasChildren(id)) return true
    return typeOf(look.stat) === 'directory' && !isEmpty(path)
  }

  #known(anchor: TreePath) {
    const id = this.#tree.idAt(anchor)
    return id === undefined ? undefined : this.#tree.node(id)
  }
}

const problemPlace = (anchor: TreePath): string => `vanished ${anchor}`

function isEmpty(path: AbsolutePath): boolean {
  try {
    return readdirSync(systemPath(path), 'latin1').every((name) => name === 'lost+found')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return true
    throw error
  }
}
