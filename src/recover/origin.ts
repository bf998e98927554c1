import type { TreePath } from '../model/path.ts'
import type { RestorePoint } from '../model/recovery-point.ts'

/**
 * Where a restore gets its tree from: one point of one journal. Asked twice for the same, it gives the same.
 * Errors of any call: `unreachable` where the connection broke, `point-unreachable`, `not-found`, `not-allowed`.
 */
export interface RestoreOrigin {
  /** The point itself, as a place in the journal. Anything that moves, such as `latest`, stands still afterwards. */
  resolve(): Promise<RestorePoint>
  /** The tree at and below `paths` (all of it when there are none), as in format/manifest.ts. */
  manifest(paths: readonly TreePath[]): AsyncIterable<Uint8Array>
  /**
   * The bytes of the requests, one after the other, in pieces of any size. Where the vault knows some of them to be
   * damaged it throws `damaged`; the others can be had by asking for less at a time. May run several times at once.
   * At most `readRequestsMax` requests, with paths of together at most `readPathBytesMax` bytes.
   */
  read(requests: readonly ReadRequest[]): AsyncIterable<Uint8Array>
  /** HMAC key of chunk ids: what restored bytes are checked with, end to end. */
  readonly chunkKey: Uint8Array
}

export interface ReadRequest {
  readonly path: TreePath
  readonly at: number
  readonly bytes: number
}

export const readRequestsMax = 2048
export const readPathBytesMax = 256 * 1024
