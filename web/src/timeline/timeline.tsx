import { MinusOutlined, PlusOutlined, QuestionCircleOutlined } from '@ant-design/icons'
import { Button, Tooltip } from 'antd'
import { type ReactNode, useCallback, useId, useRef } from 'react'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { type PlacedSource, shownState } from '../live/systems.ts'
import { usePreferences } from '../shell/preferences.ts'
import { toneOf } from '../shell/source-states.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { useThemeName } from '../shell/theme.ts'
import { ExactTime } from './exact-time.tsx'
import type { Instant } from './instant.ts'
import { axisHeight, layoutOf } from './layout.ts'
import { Legend } from './legend.tsx'
import type { TimelineSurface } from './surface.ts'
import { darkTheme, lightTheme } from './themes.ts'
import { TimelineCanvas } from './timeline-canvas.tsx'
import { TimelineList } from './timeline-list.tsx'
import { useTracks } from './use-tracks.ts'
import { trackKey } from './vault-past.ts'
import './timeline.css'

/** A moment; of one source, by its `trackKey`, a POINT that is more exact: just after or just before a transaction. */
export interface Choice {
  readonly at: Instant
  readonly exact?: { readonly source: string; readonly point: string }
}

interface TimelineProps {
  readonly sources: readonly PlacedSource[]
  readonly chosen: Instant | undefined
  readonly choose: (choice: Choice) => void
  /** Of the Enter key: go on with what is chosen. */
  readonly enter?: () => void
  readonly isCompact?: boolean
}

const hourUs = 3_600_000_000

/** One track per source on one axis of time. What can be seen or done on the canvas can be read and done beside it too. */
export function Timeline({ sources, chosen, choose, enter, isCompact = false }: TimelineProps): ReactNode {
  const t = useTexts()
  const { language } = usePreferences()
  const themeName = useThemeName()
  const { clockAheadMs } = useLive()
  const tracks = useTracks(sources)
  const surface = useRef<TimelineSurface>(undefined)
  const attach = useCallback((made: TimelineSurface | undefined) => {
    surface.current = made
  }, [])
  const keysId = useId()
  const { trackHeight } = layoutOf(tracks.length, isCompact)
  const now = (): Instant => (Date.now() + clockAheadMs) * 1000
  const back = (us: number): void => surface.current?.show(now() - us, now())
  const chooseAt = (at: Instant): void => {
    choose({ at })
    surface.current?.bringInto(at)
  }
  const earliest = Math.min(...tracks.map((track) => track.earliest ?? Infinity))
  return (
    <div className="timeline">
      <div className="timeline-tools">
        <ExactTime chosen={chosen} near={Math.max(...tracks.map((track) => track.latest ?? 0))} choose={chooseAt} />
        <span className="timeline-spans" role="group" aria-label={t.timeline.spans}>
          <Button size="small" onClick={() => back(hourUs)}>
            {t.timeline.hour}
          </Button>
          <Button size="small" onClick={() => back(24 * hourUs)}>
            {t.timeline.day}
          </Button>
          <Button size="small" onClick={() => back(7 * 24 * hourUs)}>
            {t.timeline.week}
          </Button>
          <Button size="small" onClick={() => back(30 * 24 * hourUs)}>
            {t.timeline.month}
          </Button>
          <Button
            size="small"
            disabled={!Number.isFinite(earliest)}
            onClick={() => surface.current?.show(earliest - (now() - earliest) * 0.03, now())}
          >
            {t.timeline.all}
          </Button>
        </span>
        <Button
          size="small"
          icon={<MinusOutlined />}
          aria-label={t.timeline.zoomOut}
          onClick={() => surface.current?.zoom(2)}
        />
        <Button
          size="small"
          icon={<PlusOutlined />}
          aria-label={t.timeline.zoomIn}
          onClick={() => surface.current?.zoom(0.5)}
        />
        <Tooltip title={t.timeline.keys}>
          <QuestionCircleOutlined className="quiet" aria-hidden="true" />
        </Tooltip>
        <span id={keysId} className="timeline-described">
          {t.timeline.keys}
        </span>
      </div>
      <div className="timeline-tracks">
        <ul className="timeline-names" style={{ paddingTop: axisHeight }}>
          {sources.map(({ vault, source }) => (
            <li key={trackKey(vault.id, source.id)} style={{ height: trackHeight }}>
              <span className="timeline-name" title={source.name}>
                <ToneShape tone={toneOf(shownState({ vault, source }))} /> {source.name}
              </span>
              <span className="quiet">
                {t.timeline.sourceKinds[source.kind]} · {vault.name}
              </span>
            </li>
          ))}
        </ul>
        <TimelineCanvas
          state={{
            tracks,
            chosen,
            theme: themeName === 'dark' ? darkTheme : lightTheme,
            language,
            nowText: t.timeline.now,
            isCompact,
            ahead: clockAheadMs * 1000,
          }}
          choose={(at, hit, track) =>
            choose(
              hit?.kind === 'transaction' && track !== undefined
                ? { at, exact: { source: track, point: hit.transaction.after } }
                : { at },
            )
          }
          enter={() => enter?.()}
          describedBy={keysId}
          attach={attach}
        />
      </div>
      {isCompact ? null : <Legend />}
      <TimelineList tracks={tracks} choose={chooseAt} />
    </div>
  )
}
