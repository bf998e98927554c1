import { type ReactNode, type RefObject, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import { useFormats } from '../formats/formats.ts'
import { zoneName } from '../formats/moment.ts'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { countSystems, type Group, type System, systemsOf } from '../live/systems.ts'
import { AlarmList } from '../overview/alarm-list.tsx'
import { groupTones } from '../overview/counts.tsx'
import { Strip } from '../overview/strip.tsx'
import { stripsOf, type Strips, useStrips } from '../overview/strips.ts'
import { allowedLag } from '../overview/system-list.tsx'
import { Topology } from '../overview/topology.tsx'
import { LiveIndicator } from '../shell/header.tsx'
import { toneOf } from '../shell/source-states.ts'
import { StateMark, ToneShape } from '../shell/state-mark.tsx'
import { Empty, Loading } from '../shell/states.tsx'
import '../overview/overview.css'
import '../overview/wall.css'

const turnEveryMs = 12_000
const ageEveryMs = 60_000
const alarmsShownMax = 8
/** Of a tile, with the space around it, in pixels; wall.css has the same. */
const tile = { width: 330, height: 122 }
const largeTile = { width: 490, height: 178 }
const largeFromPx = 2400

/** For a large screen that nobody touches: dark, large, turning its pages by itself. */
export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const ageNow = useNow(ageEveryMs)
  const strips = useStrips()
  const systems = useMemo(() => systemsOf(live, ageNow), [live, ageNow])
  if (live.connection.kind === 'connecting') return <Loading rows={10} />
  return (
    <main className="wall" data-theme="dark">
      <WallHead systems={systems} />
      {live.connection.kind === 'lost' ? <LostBanner sinceMs={live.connection.sinceMs} /> : null}
      <div className={live.connection.kind === 'lost' ? 'wall-body is-old' : 'wall-body'}>
        <section className="wall-topology" aria-label={t.overview.topology}>
          <Topology />
        </section>
        {systems.length === 0 ? (
          <Empty title={t.overview.noSystem} hint={t.overview.noSystemHint} />
        ) : (
          <TurningTiles systems={systems} strips={strips} />
        )}
        <section className="wall-side" aria-label={t.overview.alarms}>
          <h2>{t.overview.alarms}</h2>
          <AlarmList shownMax={alarmsShownMax} />
        </section>
      </div>
    </main>
  )
}

function WallHead({ systems }: { systems: readonly System[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow()
  const counts = countSystems(systems)
  return (
    <header className="wall-head">
      <ul className="wall-counts">
        {(Object.keys(groupTones) as Group[]).map((group) => {
          const tone = counts[group] > 0 ? groupTones[group] : 'idle'
          return (
            <li key={group} className={`tone-${tone}`}>
              <span className="wall-number">{formats.count(counts[group])}</span>
              <span className="wall-word">
                <ToneShape tone={tone} />
                {t.overview.groups.words[group]}
              </span>
            </li>
          )
        })}
      </ul>
      <div className="wall-clock">
        <time>{formats.time(now)}</time>
        <span>
          {formats.day(now)} {zoneName()}
        </span>
        <LiveIndicator />
      </div>
    </header>
  )
}

function LostBanner({ sinceMs }: { sinceMs: number }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <p className="wall-lost" role="alert">
      <ToneShape tone="bad" />
      {t.shell.lostBanner(formats.time(sinceMs))}
    </p>
  )
}

function TurningTiles({ systems, strips }: { systems: readonly System[]; strips: Strips }): ReactNode {
  const t = useTexts()
  const place = useRef<HTMLDivElement>(null)
  const fitting = useFitting(place)
  const pages = Math.max(1, Math.ceil(systems.length / fitting))
  const turns = useTurns(pages)
  const page = turns % pages
  return (
    <section className="wall-systems" aria-label={t.overview.systemsOfDay}>
      <h2>
        {t.overview.systemsOfDay}
        {pages === 1 ? null : <span className="quiet">{t.overview.page(page + 1, pages)}</span>}
      </h2>
      <div className="wall-tiles" ref={place}>
        {systems.slice(page * fitting, (page + 1) * fitting).map((system) => (
          <Tile key={system.name} system={system} strips={stripsOf(system, strips)} />
        ))}
      </div>
    </section>
  )
}

function Tile({ system, strips }: { system: System; strips: string }): ReactNode {
  const formats = useFormats()
  return (
    <article className={`wall-tile tone-${toneOf(system.state)}`}>
      <h3>{system.name}</h3>
      <StateMark state={system.state} />
      <span className="wall-lag">{system.lagMs === null ? '–' : formats.duration(system.lagMs)}</span>
      <Strip system={system.name} strips={strips} lagMsMax={allowedLag(system)} />
    </article>
  )
}

/** How many tiles there is room for. */
function useFitting(place: RefObject<HTMLDivElement | null>): number {
  const [fitting, setFitting] = useState(1)
  useLayoutEffect(() => {
    const element = place.current
    if (element === null) return undefined
    const observer = new ResizeObserver(() => {
      const { width, height } = window.innerWidth >= largeFromPx ? largeTile : tile
      const columns = Math.floor(element.clientWidth / width)
      const rows = Math.floor(element.clientHeight / height)
      setFitting(Math.max(1, columns) * Math.max(1, rows))
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [place])
  return fitting
}

function useTurns(pages: number): number {
  const [turns, setTurns] = useState(0)
  useEffect(() => {
    if (pages === 1) return undefined
    const timer = window.setInterval(() => setTurns((before) => before + 1), turnEveryMs)
    return () => window.clearInterval(timer)
  }, [pages])
  return turns
}
