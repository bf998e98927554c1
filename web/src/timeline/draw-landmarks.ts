import type { PictureTrack, Theme } from './picture.ts'
import type { Instant } from './instant.ts'
import type { Landmark, Transaction } from './landmarks.ts'
import { flagHeight, stripHeight } from './layout.ts'
import { pixelAt, type Scale } from './scale.ts'

/** Where one track is drawn. */
export interface Box {
  readonly top: number
  readonly height: number
  readonly scale: Scale
  readonly theme: Theme
}

type Context = CanvasRenderingContext2D

/** Holes are hatched over the whole height; spans in which the tree may be behind are tinted. */
export function drawSpans(context: Context, box: Box, landmarks: readonly Landmark[], now: Instant): void {
  const { top, height, scale, theme } = box
  for (const { kind, at, until } of landmarks) {
    if (until === undefined) continue
    const from = Math.max(-1, pixelAt(scale, at))
    const to = Math.min(scale.width + 1, pixelAt(scale, Math.min(until, now)))
    if (to < 0 || from > scale.width) continue
    // Even what is shorter than a pixel is not left out.
    const width = Math.max(2, to - from)
    if (kind === 'hole') {
      context.fillStyle = hatch(context, theme.hole, theme.background)
      context.fillRect(from, top + 1, width, height - stripHeight - 1)
      context.fillStyle = theme.hole
      context.fillRect(from, top + 1, width, 2)
    } else {
      context.fillStyle = theme.suspect
      context.fillRect(from, top + flagHeight, width, height - flagHeight - stripHeight)
    }
  }
}

/** One line for each place a database can be recovered to; where they are too near to be told apart, a band. */
export function drawTransactions(
  context: Context,
  { top, height, scale, theme }: Box,
  all: readonly Transaction[],
): void {
  context.font = theme.font
  context.textBaseline = 'alphabetic'
  context.textAlign = 'left'
  context.fillStyle = theme.transaction
  const bandTop = top + flagHeight + 2
  const bottom = top + height - stripHeight - 1
  let labelled = -Infinity
  let before = -Infinity
  for (const [index, { at, name }] of all.entries()) {
    const x = Math.round(pixelAt(scale, at))
    const next = all[index + 1]
    const room = next === undefined ? Infinity : pixelAt(scale, next.at) - x
    const isApart = Math.min(room, x - before) >= linePixelsApart
    before = x
    if (x < -labelPixels || x > scale.width) continue
    context.fillRect(x - 1, bandTop, isApart ? 3 : Math.max(2, Math.min(room, linePixelsApart)), 4)
    if (isApart) context.fillRect(x, bandTop, 1, bottom - bandTop)
    if (room < labelPixels || x < labelled) continue
    context.fillText(name, x + 5, bandTop + 14)
    labelled = x + labelPixels
  }
}

const linePixelsApart = 4
const labelPixels = 74

/** Flags at the top of a track, named where there is room until the next. */
export function drawFlags(context: Context, { top, height, scale, theme }: Box, landmarks: readonly Landmark[]): void {
  const flags = landmarks.filter(({ until }) => until === undefined)
  context.font = theme.font
  context.textBaseline = 'middle'
  context.textAlign = 'left'
  for (const [index, { kind, at, label }] of flags.entries()) {
    const x = Math.round(pixelAt(scale, at))
    if (x < -240 || x > scale.width) continue
    context.fillStyle = kind === 'mark' ? theme.mark : theme.bad
    context.fillRect(x, top + 1, 1.5, height - stripHeight - 1)
    context.beginPath()
    context.moveTo(x, top + 2)
    context.lineTo(x + 9, top + 6)
    context.lineTo(x, top + 10)
    context.fill()
    const next = flags[index + 1]
    const room = (next === undefined ? Infinity : pixelAt(scale, next.at) - x) - 16
    const text = cut(label, room)
    if (text === '') continue
    context.fillText(text, x + 12, top + 7)
  }
}

const letterPixels = 7
const lettersMax = 28

function cut(label: string, room: number): string {
  const letters = Math.min(lettersMax, Math.floor(room / letterPixels))
  if (letters < 3) return ''
  return label.length <= letters ? label : `${label.slice(0, letters - 1)}…`
}

/** Below each track: proven up to the newest good verification, not proven after it, and where one has failed. */
export function drawVerified(
  context: Context,
  { top, height, scale, theme }: Box,
  track: PictureTrack,
  now: Instant,
): void {
  const { verified, earliest, latest } = track
  if (earliest === undefined) return
  const y = top + height - stripHeight
  const strip = (from: Instant, to: Instant, colour: string): void => {
    const left = Math.max(0, pixelAt(scale, from))
    const right = Math.min(scale.width, pixelAt(scale, to))
    if (right <= left) return
    context.fillStyle = colour
    context.fillRect(left, y, right - left, stripHeight - 1)
  }
  let proven = earliest
  for (const { at, isGood } of verified) {
    strip(proven, at, isGood ? theme.good : theme.bad)
    proven = Math.max(proven, at)
  }
  strip(proven, Math.min(now, latest ?? now), theme.line)
  for (const { at, isGood } of verified) {
    const x = Math.round(pixelAt(scale, at))
    if (x < -8 || x > scale.width + 8) continue
    context.fillStyle = isGood ? theme.good : theme.bad
    context.beginPath()
    context.arc(x, y + stripHeight / 2, 4, 0, 2 * Math.PI)
    context.fill()
  }
}

const hatches = new Map<string, CanvasPattern>()
const hatchesMax = 16

function hatch(context: Context, colour: string, background: string): CanvasPattern | string {
  const name = `${colour} ${background}`
  const before = hatches.get(name)
  if (before !== undefined) return before
  const tile = new OffscreenCanvas(8, 8)
  const pen = tile.getContext('2d')
  if (pen === null) return colour
  pen.fillStyle = background
  pen.fillRect(0, 0, 8, 8)
  pen.strokeStyle = colour
  pen.lineWidth = 1.6
  pen.beginPath()
  for (const offset of [-8, 0, 8]) {
    pen.moveTo(offset - 1, 9)
    pen.lineTo(offset + 9, -1)
  }
  pen.stroke()
  const made = context.createPattern(tile, 'repeat')
  if (made === null) return colour
  if (hatches.size >= hatchesMax) hatches.clear()
  hatches.set(name, made)
  return made
}
