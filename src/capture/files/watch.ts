import type { NodeId } from './catalog-tree.ts'
import type { Look } from './filesystems.ts'
import type { AbsolutePath } from './stat.ts'

/** A way to be told where something may have changed. What it tells are hints; the truth is what is read afterwards. */
export interface Watch extends Disposable {
  /** As shown to the operator. */
  readonly name: 'fanotify' | 'inotify' | 'scanning'
  /** Readable when something is queued; undefined where nothing ever is. */
  readonly fd: number | undefined
  /**
   * From now on what happens to the entries of this directory is told. Called before the directory is listed, so that
   * nothing falls between. False where that cannot be had: then only scanning finds changes there.
   */
  follow(directory: NodeId, path: AbsolutePath, look: Look): boolean
  /** The directory left the tree. */
  forget(directory: NodeId): void
  /** Tells a part of what is queued. To be called while `fd` is readable. */
  hear(noticed: Noticed): void
}

/** Two nodes stand for one directory, and what happens in it is told of the one that was followed last: not of this one. */
export type Displaced = (directory: NodeId) => void

export interface Noticed {
  /**
   * `reasons` are those of dirty-set.ts; `closed` is false while a file may still be open for writing; `inode` is what
   * the name stood for then, where that is known.
   */
  entry(directory: NodeId, name: string, reasons: number, closed: boolean, inode?: bigint): void
  /** The directory itself. */
  directory(directory: NodeId): void
  moved(from: { directory: NodeId; name: string }, to: { directory: NodeId; name: string }): void
  /** Some name of the node with this inode. */
  inode(inode: bigint, reasons: number): void
  /** Something happened that nobody was told of. */
  lost(): void
}

/** For where no events can be had. */
export const noWatch: Watch = {
  name: 'scanning',
  fd: undefined,
  follow: () => false,
  forget: () => undefined,
  hear: () => undefined,
  [Symbol.dispose]: () => undefined,
}
