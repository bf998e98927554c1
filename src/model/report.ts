import type { Moment } from './moment.ts'
import type { Sequence } from './sequence.ts'

/** Told about once a second and at every change of state; the vault shows it. */
export interface CaptureReport {
  readonly state: CaptureState
  /** Every change made before this moment is in the journal up to `upTo`. What lag is measured from. */
  readonly covered: Moment
  readonly upTo: Sequence
  /** Things known to have changed and not yet captured. */
  readonly dirty: number
  /** Captured and not acknowledged yet: in memory, under way, or in the spool. Added by the agent, not the capture. */
  readonly backlogBytes?: number
  /** Kept by the source or beside it, and not captured yet: of a volume, what its log holds. */
  readonly uncapturedBytes?: number
  /** How often so many hints came at once that some were lost, since the capture was opened; then everything is compared. */
  readonly hintsLost?: number
  /** When everything was last begun to be copied or compared, by the agent's clock; 0 where it is not known. */
  readonly compared?: Moment
  /** Of a baseline or reconciliation under way. Totals are 0 while they are not known. */
  readonly progress?: {
    readonly files: number
    readonly filesTotal: number
    readonly bytes: number
    readonly bytesTotal: number
  }
  /** How changes are noticed: fanotify, inotify, or only by scanning. */
  readonly watching: string
  /** What the operator should know, newest last, at most `problemsMax`. */
  readonly problems: readonly Problem[]
}

export interface Problem {
  readonly code: string
  readonly message: string
  /** The next step. */
  readonly hint?: string
}

export const problemsMax = 20

/** `baseline` and `reconciling` are spans in which the vault's tree may be behind; `vanished` waits for a mount. */
export type CaptureState = 'starting' | 'baseline' | 'reconciling' | 'live' | 'vanished' | 'paused'
