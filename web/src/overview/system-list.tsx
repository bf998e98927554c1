import { Button, Tooltip } from 'antd'
import { type ReactNode, useState } from 'react'
import { Link } from 'react-router'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import type { System } from '../live/systems.ts'
import { StateMark } from '../shell/state-mark.tsx'
import { stepsOfDay } from './strip-colours.ts'
import { type PointedStep, Strip, StripLegend, useLagWords } from './strip.tsx'
import { stripsOf, type Strips } from './strips.ts'

const shownAtFirst = 40

/** A row for each system, the worst first: how it is, and how its last 24 hours were. */
export function SystemList({ systems, strips }: { systems: readonly System[]; strips: Strips }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const lagWords = useLagWords()
  const [isAll, setAll] = useState(false)
  const [pointed, setPointed] = useState<PointedStep | null>(null)
  const shown = isAll ? systems : systems.slice(0, shownAtFirst)
  return (
    <section className="panel" aria-labelledby="systems-title">
      <header>
        <h2 id="systems-title">{t.overview.systemsOfDay}</h2>
        {pointed === null || strips.fromMs === undefined ? (
          <StripLegend />
        ) : (
          <span>
            {pointed.system} · {formats.shortly(strips.fromMs + pointed.step * strips.stepMs, 0)} ·{' '}
            {lagWords(pointed.digit)}
          </span>
        )}
      </header>
      <table className="systems">
        <thead>
          <tr>
            <th scope="col">{t.overview.system}</th>
            <th scope="col">{t.overview.state}</th>
            <th scope="col" className="is-number">
              {t.overview.lag}
            </th>
            <th scope="col" className="is-number">
              {t.overview.throughput}
            </th>
            <th scope="col" className="systems-strip">
              <StripAxis strips={strips} />
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((system) => (
            <tr key={system.name}>
              <th scope="row">
                <Link to={`/systems/${encodeURIComponent(system.name)}`}>{system.name}</Link>
                {system.isUnproven ? (
                  <Tooltip title={t.overview.groups.sentences.unproven}>
                    <span className="unproven">{t.overview.groups.words.unproven}</span>
                  </Tooltip>
                ) : null}
              </th>
              <td>
                <StateMark state={system.state} />
              </td>
              <td className="is-number">{system.lagMs === null ? '–' : formats.duration(system.lagMs)}</td>
              <td className="is-number">{formats.rate(system.bytesPerSecond)}</td>
              <td className="systems-strip">
                <Strip
                  system={system.name}
                  strips={stripsOf(system, strips)}
                  lagMsMax={allowedLag(system)}
                  onPoint={setPointed}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < systems.length ? (
        <p className="panel-body">
          <Button onClick={() => setAll(true)}>
            {t.overview.showAll(formats.count(systems.length - shown.length))}
          </Button>
        </p>
      ) : null}
      {systems.length === 0 ? <p className="panel-body quiet">{t.overview.noneOfGroup}</p> : null}
    </section>
  )
}

/** The strictest of the system's sources. */
export const allowedLag = ({ sources }: System): number =>
  Math.min(...sources.map(({ source }) => source.policy.lagMsMax))

function StripAxis({ strips }: { strips: Strips }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { fromMs, stepMs } = strips
  if (fromMs === undefined) return t.overview.lastDay
  return (
    <span className="strip-axis">
      {[0, 6, 12, 18].map((hours) => (
        <span key={hours}>{formats.shortTime(fromMs + (hours / 24) * stepsOfDay * stepMs)}</span>
      ))}
      <span>{t.overview.now}</span>
    </span>
  )
}
