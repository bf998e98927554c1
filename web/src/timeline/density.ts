import type { PointRow } from '../../../src/api/schemas.ts'
import { toInstant } from './instant.ts'
import { columnsOfTile, tileFrom, tileLength, type TilePlace } from './tiles.ts'

/** How much changed when, within one tile. */
export interface Density {
  /** Changes in each of its columns, of equal length. */
  readonly columns: Float32Array
  readonly densest: number
  readonly changes: number
}

/**
 * Stretches of activity, as the vault tells them, in columns. A stretch is spread evenly over the columns it crosses; what of it is
 * outside of the tile is the neighbour's.
 */
export function toDensity(rows: readonly PointRow[], place: TilePlace): Density {
  const columns = new Float32Array(columnsOfTile)
  const from = tileFrom(place)
  const length = tileLength(place.level) / columnsOfTile
  for (const row of rows) {
    if (row.kind !== 'activity') continue
    const begin = toInstant(row.moment)
    const end = row.until === undefined ? begin : toInstant(row.until)
    spread(columns, (begin - from) / length, (end - from) / length, row.changes ?? 0)
  }
  let densest = 0
  let changes = 0
  for (const value of columns) {
    changes += value
    if (value > densest) densest = value
  }
  return { columns, densest, changes }
}

/** `begin` and `end` in columns. */
function spread(columns: Float32Array, begin: number, end: number, changes: number): void {
  const first = Math.floor(begin)
  const last = Math.floor(end)
  if (first === last) {
    if (first >= 0 && first < columns.length) columns[first] = (columns[first] as number) + changes
    return
  }
  const each = changes / (end - begin)
  for (let at = Math.max(0, first); at <= Math.min(columns.length - 1, last); at++) {
    const share = Math.min(at + 1, end) - Math.max(at, begin)
    columns[at] = (columns[at] as number) + each * share
  }
}

/** Height of a column, 0 to 1, by its changes a second. Its root: one change is seen beside a million, and busy hours differ. */
export const heightOf = (rate: number, densest: number): number =>
  rate <= 0 ? 0 : Math.min(1, 0.06 + 0.94 * Math.sqrt(rate / densest))
