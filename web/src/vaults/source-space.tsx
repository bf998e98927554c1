import { Table } from 'antd'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import type { SourceStatus } from '../../../src/api/schemas.ts'
import type { SpaceAnswer } from '../../../src/api/measures.ts'
import { useMay } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'
import { type PlacedSource, shownState } from '../live/systems.ts'
import { StateMark, ToneShape } from '../shell/state-mark.tsx'
import { RetentionButton } from './retention-dialog.tsx'

interface Row extends PlacedSource {
  readonly space: SpaceAnswer['sources'][number] | undefined
}

/** What each source needs, how far back it is kept, and when it was last proven. */
export function SourceSpace({ rows }: { rows: readonly Row[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const may = useMay()
  const all = rows.reduce((sum, { space }) => sum + (space?.historyBytes ?? 0), 0)
  const bytes = (value: number | undefined): string => (value === undefined ? '–' : formats.bytes(value))
  return (
    <Table<Row>
      rowKey={({ source }) => source.id}
      size="small"
      pagination={rows.length > 50 ? { pageSize: 50, showSizeChanger: false } : false}
      scroll={{ x: 'max-content' }}
      dataSource={[...rows]}
      columns={[
        {
          title: t.servers.source,
          render: (_, { source }) => (
            <Link to={`/systems/${encodeURIComponent(source.system ?? source.name)}`}>{source.name}</Link>
          ),
        },
        { title: t.servers.state, render: (_, row) => <StateMark state={shownState(row)} /> },
        { title: t.vaults.tree, align: 'right', render: (_, { space }) => bytes(space?.treeBytes) },
        {
          title: t.vaults.history,
          align: 'right',
          render: (_, { space }) => bytes(space?.historyBytes),
          sorter: (one, other) => (one.space?.historyBytes ?? 0) - (other.space?.historyBytes ?? 0),
        },
        {
          title: t.vaults.share,
          width: 130,
          render: (_, { space }) => {
            const share = all === 0 ? 0 : (space?.historyBytes ?? 0) / all
            return (
              <span className="share">
                <span className="meter" aria-hidden="true">
                  <span style={{ width: `${share * 100}%` }} />
                </span>
                {formats.share(share)}
              </span>
            )
          },
        },
        { title: t.vaults.journal, align: 'right', render: (_, { space }) => bytes(space?.journalBytes) },
        { title: t.vaults.verified, render: (_, { source }) => <Verified verified={source.verified} /> },
        {
          title: t.servers.window,
          render: (_, row) => (
            <span className="row">
              {formats.duration(row.source.policy.windowMs)}
              {may('protect') && row.source.state !== 'retired' ? <RetentionButton placed={row} /> : null}
            </span>
          ),
        },
      ]}
    />
  )
}

function Verified({ verified }: Pick<SourceStatus, 'verified'>): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(60_000)
  if (verified === null) return <span className="quiet">{t.vaults.neverVerified}</span>
  const tone = verified.good ? 'good' : 'bad'
  return (
    <span className={`state-mark tone-${tone}`} title={verified.text}>
      <ToneShape tone={tone} />
      {verified.good ? t.vaults.good : t.vaults.bad} {formats.shortly(verified.moment, now)}
    </span>
  )
}
