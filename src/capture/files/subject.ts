import type { TreePath } from '../../model/path.ts'
import type { Lane } from '../batch-builder.ts'
import type { CatalogNode, NameRow } from './catalog-tree.ts'
import { reason } from './dirty-set.ts'
import type { Look } from './filesystems.ts'

/** One name to compare, and why. */
export interface Subject extends NameRow {
  readonly reasons: number
}

/** Where a comparison stands: what it is of, what is there, what the catalog has there. */
export interface Place {
  readonly subject: Subject
  readonly lane: Lane
  readonly path: TreePath
  readonly look: Look
  /** In the catalog, and the same thing. */
  readonly known: CatalogNode | undefined
  /** In the catalog, and something else. */
  readonly occupant: CatalogNode | undefined
}

/** A place at which the catalog has the same thing. */
export type KnownPlace = Place & { readonly known: CatalogNode }

/**
 * - `done`: the catalog, and with it the journal, says what stands there, or will once the vault has answered
 * - `moved`: something else has to be found out first, such as where its directory is now
 * - `torn`: it kept changing while it was read
 * - `large`: a file to be read in steps, see large-file.ts
 * - `vanished`: an anchor above is gone
 * - `unreadable`: it is there and cannot be read; the problem has been told
 */
export type Outcome = 'done' | 'moved' | 'torn' | 'vanished' | 'unreadable' | { readonly large: Place }

/**
 * Equal times prove nothing when a write is known of: the kernel sets the times before it copies the bytes, and a
 * store through mmap may set none.
 */
export const isDoubtful = ({ reasons }: Subject): boolean => (reasons & (reason.content | reason.doubt)) !== 0
