import { Input, Select, Space, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import { Link, useNavigate } from 'react-router'
import { useMay } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import type { System } from '../live/systems.ts'
import { useSystems } from '../live/use-systems.ts'
import { rankOf, type ShownState } from '../shell/source-states.ts'
import { StateMark } from '../shell/state-mark.tsx'
import { Empty, Loading } from '../shell/states.tsx'
import { restoreLink, systemLink } from './links.ts'

const namesShown = 4

/** Every system, the worst first. */
export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const formats = useFormats()
  const may = useMay()
  const navigate = useNavigate()
  const [sought, setSought] = useState('')
  const [states, setStates] = useState<readonly ShownState[]>([])
  const systems = useSystems()
  if (live.connection.kind === 'connecting') return <Loading rows={8} />
  if (live.vaults.size === 0) return <Empty title={t.overview.noVault} hint={t.overview.noVaultHint} />
  if (systems.length === 0) return <Empty title={t.overview.noSystem} hint={t.overview.noSystemHint} />
  const found = systems.filter((one) => (states.length === 0 || states.includes(one.state)) && matches(one, sought))
  const present = [...new Set(systems.map(({ state }) => state))].sort((a, b) => rankOf(a) - rankOf(b))
  return (
    <section className="panel" aria-label={t.shell.systems}>
      <header>
        <Space wrap>
          <Input.Search
            allowClear
            placeholder={t.systems.search}
            aria-label={t.systems.search}
            value={sought}
            style={{ width: 280 }}
            onChange={({ target }) => setSought(target.value)}
          />
          <Select<ShownState[]>
            mode="multiple"
            allowClear
            placeholder={t.systems.states}
            aria-label={t.systems.states}
            style={{ minWidth: 220 }}
            value={[...states]}
            onChange={setStates}
            options={present.map((state) => ({ value: state, label: <StateMark state={state} /> }))}
          />
        </Space>
      </header>
      <Table<System>
        rowKey="name"
        size="small"
        pagination={found.length > 50 ? { pageSize: 50, showSizeChanger: false } : false}
        dataSource={found}
        locale={{ emptyText: <Empty title={t.systems.noneFound} hint={t.systems.noneFoundHint} /> }}
        onRow={({ name }) => ({ className: 'row-link', onClick: () => void navigate(systemLink(name)) })}
        columns={[
          {
            title: t.systems.name,
            sorter: (a, b) => a.name.localeCompare(b.name),
            render: (_, { name }) => (
              <Link to={systemLink(name)} onClick={(event) => event.stopPropagation()}>
                <strong>{name}</strong>
              </Link>
            ),
          },
          {
            title: t.systems.state,
            width: 130,
            sorter: (a, b) => rankOf(a.state) - rankOf(b.state),
            render: (_, { state }) => <StateMark state={state} />,
          },
          {
            title: t.systems.lag,
            width: 110,
            align: 'right',
            sorter: (a, b) => (a.lagMs ?? Infinity) - (b.lagMs ?? Infinity),
            render: (_, { lagMs }) => (lagMs === null ? '–' : formats.duration(lagMs)),
          },
          {
            title: t.systems.sources,
            responsive: ['md'],
            render: (_, { sources }) => someNames(sources.map(({ source }) => source.name)),
          },
          {
            title: t.systems.servers,
            responsive: ['lg'],
            render: (_, { sources }) => someNames([...new Set(sources.map(({ source }) => source.agent.name))]),
          },
          {
            title: t.systems.window,
            width: 170,
            responsive: ['xl'],
            render: (_, { sources }) => {
              const earliest = earliestOf(sources.map(({ source }) => source.earliest))
              return earliest === undefined ? t.systems.notYet : formats.moment(earliest)
            },
          },
          {
            title: t.systems.problem,
            width: '26%',
            ellipsis: true,
            render: (_, one) => nextStep(one) ?? (one.state === 'protected' ? '' : t.states.sentences[one.state]),
          },
          ...(may('restore')
            ? [
                {
                  title: t.systems.restore,
                  width: 90,
                  align: 'right' as const,
                  render: (_: unknown, { name }: System) => (
                    <Link to={restoreLink({ system: name })} onClick={(event) => event.stopPropagation()}>
                      {t.systems.restore}
                    </Link>
                  ),
                },
              ]
            : []),
        ]}
      />
    </section>
  )
}

function matches({ name, sources }: System, sought: string): boolean {
  const wanted = sought.trim().toLowerCase()
  return [
    name,
    ...sources.flatMap(({ source, vault }) => [source.name, source.agent.name, vault.name, ...source.paths]),
  ].some((one) => one.toLowerCase().includes(wanted))
}

const someNames = (names: readonly string[]): string =>
  names.length <= namesShown
    ? names.join(', ')
    : `${names.slice(0, namesShown).join(', ')} +${names.length - namesShown}`

/** From then on all of them can be restored. */
function earliestOf(moments: readonly (string | null)[]): string | undefined {
  const known = moments.filter((one) => one !== null).sort()
  return known.length < moments.length ? undefined : known.at(-1)
}

/** What the vault says of the worst source. */
function nextStep({ sources, state }: System): string | undefined {
  const worst = sources.find(({ source }) => source.state === state)
  const problem = worst?.source.problems[0]
  return problem && (problem.hint ?? problem.message)
}
