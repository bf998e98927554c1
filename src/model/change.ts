import type { BinaryString, TreePath } from './path.ts'
import type { Moment } from './moment.ts'

/** HMAC-SHA-256 of a chunk's bytes under the vault's chunk key: 32 bytes, as a binary string. */
export type ChunkId = BinaryString & { readonly names: 'chunk' }
export const chunkIdBytes = 32

export interface Xattr {
  readonly name: BinaryString
  readonly value: Uint8Array
}

export interface Attributes {
  /** The permission bits with setuid, setgid and sticky: the low twelve bits of st_mode. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Modification time, nanoseconds since the Unix epoch. */
  readonly modifiedNs: bigint
  /** Ascending by name; POSIX ACLs are the names `system.posix_acl_access` and `system.posix_acl_default`. */
  readonly xattrs: readonly Xattr[]
}

/** A range of a file whose bytes are a whole chunk, or stand in the change itself. Uncovered ranges are zeros. */
export type Extent =
  | { readonly at: number; readonly bytes: number; readonly chunk: ChunkId }
  | { readonly at: number; readonly bytes: number; readonly data: Uint8Array }

export type Content =
  | { readonly type: 'directory' }
  | { readonly type: 'file'; readonly bytes: number; readonly extents: readonly Extent[] }
  | { readonly type: 'symlink'; readonly target: BinaryString }
  | { readonly type: 'fifo' }
  | { readonly type: 'socket' }
  | { readonly type: 'character-device' | 'block-device'; readonly major: number; readonly minor: number }

/**
 * One step of a tree. Each is atomic: a recovery point lies before or after it, never inside.
 *
 * - `put` makes `path` be exactly this, whatever was there (a directory put over a directory keeps its children).
 * - `patch` changes parts of a file: the extents given replace the ranges they cover, `zeros` become holes, then the
 *   file gets `bytes` as its size and the attributes.
 * - `link` makes `path` another name of the file at `to` (a hard link).
 * - `rename` moves `from`, with all below it, over whatever is at `path`. `from` must be there.
 * - `remove` makes `path`, with all below it, be absent; removing what is absent changes nothing.
 * - `write`, `zero`, `truncate` change bytes of a file, which a `write` or `truncate` creates where it is absent.
 * - `mark` names this place of the journal and changes nothing.
 */
export type Change =
  | { kind: 'put'; path: TreePath; attributes: Attributes; content: Content }
  | { kind: 'patch'; path: TreePath; attributes: Attributes; bytes: number; extents: Extent[]; zeros: Range[] }
  | { kind: 'link'; path: TreePath; to: TreePath }
  | { kind: 'rename'; path: TreePath; from: TreePath }
  | { kind: 'remove'; path: TreePath }
  | { kind: 'attributes'; path: TreePath; attributes: Attributes }
  | { kind: 'write'; path: TreePath; at: number; data: Uint8Array }
  | { kind: 'zero'; path: TreePath; at: number; bytes: number }
  | { kind: 'truncate'; path: TreePath; bytes: number }
  | { kind: 'mark'; mark: Mark }

export interface Range {
  readonly at: number
  readonly bytes: number
}

/**
 * A named place in a journal.
 * - `suspect` opens a span in which the tree may be behind the source (baseline, reconciling after a gap); the next
 *   `complete` closes it. Moments inside are not claimed to be exact.
 * - `hole`: changes made from `since` on were not kept one by one; the tree converges again by the next `complete`.
 * - `torn`: a file kept changing while it was read; what stands at `path` is an older version until it is put again.
 * - `flush`: whoever wrote was told that everything before this is safe (kind `volume`); there are many.
 * - `vanished`: a protected path or its mount went away; nothing was taken as deleted.
 */
export type Mark =
  | { type: 'suspect'; reason: SuspectReason }
  | { type: 'complete'; reason: SuspectReason }
  | { type: 'hole'; since: Moment; reason: string }
  | { type: 'torn'; path: TreePath }
  | { type: 'vanished'; path: TreePath }
  | { type: 'user'; label: string }
  | { type: 'flush' }

export const suspectReasons = [
  'baseline',
  'start',
  'overflow',
  'spool-full',
  'schedule',
  'vanished',
  'request',
  'mirror',
] as const
export type SuspectReason = (typeof suspectReasons)[number]
