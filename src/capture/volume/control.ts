import type { Problem } from '../../model/report.ts'
import type { VolumeSettings } from '../../model/source.ts'

/**
 * What a volume server and the capture that ships its log tell each other: JSON, one message a line, over `control.sock`.
 * The newest connection is the capture; an older one is closed.
 */
export type ToVolumeServer =
  /** Everything up to this record is durable at the vault. */
  | { readonly kind: 'acknowledged'; readonly epoch: number; readonly number: number }
  /** Whether the vault is reached; of zero loss. */
  | { readonly kind: 'line'; readonly up: boolean }
  /** Puts a user's mark after all that is answered now. */
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  /** Answered by `place`. */
  | { readonly kind: 'ask-place'; readonly tag: number }
  /** What was touched while no history was kept, `from` a region on; answered by `touched`. */
  | { readonly kind: 'ask-touched'; readonly tag: number; readonly from: number }
  /** The journal holds the content of these regions, read when the log stood at `number`; they are touched no more unless written since. */
  | { readonly kind: 'healed'; readonly regions: readonly number[]; readonly number: number }
  | { readonly kind: 'settings'; readonly settings: VolumeSettings }
  /** No longer protected: no history is kept, and the server ends once nobody uses the volume. */
  | { readonly kind: 'release' }

export type FromVolumeServer =
  /** First of all, and whenever the epoch changes. */
  | {
      readonly kind: 'volume'
      readonly epoch: number
      readonly bytes: number
      readonly regionBytes: number
      /** The first record of this epoch that the log still has, or would have. */
      readonly first: number
      /**
       * What it has been told to be at the vault. A journal at or after this place lacks nothing that the log and what is
       * touched do not tell. An older one, or one of another log, has to be compared with the volume as a whole.
       */
      readonly acknowledged: { readonly epoch: number; readonly number: number }
      readonly software: string
    }
  /** The log is synced up to this record; the newest one of those there are. */
  | { readonly kind: 'durable'; readonly epoch: number; readonly number: number }
  /** A user's mark stands in the log as this record. */
  | { readonly kind: 'marked'; readonly tag: number; readonly number: number }
  /** The last record there is: what has been read from the volume until now holds nothing newer. */
  | { readonly kind: 'place'; readonly tag: number; readonly epoch: number; readonly number: number }
  /** Regions, ascending, at most 4096 of them; `next` to ask on from, absent at the end. */
  | { readonly kind: 'touched'; readonly tag: number; readonly regions: readonly number[]; readonly next?: number }
  | {
      readonly kind: 'state'
      /** NBD connections. */
      readonly clients: number
      readonly logBytes: number
      /** Of the log, what the vault has not acknowledged. */
      readonly unsentBytes?: number
      readonly problems: readonly Problem[]
    }
