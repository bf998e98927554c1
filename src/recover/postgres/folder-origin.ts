import { decodeManifest, encodeManifest } from '../../format/manifest.ts'
import type { Attributes, Change } from '../../model/change.ts'
import { isWithin, rootPath, type TreePath } from '../../model/path.ts'
import type { RestoreOrigin } from '../origin.ts'

export interface FolderRules {
  /** Whom everything shall belong to; else whom it belonged to. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
  /** What is not restored. */
  readonly leaveOut?: (path: TreePath, isSymlink: boolean) => boolean
  /** Another name for a file, which must stand at the same place in the order of its folder. */
  readonly renamed?: ReadonlyMap<TreePath, TreePath>
}

/** One folder of a tree as a tree of its own, so that the engine restores it straight to its place. */
export function folderOrigin(origin: RestoreOrigin, folder: TreePath, rules: FolderRules = {}): RestoreOrigin {
  const before = new Map(Array.from(rules.renamed ?? [], ([from, to]) => [to, from]))
  const inner = (path: TreePath): TreePath => {
    const stripped = (path === folder ? rootPath : path.slice(folder.length + 1)) as TreePath
    return rules.renamed?.get(stripped) ?? stripped
  }
  return {
    chunkKey: origin.chunkKey,
    resolve: () => origin.resolve(),
    manifest: () => encodeManifest(changes(decodeManifest(origin.manifest([folder])))),
    read: (requests) =>
      origin.read(
        requests.map(({ path, ...range }) => ({ path: `${folder}/${before.get(path) ?? path}` as TreePath, ...range })),
      ),
  }

  async function* changes(groups: AsyncIterable<Change[]>): AsyncGenerator<Change> {
    for await (const group of groups) {
      for (const change of group) {
        if (change.kind === 'mark' || !isWithin(change.path, folder)) continue
        const path = inner(change.path)
        const isSymlink = change.kind === 'put' && change.content.type === 'symlink'
        if (rules.leaveOut?.(path, isSymlink)) continue
        if (change.kind === 'link') yield { ...change, path, to: inner(change.to) }
        else if ('attributes' in change) yield { ...change, path, attributes: owned(change.attributes) }
        else yield { ...change, path }
      }
    }
  }

  function owned(attributes: Attributes): Attributes {
    return rules.owner === undefined ? attributes : { ...attributes, ...rules.owner }
  }
}
