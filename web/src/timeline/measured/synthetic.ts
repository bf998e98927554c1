import type { PointRow } from '../../../../src/api/schemas.ts'
import { type Instant, toIso } from '../instant.ts'
import type { TimelineSource } from '../surface.ts'
import type { TileTrack } from '../tile-cache.ts'
import { columnsOfTile, tileFrom, tileLength, type TilePlace, tileUntil } from '../tiles.ts'

/** A vault's answers for a journal of very many changes, exact at every zoom, without a vault: what is measured is the browser's part. */
export class SyntheticPast implements TimelineSource {
  /** Ascending. */
  readonly #moments: Float64Array
  readonly #answerMs: number
  asked = 0

  constructor(changes: number, from: Instant, to: Instant, answerMs: number) {
    this.#moments = momentsBetween(changes, from, to)
    this.#answerMs = answerMs
  }

  async points(track: TileTrack, place: TilePlace, signal: AbortSignal): Promise<readonly PointRow[]> {
    this.asked += 1
    await new Promise((resolve) => {
      window.setTimeout(resolve, this.#answerMs)
    })
    signal.throwIfAborted()
    return stretches(this.#moments, Math.max(tileFrom(place), track.earliest ?? 0), tileUntil(place), place)
  }

  async transactions(): Promise<readonly never[]> {
    return []
  }
}

/** Busy days, quiet nights, and a burst now and then; the same each time. */
function momentsBetween(changes: number, from: Instant, to: Instant): Float64Array {
  const moments = new Float64Array(changes)
  let state = 42
  const chance = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  let at = 0
  for (let index = 0; index < changes; index++) {
    const hour = (at / 3.6e9) % 24
    const pace = hour > 8 && hour < 19 ? 1 : 12
    const isPause = chance() < 0.0002
    at += (isPause ? 5000 : 1) * pace * -Math.log(1 - chance())
    moments[index] = at
  }
  const stretch = (to - from) / at
  for (let index = 0; index < changes; index++) moments[index] = Math.floor(from + (moments[index] as number) * stretch)
  return moments
}

function stretches(moments: Float64Array, from: Instant, to: Instant, { level }: TilePlace): PointRow[] {
  const rows: PointRow[] = []
  const length = tileLength(level) / columnsOfTile
  let begin = firstAt(moments, from)
  for (let until = from + length; until <= to + 1; until += length) {
    const end = firstAt(moments, until)
    if (end > begin)
      rows.push({
        kind: 'activity',
        sequence: end,
        moment: toIso(moments[begin] as number),
        until: toIso(moments[end - 1] as number),
        changes: end - begin,
        settled: true,
      })
    begin = end
  }
  return rows
}

/** Index of the first that is not before an instant. */
function firstAt(moments: Float64Array, instant: Instant): number {
  let low = 0
  let high = moments.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((moments[middle] as number) < instant) low = middle + 1
    else high = middle
  }
  return low
}
