import type { TreePath } from '../../model/path.ts'
import { type CatalogTree, type NodeId, rootNode } from './catalog-tree.ts'
import type { Filesystems, Look } from './filesystems.ts'
import { absolute, type ProtectedPaths } from './protected-paths.ts'

/** The source as it stands at present. */
export class SourceTree {
  readonly #tree: CatalogTree
  readonly #filesystems: Filesystems
  readonly #protected: ProtectedPaths

  constructor(parts: { tree: CatalogTree; filesystems: Filesystems; protectedPaths: ProtectedPaths }) {
    this.#tree = parts.tree
    this.#filesystems = parts.filesystems
    this.#protected = parts.protectedPaths
  }

  look(path: TreePath): Look | undefined {
    const at = absolute(path)
    return this.#protected.is(path) ? this.#filesystems.lookThrough(at) : this.#filesystems.look(at)
  }

  /** Whether the directory is where the catalog has it. Asked before everything that is written. */
  stands(directory: NodeId): boolean {
    if (directory === rootNode) return true
    const path = this.#tree.pathOf(directory)
    const node = this.#tree.node(directory)
    if (path === undefined || node === undefined) return false
    if (this.#protected.isAbove(path)) return true
    return this.#filesystems.isAt(absolute(path), node.stat, this.#protected.is(path))
  }
}
