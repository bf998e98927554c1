import { TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import { formatMoment } from '../../model/moment.ts'
import type { RestorePoint } from '../../model/recovery-point.ts'

/** What the restore of a volume has done, for the operator and for scripts. */
export interface VolumeReceipt extends RestorePoint {
  readonly source: string
  readonly target: string
  /** Why what was restored may never have stood side by side in the volume. */
  readonly suspect?: string
  /** Of the volume. */
  readonly bytes: number
  /** Not zeros. */
  readonly dataBytes: number
  /** Of the target: less where zeros are left out, or only what differs is written. */
  readonly writtenBytes: number
  readonly seconds: number
  /** Each checked against its name on arrival. */
  readonly verifiedStretches: number
  /** What could not be had; at most `failuresKeptMax` of them. */
  readonly failures: readonly VolumeFailure[]
  readonly failureCount: number
}

export interface VolumeFailure extends Range {
  readonly reason: string
}

export const failuresKeptMax = 1000
const failuresToldMax = 10

/** Some of the volume was not restored; the rest is in its place. */
export class VolumeIncomplete extends TidemarkError {
  readonly receipt: VolumeReceipt

  constructor(receipt: VolumeReceipt) {
    const { failureCount, failures, source, moment, target } = receipt
    const told = failures
      .slice(0, failuresToldMax)
      .map(({ at, bytes, reason }) => `bytes ${at} to ${at + bytes}: ${reason}`)
    if (failureCount > told.length) told.push(`and ${failureCount - told.length} more`)
    super('verification-failed', {
      message:
        `${failureCount} ${failureCount === 1 ? 'part' : 'parts'} of ${source} at ${formatMoment(moment)} ` +
        `could not be restored to ${target}; all else was:\n  ${told.join('\n  ')}`,
      hint: 'run "tidemark verify" on the vault; once it is healed, restore again with --resume to get just these',
    })
    this.receipt = receipt
  }
}
