import { joinPath, stagingName, type TreePath } from '../../model/path.ts'
import type { Attributes } from '../../model/change.ts'
import type { Lane } from '../batch-builder.ts'
import type { BatchWriter } from './batch-writer.ts'
import { type CatalogTree, type NameRow, type NodeId, rootNode } from './catalog-tree.ts'
import { unprovenStat } from './stat.ts'

/** A free name in the staging directory. */
export interface StagingPlace extends NameRow {
  readonly path: TreePath
}

const attributes: Attributes = { mode: 0o700, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }

/** The directory of the vault's tree in which things are built that are not whole yet. Nothing of it is on disk. */
export class Staging {
  readonly #tree: CatalogTree
  readonly #writer: BatchWriter
  #count = 0

  constructor(parts: { tree: CatalogTree; writer: BatchWriter }) {
    this.#tree = parts.tree
    this.#writer = parts.writer
  }

  place(lane: Lane): StagingPlace {
    const name = String(++this.#count)
    return { directory: this.#directory(lane), name, path: joinPath(stagingName as TreePath, name) }
  }

  /** What an earlier session left is of no use. */
  clear(): void {
    const known = this.#tree.child(rootNode, stagingName)
    if (known === undefined || !this.#tree.hasChildren(known.id)) return
    this.#writer.write('bulk', { kind: 'remove', path: stagingName as TreePath })
    this.#tree.remove(rootNode, stagingName)
  }

  #directory(lane: Lane): NodeId {
    const known = this.#tree.child(rootNode, stagingName)
    if (known !== undefined) return known.id
    this.#writer.write(lane, {
      kind: 'put',
      path: stagingName as TreePath,
      attributes,
      content: { type: 'directory' },
    })
    const stat = unprovenStat({ type: 'directory', mode: attributes.mode, uid: 0, gid: 0, modifiedNs: 0n, size: 0 })
    return this.#tree.add(rootNode, stagingName, { stat, xattrs: undefined, content: undefined })
  }
}
