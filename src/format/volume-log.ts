import type { Moment } from '../model/moment.ts'

/**
 * The volume log: segment files in one folder, named by the number of their first record, as 16 hexadecimal digits and `.log`.
 * Decided in docs/decisions/0009-volumes.md; told at length in docs/formats/volume-log.md.
 */

/** A record's place in the log of one volume: starts at 1, grows by 1, is never used again; also over epochs. */
export type RecordNumber = number & { readonly is: 'RecordNumber' }

/** One thing that happened to a volume, in the order that counts. */
export type VolumeRecord = { readonly number: RecordNumber; readonly moment: Moment } & (
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array; readonly isForced: boolean }
  | { readonly kind: 'zero' | 'trim'; readonly at: number; readonly bytes: number; readonly isForced: boolean }
  | { readonly kind: 'flush' }
  /** A user's mark; `tag` is the agent's. */
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  /** The volume has this size from here on. */
  | { readonly kind: 'resize'; readonly bytes: number }
)
