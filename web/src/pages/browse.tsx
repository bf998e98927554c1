import { Segmented, Select } from 'antd'
import { type ReactNode, useState } from 'react'
import { useNavigate, useParams, useSearchParams } from 'react-router'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import type { PlacedSource } from '../live/systems.ts'
import { useSystems } from '../live/use-systems.ts'
import { Empty, Loading } from '../shell/states.tsx'
import { toInstant, toIso } from '../timeline/instant.ts'
import { Timeline } from '../timeline/timeline.tsx'
import { Differences } from './browse/differences.tsx'
import { FilePanel } from './browse/file-panel.tsx'
import { Folder } from './browse/folder.tsx'
import { type Browsed, folderOf, type Place } from './browse/place.ts'
import { PointInput } from './browse/point-input.tsx'
import { Search } from './browse/search.tsx'
import { browseLink } from './links.ts'
import './browse/browse.css'

/** What is shown stands in the address, so that it can be sent to somebody. */
const parameterNames = ['at', 'to', 'path', 'pathBytes', 'file', 'fileBytes', 'tab'] as const
type Parameters = Partial<Record<(typeof parameterNames)[number], string | undefined>>

/** A source as it was at any moment of its window. */
export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const systems = useSystems()
  const navigate = useNavigate()
  const { vault, source } = useParams()
  if (live.connection.kind === 'connecting') return <Loading rows={10} />
  const all = systems.flatMap((system) => system.sources).filter((one) => one.source.earliest !== null)
  if (all.length === 0) return <Empty title={t.browse.noSource} hint={t.browse.noSourceHint} />
  const found = all.find((one) => one.vault.id === vault && one.source.id === source)
  const chooser = (
    <Select
      showSearch={{ optionFilterProp: 'label' }}
      style={{ minWidth: 260 }}
      aria-label={t.browse.source}
      placeholder={t.browse.chooseSource}
      value={found === undefined ? null : `${found.vault.id}/${found.source.id}`}
      onChange={(chosen: string) => {
        const [chosenVault = '', chosenSource = ''] = chosen.split('/')
        void navigate(browseLink({ vault: chosenVault, source: chosenSource }))
      }}
      options={systems.map((system) => ({
        label: system.name,
        options: system.sources
          .filter((one) => one.source.earliest !== null)
          .map((one) => ({
            value: `${one.vault.id}/${one.source.id}`,
            label: `${one.source.name} · ${t.timeline.sourceKinds[one.source.kind]} · ${one.vault.name}`,
          })),
      }))}
    />
  )
  if (found === undefined) {
    return (
      <section className="panel">
        <header>{chooser}</header>
        <Empty
          title={source === undefined ? t.browse.chooseSource : t.browse.gone}
          hint={source === undefined ? t.browse.chooseSourceHint : t.browse.goneHint}
        />
      </section>
    )
  }
  return <Browsing key={`${found.vault.id}/${found.source.id}`} placed={found} chooser={chooser} />
}

function Browsing({ placed, chooser }: { readonly placed: PlacedSource; readonly chooser: ReactNode }): ReactNode {
  const t = useTexts()
  const [parameters, setParameters] = useSearchParams()
  const [isTimelineOpen, setTimelineOpen] = useState(false)
  const { vault, source } = placed
  const asked: Parameters = Object.fromEntries(parameterNames.map((name) => [name, parameters.get(name) ?? undefined]))
  const change = (wanted: Parameters): void => {
    const next = Object.entries({ ...asked, ...wanted }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value]],
    )
    setParameters(Object.fromEntries(next) as Record<string, string>)
  }
  const at = asked.at ?? 'latest'
  const browsed: Browsed = { vault: vault.id, source: source.id, at }
  const first = source.kind === 'files' && source.paths.length === 1 ? (source.paths[0] ?? '/') : '/'
  const place: Place = { path: asked.path ?? first, pathBytes: asked.pathBytes }
  const tab = asked.tab ?? (asked.to === undefined ? 'files' : 'differences')
  const choosePoint = (point: string): void => change({ at: point === 'latest' ? undefined : point })
  const open = ({ path, pathBytes }: Place): void => change({ path, pathBytes, file: undefined, fileBytes: undefined })
  const show = ({ path, pathBytes }: Place, point: string): void =>
    change({
      at: point === 'latest' ? undefined : point,
      path: folderOf(path),
      pathBytes: undefined,
      file: path,
      fileBytes: pathBytes,
      tab: 'files',
      to: undefined,
    })
  return (
    <div className="browse">
      <section className="panel browse-head" aria-label={t.browse.source}>
        {chooser}
        <PointInput point={at} choose={choosePoint} label={t.browse.from} />
        <details open={isTimelineOpen} onToggle={({ currentTarget }) => setTimelineOpen(currentTarget.open)}>
          <summary>{t.browse.timeline}</summary>
        </details>
        <Segmented
          value={tab}
          onChange={(chosen) =>
            change({ tab: chosen, to: chosen === 'differences' ? (asked.to ?? 'latest') : undefined })
          }
          options={[
            { value: 'files', label: t.browse.files },
            { value: 'search', label: t.browse.search },
            { value: 'differences', label: t.browse.differences },
          ]}
        />
        {isTimelineOpen ? (
          <div className="browse-timeline">
            <Timeline
              isCompact
              sources={[placed]}
              chosen={/^\d{4}-/.test(at) ? toInstant(at) : undefined}
              choose={(choice) => choosePoint(choice.exact?.point ?? toIso(choice.at))}
            />
          </div>
        ) : null}
      </section>
      <div className={asked.file === undefined ? 'browse-main' : 'browse-main has-file'}>
        <section className="panel">
          {tab === 'search' ? (
            <Search browsed={browsed} show={show} />
          ) : tab === 'differences' ? (
            <Differences
              browsed={browsed}
              place={place}
              to={asked.to ?? 'latest'}
              setTo={(to) => change({ to })}
              show={show}
            />
          ) : (
            <Folder
              key={place.path}
              browsed={browsed}
              place={place}
              selected={asked.file}
              open={open}
              select={({ path, pathBytes }) => change({ file: path, fileBytes: pathBytes })}
            />
          )}
        </section>
        {asked.file === undefined ? null : (
          <FilePanel
            browsed={browsed}
            place={{ path: asked.file, pathBytes: asked.fileBytes }}
            isFiles={source.kind === 'files'}
            close={() => change({ file: undefined, fileBytes: undefined })}
            choosePoint={choosePoint}
          />
        )}
      </div>
    </div>
  )
}
