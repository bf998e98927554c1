import type { Density } from './density.ts'
import type { Instant, Zone } from './instant.ts'
import type { Landmark, Transaction, Verified } from './landmarks.ts'
import type { Layout } from './layout.ts'
import type { Scale } from './scale.ts'
import type { TickLabels } from './tick-labels.ts'
import type { TilePlace } from './tiles.ts'

/** Colours and letters; hatches are made of them once. */
export interface Theme {
  readonly background: string
  readonly trackAlternate: string
  readonly line: string
  readonly lineStrong: string
  readonly ink: string
  readonly inkQuiet: string
  readonly activity: string
  readonly activityUnknown: string
  readonly hole: string
  readonly suspect: string
  readonly mark: string
  readonly transaction: string
  readonly good: string
  readonly bad: string
  readonly outside: string
  readonly chosen: string
  readonly chosenText: string
  readonly now: string
  readonly font: string
}

export interface PictureTrack {
  /** What is known of the density within a tile, and of which span it is: the tile itself, or what stands in for it. */
  readonly densities: readonly { readonly clip: TilePlace; readonly place: TilePlace; readonly density: Density }[]
  /** Tiles of which nothing is known yet. */
  readonly unknown: readonly TilePlace[]
  /** Changes a second that have the full height. */
  readonly densest: number
  readonly earliest: Instant | undefined
  readonly latest: Instant | undefined
  readonly landmarks: readonly Landmark[]
  readonly verified: readonly Verified[]
  readonly transactions: readonly Transaction[]
}

/** All that one frame shows. */
export interface Picture {
  readonly scale: Scale
  readonly layout: Layout
  readonly tracks: readonly PictureTrack[]
  readonly now: Instant
  readonly nowText: string
  readonly chosen: { readonly at: Instant; readonly text: string } | undefined
  readonly hover: { readonly x: number; readonly text: string } | undefined
  readonly labels: TickLabels
  readonly zone: Zone
  readonly theme: Theme
}
