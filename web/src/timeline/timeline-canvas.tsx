import { type ReactNode, useEffect, useRef, useState } from 'react'
import { useTexts } from '../language/language.ts'
import type { Hit } from './hit.ts'
import type { Instant } from './instant.ts'
import { heightOfAll, layoutOf } from './layout.ts'
import { PointedAt } from './pointed-at.tsx'
import { type Pointed, type SurfaceState, TimelineSurface, writeMoment } from './surface.ts'
import { vaultPast } from './vault-past.ts'

interface CanvasProps {
  readonly state: SurfaceState
  readonly choose: (at: Instant, hit: Hit | undefined, track: string | undefined) => void
  readonly enter: () => void
  readonly describedBy: string
  /** Gives the surface to who moves it from outside, and takes it back. */
  readonly attach: (surface: TimelineSurface | undefined) => void
}

/** The canvas as an element of the page: a slider for who cannot see it, whose value is the chosen moment. */
export function TimelineCanvas(props: CanvasProps): ReactNode {
  const t = useTexts()
  const { state, describedBy, attach } = props
  const canvas = useRef<HTMLCanvasElement>(null)
  const surface = useRef<TimelineSurface>(undefined)
  const latest = useRef(props)
  const [pointed, setPointed] = useState<Pointed>()
  useEffect(() => {
    latest.current = props
    surface.current?.update(state)
  })
  useEffect(() => {
    if (canvas.current === null) return undefined
    const made = new TimelineSurface(canvas.current, vaultPast, latest.current.state, {
      choose: (at, hit, track) => latest.current.choose(at, hit, track?.key),
      enter: () => latest.current.enter(),
      point: setPointed,
    })
    surface.current = made
    attach(made)
    return () => {
      made[Symbol.dispose]()
      surface.current = undefined
      attach(undefined)
    }
  }, [attach])
  const { chosen, tracks, isCompact } = state
  const earliest = Math.min(...tracks.map((track) => track.earliest ?? Infinity))
  const newest = Math.max(...tracks.map((track) => track.latest ?? 0))
  const value = chosen ?? newest
  return (
    <div className="timeline-canvas">
      {/* oxlint-disable-next-line jsx-a11y -- the slider is the canvas */}
      <canvas
        ref={canvas}
        style={{ height: heightOfAll(layoutOf(tracks.length, isCompact)) }}
        tabIndex={0}
        role="slider"
        aria-label={t.timeline.label}
        aria-describedby={describedBy}
        aria-valuemin={Number.isFinite(earliest) ? Math.floor(earliest / 1000) : 0}
        aria-valuemax={Math.floor(Math.max(newest, value) / 1000)}
        aria-valuenow={Math.floor(value / 1000)}
        aria-valuetext={chosen === undefined ? t.timeline.nothingChosen : writeMoment(chosen)}
      />
      {pointed === undefined ? null : <PointedAt pointed={pointed} />}
    </div>
  )
}
