import { type Density, heightOf } from './density.ts'
import { drawAxis, drawChosen } from './draw-axis.ts'
import { drawFlags, drawSpans, drawTransactions, drawVerified } from './draw-landmarks.ts'
import type { Instant } from './instant.ts'
import { flagHeight, heightOfAll, stripHeight, topOfTrack } from './layout.ts'
import type { Picture, PictureTrack, Theme } from './picture.ts'
import { pixelAt, type Scale } from './scale.ts'
import { columnsOfTile, tileFrom, tileLength, type TilePlace, tileUntil } from './tiles.ts'

/** The context draws in CSS pixels; `ratio` is how many of the screen's are one. */
export function draw(context: CanvasRenderingContext2D, picture: Picture, ratio: number): void {
  const { scale, layout, theme, tracks } = picture
  const height = heightOfAll(layout)
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.fillStyle = theme.background
  context.fillRect(0, 0, scale.width, height)
  context.fillStyle = theme.trackAlternate
  for (let index = 1; index < tracks.length; index += 2)
    context.fillRect(0, topOfTrack(layout, index), scale.width, layout.trackHeight)
  drawAxis(context, picture)
  for (const [index, track] of tracks.entries()) drawTrack(context, picture, track, topOfTrack(layout, index), ratio)
  drawChosen(context, picture)
}

function drawTrack(
  context: CanvasRenderingContext2D,
  { scale, layout, theme, now }: Picture,
  track: PictureTrack,
  top: number,
  ratio: number,
): void {
  const box = { top, height: layout.trackHeight, scale, theme }
  drawOutside(context, box, track, now)
  drawSpans(context, box, track.landmarks, now)
  context.fillStyle = theme.activityUnknown
  const base = top + layout.trackHeight - stripHeight - 1
  for (const place of track.unknown) {
    const from = Math.max(0, pixelAt(scale, tileFrom(place)))
    const to = Math.min(scale.width, pixelAt(scale, tileUntil(place)))
    context.fillRect(from, base - 3, to - from, 3)
  }
  context.fillStyle = theme.activity
  for (const { clip, place, density } of track.densities)
    drawDensity(context, {
      scale,
      clip,
      place,
      density,
      densest: track.densest,
      base,
      ratio,
      full: base - top - flagHeight,
    })
  drawVerified(context, box, track, now)
  drawTransactions(context, box, track.transactions)
  drawFlags(context, box, track.landmarks)
  context.fillStyle = theme.lineStrong
  context.fillRect(0, top, scale.width, 1)
}

/** Before the window, and what has not happened yet. */
function drawOutside(
  context: CanvasRenderingContext2D,
  { top, height, scale, theme }: { top: number; height: number; scale: Scale; theme: Theme },
  { earliest }: PictureTrack,
  now: Instant,
): void {
  const begin = earliest === undefined ? scale.width : Math.min(scale.width, pixelAt(scale, earliest))
  context.fillStyle = theme.outside
  if (begin > 0) context.fillRect(0, top, begin, height)
  const end = Math.max(begin, pixelAt(scale, now))
  if (end < scale.width) context.fillRect(Math.max(0, end), top, scale.width - Math.max(0, end), height)
  if (begin > 0 && earliest !== undefined && begin < scale.width) {
    context.fillStyle = theme.inkQuiet
    context.fillRect(Math.round(begin), top, 1, height)
  }
}

interface DensityDrawing {
  readonly scale: Scale
  /** The tile that is to be filled; `density` may be that of a longer one. */
  readonly clip: TilePlace
  readonly place: TilePlace
  readonly density: Density
  readonly densest: number
  readonly base: number
  readonly full: number
  readonly ratio: number
}

/** Columns end at pixels of the screen: edges between two would be seen as lines. Equal heights side by side are one rectangle. */
function drawDensity(context: CanvasRenderingContext2D, drawing: DensityDrawing): void {
  const { scale, clip, place, density, densest, base, full, ratio } = drawing
  if (density.changes === 0 || densest <= 0) return
  const length = tileLength(place.level) / columnsOfTile
  const from = tileFrom(place)
  const clipFrom = Math.max(scale.from, tileFrom(clip))
  const clipTo = Math.min(scale.from + scale.width * scale.perPixel, tileUntil(clip))
  const first = Math.max(0, Math.floor((clipFrom - from) / length))
  const last = Math.min(columnsOfTile - 1, Math.ceil((clipTo - from) / length) - 1)
  const screen = (instant: Instant): number => Math.round(((instant - scale.from) / scale.perPixel) * ratio)
  const perSecond = 1_000_000 / length
  let begun = screen(Math.max(clipFrom, from + first * length))
  let height = 0
  for (let at = first; at <= last; at++) {
    const wanted = Math.round(heightOf((density.columns[at] as number) * perSecond, densest) * full * ratio)
    const edge = screen(Math.max(clipFrom, from + at * length))
    if (wanted !== height) {
      if (height > 0 && edge > begun)
        context.fillRect(begun / ratio, base - height / ratio, (edge - begun) / ratio, height / ratio)
      // What is narrower than a pixel shows its highest.
      if (edge === begun && wanted < height) continue
      begun = edge
      height = wanted
    }
  }
  const end = screen(Math.min(clipTo, from + (last + 1) * length))
  if (height > 0)
    context.fillRect(begun / ratio, base - height / ratio, Math.max(1, end - begun) / ratio, height / ratio)
}
