/** Where things stand on the canvas, in CSS pixels. The names of the tracks stand beside it and use the same heights. */
export interface Layout {
  readonly axisHeight: number
  readonly trackHeight: number
  readonly tracks: number
}

export const axisHeight = 60
/** At the top of a track, for flags. */
export const flagHeight = 14
/** At the bottom of a track: what is verified. */
export const stripHeight = 5

export const layoutOf = (tracks: number, isCompact: boolean): Layout => ({
  axisHeight,
  trackHeight: isCompact ? 48 : tracks > 6 ? 56 : 72,
  tracks,
})

export const heightOfAll = ({ axisHeight: axis, trackHeight, tracks }: Layout): number => axis + trackHeight * tracks
export const topOfTrack = ({ axisHeight: axis, trackHeight }: Layout, track: number): number =>
  axis + trackHeight * track

/** Undefined on the axis and below the last. */
export function trackAt({ axisHeight: axis, trackHeight, tracks }: Layout, y: number): number | undefined {
  const track = Math.floor((y - axis) / trackHeight)
  return track >= 0 && track < tracks ? track : undefined
}
