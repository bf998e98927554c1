import { type ReactNode, useMemo, useState } from 'react'
import { Link } from 'react-router'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { countSystems, type Group, isIn, systemsOf } from '../live/systems.ts'
import { AlarmList } from '../overview/alarm-list.tsx'
import { CountTiles } from '../overview/counts.tsx'
import { Running } from '../overview/running.tsx'
import { useStrips } from '../overview/strips.ts'
import { SystemList } from '../overview/system-list.tsx'
import { Topology } from '../overview/topology.tsx'
import { Empty, Loading } from '../shell/states.tsx'
import '../overview/overview.css'

const alarmsShownMax = 12
/** How often the age of verifications is looked at. */
const ageEveryMs = 60_000

export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const now = useNow(ageEveryMs)
  const strips = useStrips()
  const [picked, setPicked] = useState<Group | null>(null)
  const systems = useMemo(() => systemsOf(live, now), [live, now])
  if (live.connection.kind === 'connecting') return <Loading rows={10} />
  if (live.vaults.size === 0) {
    return (
      <Empty title={t.overview.noVault} hint={t.overview.noVaultHint}>
        <Link to="/vaults">{t.overview.toVaults}</Link>
      </Empty>
    )
  }
  return (
    <div className="overview">
      <CountTiles counts={countSystems(systems)} picked={picked} onPick={setPicked} />
      <section className="panel overview-topology" aria-labelledby="topology-title">
        <header>
          <h2 id="topology-title">{t.overview.topology}</h2>
          <Link to="/wall" target="_blank">
            {t.overview.wall}
          </Link>
        </header>
        <Topology />
      </section>
      <div className="overview-side">
        <section className="panel" aria-labelledby="alarms-title">
          <header>
            <h2 id="alarms-title">{t.overview.alarms}</h2>
          </header>
          <AlarmList shownMax={alarmsShownMax} />
        </section>
        <section className="panel" aria-labelledby="running-title">
          <header>
            <h2 id="running-title">{t.overview.running}</h2>
          </header>
          <Running />
        </section>
      </div>
      <div className="overview-systems">
        {systems.length === 0 ? (
          <section className="panel">
            <Empty title={t.overview.noSystem} hint={t.overview.noSystemHint}>
              <Link to="/servers">{t.overview.toServers}</Link>
            </Empty>
          </section>
        ) : (
          <SystemList
            systems={picked === null ? systems : systems.filter((system) => isIn(system, picked))}
            strips={strips}
          />
        )}
      </div>
    </div>
  )
}
