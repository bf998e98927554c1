import { createReadStream } from 'node:fs'
import { decodeManifest } from '../../format/manifest.ts'
import type { Change, Content } from '../../model/change.ts'
import { displayName, nameOf, parentOf, type TreePath } from '../../model/path.ts'
import { hashOf } from './attributes.ts'
import type { Catalog } from './catalog.ts'
import { type CatalogNode, type CatalogTree, type NodeId, rootNode } from './catalog-tree.ts'
import type { ContentReader } from './content-reader.ts'
import { isSameIds, type Signature, SignatureBuilder } from './signature.ts'
import { inodeOf, isProven, isSameAttributesStat, sizeOf, type Stat, typeOf, unprovenStat } from './stat.ts'

/**
 * Makes a catalog say what a manifest says. Where an older catalog knows the same thing of the same content, its stat
 * is taken over, so that what has not changed on disk since is not read again; all else is unproven: it is read, and
 * sent only where it differs from what the vault has.
 */
export async function takeOverManifest(
  path: string,
  parts: { into: Catalog; cursor: Uint8Array; older: Catalog | undefined; content: ContentReader },
): Promise<void> {
  const { tree, batches } = parts.into
  const merge = new ManifestMerge({ into: tree, older: parts.older?.tree, content: parts.content })
  for await (const changes of decodeManifest(createReadStream(path))) {
    batches.begin(batches.sequence)
    for (const change of changes) merge.take(change)
    batches.commit(batches.sequence, parts.cursor)
  }
}

class ManifestMerge {
  readonly #into: CatalogTree
  readonly #older: CatalogTree | undefined
  readonly #content: ContentReader
  /** The directory met last, in both catalogs: most names are in the same one as the name before. */
  #directory: { path: TreePath; id: NodeId; olderId: NodeId | undefined } = {
    path: '' as TreePath,
    id: rootNode,
    olderId: rootNode,
  }

  constructor({ into, older, content }: { into: CatalogTree; older: CatalogTree | undefined; content: ContentReader }) {
    this.#into = into
    this.#older = older
    this.#content = content
  }

  take(change: Change): void {
    if (change.kind === 'put') return change.path === '' ? undefined : this.#put(change)
    if (change.kind !== 'link')
      throw new Error(`broken invariant: a manifest holds puts and links, not a ${change.kind}`)
    const target = this.#enter(parentOf(change.to))
    const node = this.#into.child(target.id, nameOf(change.to))
    if (node === undefined) throw new Error(`broken invariant: ${displayName(change.to)} is told before its links`)
    this.#into.link(this.#enter(parentOf(change.path)).id, nameOf(change.path), node.id)
  }

  #put({ path, attributes, content }: Extract<Change, { kind: 'put' }>): void {
    const { id: parent, olderId } = this.#enter(parentOf(path))
    const name = nameOf(path)
    const told = unprovenStat({ ...attributes, type: content.type, size: content.type === 'file' ? content.bytes : 0 })
    const xattrs = hashOf(attributes.xattrs)
    const older = olderId === undefined ? undefined : this.#older?.child(olderId, name)
    const known = older !== undefined && isSame(older, told) ? older : undefined
    if (content.type !== 'file') {
      const target = content.type === 'symlink' ? Buffer.from(content.target, 'latin1') : undefined
      this.#into.add(parent, name, { stat: known?.stat ?? told, xattrs, content: target })
      return
    }
    const signature = this.#signature(content)
    const knownSignature = known === undefined ? undefined : this.#older?.signature(known)
    if (known !== undefined && knownSignature !== undefined && isSameIds(knownSignature, signature))
      this.#into.addFile(parent, name, { stat: known.stat, xattrs }, knownSignature)
    else this.#into.addFile(parent, name, { stat: told, xattrs }, signature)
  }

  #enter(path: TreePath): { id: NodeId; olderId: NodeId | undefined } {
    if (path === this.#directory.path) return this.#directory
    const id = this.#into.idAt(path)
    if (id === undefined) throw new Error(`broken invariant: /${displayName(path)} is told after what is in it`)
    this.#directory = { path, id, olderId: this.#older?.idAt(path) }
    return this.#directory
  }

  #signature(content: Extract<Content, { type: 'file' }>): Signature {
    const builder = new SignatureBuilder()
    for (const extent of content.extents) {
      const id = 'data' in extent ? this.#content.idOf(extent.data) : extent.chunk
      builder.add({ at: extent.at, bytes: extent.bytes, id, print: 0n })
    }
    return builder.build()
  }
}

function isSame(older: CatalogNode, told: Stat): boolean {
  return (
    isProven(older.stat) &&
    inodeOf(older.stat) !== 0n &&
    typeOf(older.stat) === typeOf(told) &&
    sizeOf(older.stat) === sizeOf(told) &&
    isSameAttributesStat(older.stat, told)
  )
}
