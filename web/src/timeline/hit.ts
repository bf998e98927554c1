import type { Instant } from './instant.ts'
import type { Landmark, Transaction, Verified } from './landmarks.ts'
import { type Scale, timeAt } from './scale.ts'

/** What is under the pointer on one track. */
export type Hit =
  | { readonly kind: 'landmark'; readonly landmark: Landmark }
  | { readonly kind: 'transaction'; readonly transaction: Transaction }
  | { readonly kind: 'verified'; readonly verified: Verified }

export interface HitTrack {
  readonly landmarks: readonly Landmark[]
  readonly transactions: readonly Transaction[]
  readonly verified: readonly Verified[]
}

const reachPixels = 6

/** What stands at a point in time is found within a few pixels, before the spans that lie there. */
export function hitAt({ landmarks, transactions, verified }: HitTrack, scale: Scale, x: number): Hit | undefined {
  const at = timeAt(scale, x)
  const reach = reachPixels * scale.perPixel
  const candidates: { readonly hit: Hit; readonly far: number }[] = []
  const add = (hit: Hit, place: Instant): void => {
    const far = Math.abs(place - at)
    if (far <= reach) candidates.push({ hit, far })
  }
  for (const landmark of landmarks) if (landmark.until === undefined) add({ kind: 'landmark', landmark }, landmark.at)
  for (const transaction of transactions) add({ kind: 'transaction', transaction }, transaction.at)
  for (const one of verified) add({ kind: 'verified', verified: one }, one.at)
  const best = candidates.sort((a, b) => a.far - b.far)[0]
  if (best !== undefined) return best.hit
  const around = landmarks.filter(
    ({ at: begin, until }) => until !== undefined && begin <= at + reach && until >= at - reach,
  )
  const landmark = around.find(({ kind }) => kind === 'hole') ?? around.at(-1)
  return landmark && { kind: 'landmark', landmark }
}

/** The moment that is meant by pointing at something; a span is only pointed at to read why. */
export function momentOf(hit: Hit | undefined): Instant | undefined {
  switch (hit?.kind) {
    case 'transaction':
      return hit.transaction.at
    case 'verified':
      return hit.verified.at
    case 'landmark':
      return hit.landmark.until === undefined ? hit.landmark.at : undefined
    default:
      return undefined
  }
}

const second = 1_000_000
const units = [1, 10, 100, 1000, 10_000, 100_000, second, 10 * second, 60 * second, 600 * second, 3600 * second]

/** The roundest moment within the pixel at `x`. */
export function roundMoment(scale: Scale, x: number): Instant {
  const unit = units.findLast((one) => one <= scale.perPixel) ?? 1
  return Math.round(timeAt(scale, x) / unit) * unit
}
