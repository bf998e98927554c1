import type { CaptureReport, CaptureState } from '../../model/report.ts'
import type { LogPlace, Place } from './cursor.ts'
import type { ServerLink, VolumeFacts } from './server-link.ts'

/** How a journal at this place goes on with what the server has; `last` is its newest record. */
export type TakingUp = 'goes-on' | 'gap' | 'all-in-doubt'

export function takingUp(place: Place, { epoch, first, acknowledged }: VolumeFacts, last: number): TakingUp {
  if (isBefore(place, acknowledged) || place.number > last) return 'all-in-doubt'
  // The log, or all of its machine, was put back to what it was before: what it noted since is not noted any more.
  if (place.epoch > epoch) return 'all-in-doubt'
  if (place.epoch < epoch) return 'gap'
  // Within one epoch nothing goes that is not acknowledged.
  return place.number >= first - 1 ? 'goes-on' : 'all-in-doubt'
}

const isBefore = (one: LogPlace, other: LogPlace): boolean =>
  one.epoch < other.epoch || (one.epoch === other.epoch && one.number < other.number)

/**
 * The machine was put back to what it was before, and written to since: its log has other records of the numbers that the journal
 * has. What the log has let go of was at the vault, so only what it still holds can differ.
 */
export async function isOfAnotherPast(
  link: Pick<ServerLink, 'records'>,
  { number, recorded }: Place,
): Promise<boolean> {
  if (recorded === 0) return false
  for await (const [record] of link.records(number - 1, number)) return record?.moment !== recorded
  return true
}

/** For the mark of the hole. */
export const whyGap = {
  'gap': 'the volume log reached its limit',
  'all-in-doubt': 'the volume log is not the one that this journal goes on with',
} as const

/** Of a journal that stands there; without a place it is about to be begun. */
export function stateAt(place: Place | undefined): CaptureState {
  if (place === undefined) return 'starting'
  if (place.suspect === 'baseline') return 'baseline'
  return place.suspect !== undefined || place.copy !== undefined ? 'reconciling' : 'live'
}

export const progressAt = (place: Place | undefined): Pick<CaptureReport, 'progress'> =>
  place?.copy === undefined
    ? {}
    : { progress: { files: 0, filesTotal: 0, bytes: place.copy.at, bytesTotal: place.bytes } }
