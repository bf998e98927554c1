import { Button } from 'antd'
import type { ReactNode } from 'react'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import type { Hit } from './hit.ts'
import { momentOf } from './hit.ts'
import type { Instant } from './instant.ts'
import { linesOf } from './pointed-at.tsx'
import { type SurfaceTrack, writeMoment } from './surface.ts'

/** The newest so many are listed; the others are found by dragging. */
const listedMax = 100

/** What stands on the tracks, as a list: for who cannot see the canvas, and for who would rather read. */
export function TimelineList({
  tracks,
  choose,
}: {
  readonly tracks: readonly SurfaceTrack[]
  readonly choose: (at: Instant) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const all = tracks
    .flatMap((track) => [
      ...track.landmarks.map((landmark) => ({ track, hit: { kind: 'landmark', landmark } as Hit, at: landmark.at })),
      ...track.verified.map((verified) => ({ track, hit: { kind: 'verified', verified } as Hit, at: verified.at })),
    ])
    .sort((a, b) => b.at - a.at)
  return (
    <details className="timeline-list">
      <summary>{t.timeline.list(formats.count(all.length))}</summary>
      {all.length === 0 ? <p className="quiet">{t.timeline.listEmpty}</p> : null}
      <ul>
        {all.slice(0, listedMax).map(({ track, hit, at }) => {
          const [what, ...rest] = linesOf(hit, t, formats.bytes)
          return (
            <li key={`${track.key} ${hit.kind} ${at} ${what}`}>
              <Button size="small" type="link" onClick={() => choose(momentOf(hit) ?? at)}>
                {writeMoment(at)}
              </Button>
              <span>{track.name}</span>
              <span title={rest.join('\n')}>{what}</span>
            </li>
          )
        })}
      </ul>
    </details>
  )
}
