import type { Instant } from './instant.ts'
import { type Scale, until } from './scale.ts'

/** A span of time that is asked for at once. Its level is the power of two of its length; tiles of a level do not overlap. */
export interface TilePlace {
  readonly level: number
  readonly index: number
}

/** A tile is told in so many columns. On the screen it is 256 to 512 pixels wide, so a column 1 to 2. */
export const columnsOfTile = 256
const pixelsOfTileMin = 256
/** A column of one microsecond. */
const levelMin = 8
/** 71 years. */
const levelMax = 51

export const tileLength = (level: number): number => 2 ** level
export const tileFrom = ({ level, index }: TilePlace): Instant => index * 2 ** level
export const tileUntil = ({ level, index }: TilePlace): Instant => (index + 1) * 2 ** level

export const levelOf = (scale: Scale): number =>
  Math.min(levelMax, Math.max(levelMin, Math.ceil(Math.log2(scale.perPixel * pixelsOfTileMin))))

export function tilesBetween(level: number, from: Instant, to: Instant): TilePlace[] {
  const length = tileLength(level)
  const places: TilePlace[] = []
  for (let index = Math.floor(from / length); index * length < to; index++) places.push({ level, index })
  return places
}

/** What is seen, and then what may be next, likeliest first: the neighbours, one zoom in where the middle is, one zoom out. */
export function tilesWanted(scale: Scale): { readonly seen: TilePlace[]; readonly next: TilePlace[] } {
  const level = levelOf(scale)
  const to = until(scale)
  const seen = tilesBetween(level, scale.from, to)
  const first = seen[0]?.index ?? 0
  const last = seen.at(-1)?.index ?? 0
  const quarter = (to - scale.from) / 4
  const next: TilePlace[] = [
    { level, index: last + 1 },
    { level, index: first - 1 },
  ]
  if (level > levelMin) next.push(...tilesBetween(level - 1, scale.from + quarter, to - quarter))
  if (level < levelMax) next.push(...tilesBetween(level + 1, scale.from, to))
  return { seen, next }
}

export const parentOf = ({ level, index }: TilePlace): TilePlace => ({ level: level + 1, index: Math.floor(index / 2) })
export const childrenOf = ({ level, index }: TilePlace): readonly [TilePlace, TilePlace] => [
  { level: level - 1, index: index * 2 },
  { level: level - 1, index: index * 2 + 1 },
]
