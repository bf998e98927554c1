import type { Chunk } from '../../format/block.ts'
import type { Attributes, Content, Extent } from '../../model/change.ts'
import { isWithin, type TreePath } from '../../model/path.ts'
import { isSameXattrs } from './attributes.ts'
import type { Lane } from '../batch-builder.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogNode, CatalogTree, NameRow, NodeFacts, NodeId } from './catalog-tree.ts'
import type { FileVersion } from './read-file.ts'
import { entriesOf, entryAt, entryBytes, type Signature } from './signature.ts'
import type { Staging, StagingPlace } from './staging.ts'
import { isSameAttributesStat, sizeOf, typeOf } from './stat.ts'
import type { Place } from './subject.ts'
import type { Watching } from './watching.ts'

export interface TreeWriterParts {
  readonly tree: CatalogTree
  readonly writer: BatchWriter
  readonly staging: Staging
  readonly watching: Watching
}

/** Writes what changed of the source, and makes the catalog say the same in the same batch. */
export class TreeWriter {
  readonly #parts: TreeWriterParts

  constructor(parts: TreeWriterParts) {
    this.#parts = parts
  }

  remove(lane: Lane, at: NameRow, path: TreePath): void {
    this.#parts.writer.write(lane, { kind: 'remove', path })
    this.#forget(at)
  }

  /** Everything but a file. Yields the node where it is a new one. */
  put({ subject, lane, path, known, occupant }: Place, put: Put): NodeId | undefined {
    const { writer, tree } = this.#parts
    if (isDirectory(occupant)) this.remove(lane, subject, path)
    writer.write(lane, { kind: 'put', path, attributes: put.attributes, content: put.content })
    if (known !== undefined) {
      tree.setFacts(known.id, put.facts)
      return undefined
    }
    this.#forget(subject)
    return tree.add(subject.directory, subject.name, put.facts)
  }

  setAttributes(lane: Lane, path: TreePath, id: NodeId, attributes: Attributes, facts: NodeFacts): void {
    this.#parts.writer.write(lane, { kind: 'attributes', path, attributes })
    this.#parts.tree.setFacts(id, facts)
    this.#linkOtherNames(lane, id, path)
  }

  /** Another name of a node that stands at `to`. What stands at the place goes: writing over it would keep a part of it. */
  link({ subject, lane, path, occupant }: Place, to: TreePath, id: NodeId): void {
    if (occupant !== undefined) this.remove(lane, subject, path)
    this.#parts.writer.write(lane, { kind: 'link', path, to })
    this.#parts.tree.link(subject.directory, subject.name, id)
  }

  rename({ subject, lane, path }: Place, node: CatalogNode, left: NameRow, from: TreePath): void {
    const { writer, tree, staging } = this.#parts
    if (isWithin(from, path)) {
      // It comes out of what it replaces.
      const aside = staging.place(lane)
      writer.write(lane, { kind: 'rename', path: aside.path, from })
      tree.rename(left, aside, node.id, isDirectory(node))
      writer.write(lane, { kind: 'rename', path, from: aside.path })
      this.#forget(subject)
      tree.rename(aside, subject, node.id, isDirectory(node))
    } else {
      writer.write(lane, { kind: 'rename', path, from })
      this.#forget(subject)
      tree.rename(left, subject, node.id, isDirectory(node))
    }
  }

  // --- files

  /** A version of a file, as what differs from what is known where that is little; `chunks` are those that the vault may lack. */
  writeFile({ subject, lane, path, known, occupant }: Place, version: FileVersion, chunks: readonly Chunk[]): void {
    const { writer, tree } = this.#parts
    const { attributes, bytes, changed, zeros, signature } = version
    const put = { kind: 'put', path, attributes, content: { type: 'file', bytes, extents: [...changed] } } as const
    if (known === undefined) {
      if (isDirectory(occupant)) this.remove(lane, subject, path)
      writer.write(lane, put, chunks)
      return this.#addFile(subject, version)
    }
    if (changed.length === 0 && zeros.length === 0 && bytes === sizeOf(known.stat)) {
      const isSame = isSameAttributesStat(known.stat, version.stat) && isSameXattrs(known.xattrs, version.xattrs)
      if (isSame) return tree.setFile(known.id, version, signature)
      writer.write(lane, { kind: 'attributes', path, attributes })
    } else if (isWhole(signature, changed)) {
      writer.write(lane, put, chunks)
    } else {
      writer.write(lane, { kind: 'patch', path, attributes, bytes, extents: [...changed], zeros: [...zeros] }, chunks)
    }
    this.#setFile(lane, path, known.id, version)
  }

  /** Puts a file that has been built whole where it belongs. */
  placeStaged({ subject, lane, known }: Place, path: TreePath, version: FileVersion, staged: StagingPlace): void {
    this.#parts.writer.write(lane, { kind: 'rename', path, from: staged.path })
    this.#parts.tree.remove(staged.directory, staged.name)
    if (known === undefined) this.#addFile(subject, version)
    else this.#setFile(lane, path, known.id, version)
  }

  #addFile(at: NameRow, version: FileVersion): void {
    this.#forget(at)
    this.#parts.tree.addFile(at.directory, at.name, version, version.signature)
  }

  #setFile(lane: Lane, path: TreePath, id: NodeId, version: FileVersion): void {
    this.#parts.tree.setFile(id, version, version.signature)
    this.#linkOtherNames(lane, id, path)
  }

  /** Says again which names are of this file, so that its other names never depend on how a change of one is told. */
  #linkOtherNames(lane: Lane, id: NodeId, path: TreePath): void {
    const { writer, tree } = this.#parts
    for (const { directory, name } of tree.names(id)) {
      const other = tree.pathAt(directory, name)
      if (other !== undefined && other !== path) writer.write(lane, { kind: 'link', path: other, to: path })
    }
  }

  #forget({ directory, name }: NameRow): void {
    for (const gone of this.#parts.tree.remove(directory, name)) this.#parts.watching.forget(gone)
  }
}

interface Put {
  readonly attributes: Attributes
  readonly content: Content
  readonly facts: NodeFacts
}

const isDirectory = (node: CatalogNode | undefined): boolean => node !== undefined && typeOf(node.stat) === 'directory'

/** Whether everything there is has changed, so that nothing of what was before is needed. */
function isWhole(signature: Signature, changed: readonly Extent[]): boolean {
  return (
    changed.length === entriesOf(signature) &&
    changed.every(({ at, bytes }, index) => at === entryAt(signature, index) && bytes === entryBytes(signature, index))
  )
}
