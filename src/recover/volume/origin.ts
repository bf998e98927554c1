import type { Range } from '../../model/change.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { RestorePoint } from '../../model/recovery-point.ts'

/** A volume as it stood at one point of its journal, at the vault. Asked twice for the same, it gives the same. */
export interface VolumeOrigin {
  readonly point: RestorePoint
  /** Size of the volume there. */
  readonly bytes: number
  /** Why what stands there may never have stood side by side in the volume. */
  readonly suspect?: string
  /**
   * What stands in the ranges, in any order, each byte of it once; a stretch without data is zeros. All data has been
   * checked against its name. Throws `damaged` where some of it cannot be had: the rest can, by asking for less at a time;
   * `unreachable` where the connection broke, `point-unreachable` where the point has left the window.
   */
  read(ranges: readonly Range[], signal: AbortSignal): AsyncIterable<Stretch>
  /**
   * For whoever wants all of it: first what stands in the journal after a change, as it comes there, wherever it belongs in
   * the volume; `reached` says from where on it can be gone on with. What is damaged is told as `lost`.
   */
  readJournal(after: Sequence, signal: AbortSignal): AsyncIterable<JournalStretch>
  /** Then the rest: as `read`, and only told where the journal had it. */
  readRest(ranges: readonly Range[], signal: AbortSignal): AsyncIterable<RestStretch>
  /** Where data stands from `at` on; it may be told for less than was asked for, then up to `until`. */
  extents(range: Range, signal: AbortSignal): Promise<{ readonly until: number; readonly data: readonly Range[] }>
}

export interface Stretch extends Range {
  readonly data?: Uint8Array
}

export type JournalStretch =
  | (Range & { readonly kind: 'data'; readonly data: Uint8Array })
  | (Range & { readonly kind: 'lost'; readonly message: string })
  | { readonly kind: 'reached'; readonly sequence: Sequence }

export interface RestStretch extends Stretch {
  /** It stands in the journal. */
  readonly isInJournal?: boolean
}

/** Ranges in one call of `read`. */
export const rangesMax = 1024
