import type { Sequence } from '../model/sequence.ts'
import type { TreePath } from '../model/path.ts'
import type { RestorePoint } from '../model/recovery-point.ts'

/**
 * Reads parts of the tree of one source at any point of its journal. Asked twice for the same, it gives the same.
 * Errors of any call: `unreachable` where the connection broke, `point-unreachable` where the journal does not reach, `not-allowed`,
 * `damaged` where the vault knows that bytes are not what was stored.
 */
export interface TreeReader {
  /** A general recovery point (model/recovery-point.ts) as a place in the journal. */
  resolve(point: string): Promise<RestorePoint>
  /** The files of a folder; none where it is absent. */
  list(folder: TreePath, at: Sequence): Promise<readonly TreeFile[]>
  /** The bytes of a file, from `from` on and at most `bytes` of them, in pieces of any size; `not-found` where it is absent. */
  read(
    path: TreePath,
    at: Sequence,
    range?: { readonly from: number; readonly bytes: number },
  ): AsyncIterable<Uint8Array>
}

export interface TreeFile {
  readonly name: string
  readonly bytes: number
}

export async function readWhole(
  tree: TreeReader,
  path: TreePath,
  at: Sequence,
  range?: { readonly from: number; readonly bytes: number },
): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of tree.read(path, at, range)) pieces.push(piece)
  return Buffer.concat(pieces)
}
