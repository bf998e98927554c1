import { mkdtempSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { formatMoment } from '../../model/moment.ts'
import type { Export } from '../../nbd/export.ts'
import { MomentExport } from './moment-export.ts'
import type { VolumeOrigin } from './origin.ts'
import { Overlay } from './overlay.ts'
import { OverlayExport } from './overlay-export.ts'
import { VolumePages } from './pages.ts'

export interface OpenRequest {
  /** What the source is called, and its id. */
  readonly name: string
  readonly source: string
  /** Where writes go: a file that stays, or one below this folder that goes with the process; absent: nobody may write. */
  readonly overlay?: { readonly file: string } | { readonly temporaryBelow: string }
}

export interface OpenParts {
  readonly origin: VolumeOrigin
  readonly clock: Clock
  readonly tell: (message: string) => void
}

export interface OpenedMoment extends Disposable {
  readonly export: Export
  /** Makes durable what was written. */
  flush(): Promise<void>
}

/** A moment of a volume as an export. Nothing of it is fetched before it is read, so it is open at once. */
export function openMoment(
  { name, source, overlay: wanted }: OpenRequest,
  parts: OpenParts,
  signal: AbortSignal,
): OpenedMoment {
  const { origin, tell } = parts
  const named = { name, description: `${name} as of ${formatMoment(origin.point.moment)} (seq:${origin.point.at})` }
  const pages = new VolumePages({ ...parts, signal })
  if (wanted === undefined) {
    return {
      export: new MomentExport(named, origin, pages, signal),
      flush: () => Promise.resolve(),
      [Symbol.dispose]: () => {},
    }
  }
  const base = { source, at: origin.point.at, bytes: origin.bytes }
  const overlay = 'file' in wanted ? Overlay.open(wanted.file, base) : temporaryOverlay(wanted.temporaryBelow, base)
  return {
    export: new OverlayExport(named, { origin, pages, overlay, signal, tell }),
    flush: () => overlay.flush(),
    [Symbol.dispose]: () => overlay[Symbol.dispose](),
  }
}

function temporaryOverlay(below: string, base: Parameters<typeof Overlay.open>[1]): Overlay {
  const folder = mkdtempSync(join(below, 'tidemark-overlay-'))
  const overlay = Overlay.open(join(folder, 'overlay'), base, true)
  rmdirSync(folder)
  return overlay
}
