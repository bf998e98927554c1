import type { BinaryString } from '../../model/path.ts'

/** What stands in an archive, in an order in which it can be unpacked: directories before what is in them. */
export type ArchiveEntry = ArchivePlace &
  (
    | { readonly type: 'directory' }
    /** Exactly `bytes` bytes; read before the next entry is asked for, or never. */
    | { readonly type: 'file'; readonly bytes: number; readonly content: AsyncIterable<Uint8Array> }
    | { readonly type: 'symlink'; readonly target: BinaryString }
  )

export interface ArchivePlace {
  /** Names joined by '/', without one at either end; none of them '.' or '..'. */
  readonly path: BinaryString
  /** The low twelve bits of st_mode. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly modifiedNs: bigint
}
