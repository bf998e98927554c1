import type { ReactNode } from 'react'
import { Link, useParams, useSearchParams } from 'react-router'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { useSystems } from '../live/use-systems.ts'
import { StateMark } from '../shell/state-mark.tsx'
import { Empty, Loading } from '../shell/states.tsx'
import { toInstant, toIso } from '../timeline/instant.ts'
import { type Choice, Timeline } from '../timeline/timeline.tsx'
import { trackKey } from '../timeline/vault-past.ts'
import { AroundPanel } from './system/around-panel.tsx'
import { Deeds } from './system/deeds.tsx'
import { SourceRows } from './system/source-rows.tsx'
import './system/system.css'

/** One business system: its sources, what they went through, and what any moment of it holds. */
export function Component(): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const live = useLive()
  const { system: name = '' } = useParams()
  const [parameters, setParameters] = useSearchParams()
  const found = useSystems().find((one) => one.name === name)
  if (live.connection.kind === 'connecting') return <Loading rows={10} />
  if (found === undefined)
    return (
      <Empty title={t.system.gone(name)} hint={t.system.goneHint}>
        <Link to="/systems">{t.system.toSystems}</Link>
      </Empty>
    )
  const at = parameters.get('at') ?? undefined
  const exactSource = parameters.get('of') ?? undefined
  const exactPoint = parameters.get('point') ?? undefined
  const chosen = at === undefined ? undefined : toInstant(at)
  const choose = (choice: Choice | undefined): void =>
    setParameters(
      choice === undefined
        ? {}
        : {
            at: toIso(choice.at),
            ...(choice.exact === undefined ? {} : { of: choice.exact.source, point: choice.exact.point }),
          },
      { replace: true },
    )
  const pointOf = (vault: string, source: string): string =>
    exactPoint !== undefined && trackKey(vault, source) === exactSource ? exactPoint : (at ?? 'latest')
  return (
    <div className="system">
      <section className="panel system-head">
        <div className="system-title">
          <h2>{found.name}</h2>
          <StateMark state={found.state} />
          <span className="quiet">{t.states.sentences[found.state]}</span>
          <span className="system-lag">
            {t.system.lag} <strong>{found.lagMs === null ? '–' : formats.duration(found.lagMs)}</strong>
          </span>
        </div>
        <SourceRows sources={found.sources} />
      </section>
      <section className="panel" aria-label={t.system.timeline}>
        <Timeline
          sources={found.sources}
          chosen={chosen}
          choose={choose}
          enter={() => document.getElementById('around')?.focus()}
        />
      </section>
      <section className="panel" id="around" tabIndex={-1} aria-label={t.system.holdsNewest}>
        <AroundPanel
          sources={found.sources}
          chosen={chosen}
          pointOf={({ vault, source }) => pointOf(vault.id, source.id)}
          choose={choose}
          deeds={<Deeds system={found} at={at} pointOf={({ vault, source }) => pointOf(vault.id, source.id)} />}
        />
      </section>
    </div>
  )
}
