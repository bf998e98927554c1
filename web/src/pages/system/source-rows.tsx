import { Table } from 'antd'
import type { ReactNode } from 'react'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { type PlacedSource, shownState } from '../../live/systems.ts'
import { StateMark } from '../../shell/state-mark.tsx'

const problemsOf = ({ source }: PlacedSource): ReactNode => <Problems problems={source.problems} />

function Problems({ problems }: Pick<PlacedSource['source'], 'problems'>): ReactNode {
  const t = useTexts()
  return (
    <ul aria-label={t.system.problems}>
      {problems.map(({ code, message, hint }) => (
        <li key={`${code} ${message}`}>
          <strong>{message}</strong> {hint}
        </li>
      ))}
    </ul>
  )
}

/** How each source is now. */
export function SourceRows({ sources }: { readonly sources: readonly PlacedSource[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Table<PlacedSource>
      rowKey={({ vault, source }) => `${vault.id} ${source.id}`}
      size="small"
      pagination={false}
      dataSource={[...sources]}
      scroll={{ x: 'max-content' }}
      expandable={{
        expandedRowRender: problemsOf,
        rowExpandable: ({ source }) => source.problems.length > 0,
        defaultExpandAllRows: true,
        showExpandColumn: false,
      }}
      columns={[
        {
          title: t.system.source,
          render: (_, { source }) => (
            <>
              <strong>{source.name}</strong>{' '}
              <span className="quiet">
                {t.timeline.sourceKinds[source.kind]} · {source.agent.name}
              </span>
            </>
          ),
        },
        { title: t.systems.state, render: (_, placed) => <StateMark state={shownState(placed)} /> },
        {
          title: t.system.lag,
          align: 'right',
          render: (_, { source }) => (source.lagMs === null ? '–' : formats.duration(source.lagMs)),
        },
        {
          title: t.system.lagBytes,
          align: 'right',
          render: (_, { source }) => formats.bytes(source.lagBytes),
        },
        {
          title: t.system.rate,
          align: 'right',
          render: (_, { source }) => t.system.perSecond(formats.count(source.changesPerSecond)),
        },
        {
          title: t.system.covered,
          render: (_, { source }) =>
            source.covered === null ? t.system.nothingYet : formats.momentExactly(source.covered),
        },
        {
          title: t.system.earliest,
          render: (_, { source }) => (source.earliest === null ? t.system.nothingYet : formats.moment(source.earliest)),
        },
        { title: t.vaults.name, render: (_, { vault }) => vault.name },
      ]}
    />
  )
}
