import type { Instant } from './instant.ts'

/** Which part of time the canvas shows. */
export interface Scale {
  /** At its left edge. */
  readonly from: Instant
  /** Microseconds a CSS pixel. */
  readonly perPixel: number
  /** CSS pixels. */
  readonly width: number
}

/** What there is to see: nobody is lost by dragging beyond it. */
export interface Bounds {
  readonly earliest: Instant
  readonly latest: Instant
}

const perPixelMin = 1
const yearUs = 31_556_952_000_000
const perPixelMax = yearUs / 20

export const timeAt = ({ from, perPixel }: Scale, x: number): Instant => from + x * perPixel
export const pixelAt = ({ from, perPixel }: Scale, instant: Instant): number => (instant - from) / perPixel
export const until = ({ from, perPixel, width }: Scale): Instant => from + width * perPixel

export const fitted = (from: Instant, to: Instant, width: number): Scale => {
  const perPixel = within(perPixelMin, (to - from) / Math.max(1, width), perPixelMax)
  return { from: (from + to - perPixel * width) / 2, perPixel, width }
}

export const panned = (scale: Scale, pixels: number): Scale => ({
  ...scale,
  from: scale.from - pixels * scale.perPixel,
})

/** What is at `x` stays there. A `factor` above 1 shows more of time. */
export function zoomed(scale: Scale, x: number, factor: number): Scale {
  const perPixel = within(perPixelMin, scale.perPixel * factor, perPixelMax)
  return { ...scale, from: timeAt(scale, x) - x * perPixel, perPixel }
}

/** The right edge stays where it is: there is now. */
export const resized = (scale: Scale, width: number): Scale => ({
  ...scale,
  from: until(scale) - width * scale.perPixel,
  width,
})

const centred = (scale: Scale, instant: Instant): Scale => ({
  ...scale,
  from: instant - (scale.width / 2) * scale.perPixel,
})

/** Moved as little as brings the instant into the middle nine tenths. */
export function showing(scale: Scale, instant: Instant): Scale {
  const x = pixelAt(scale, instant)
  return x < scale.width * 0.05 || x > scale.width * 0.95 ? centred(scale, instant) : scale
}

/** The longest span that is offered by a button, and some. */
const alwaysShownUs = 40 * 86_400_000_000

/** No further out than three times what there is, and with a tenth of the width showing it at least. */
export function bounded(scale: Scale, { earliest, latest }: Bounds): Scale {
  const widest = Math.max(alwaysShownUs, (latest - earliest) * 3) / Math.max(1, scale.width)
  const outer = scale.perPixel > widest ? zoomed(scale, scale.width / 2, widest / scale.perPixel) : scale
  const kept = (outer.width * outer.perPixel) / 10
  return { ...outer, from: within(earliest + kept - outer.width * outer.perPixel, outer.from, latest - kept) }
}

const within = (low: number, value: number, high: number): number => Math.min(Math.max(value, low), Math.max(low, high))
