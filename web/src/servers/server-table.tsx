import { Table, type TableColumnsType } from 'antd'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import { useSites } from '../api/sites.ts'
import type { PlacedAgent } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { shownState } from '../live/systems.ts'
import { worstOf } from '../shell/source-states.ts'
import { StateMark } from '../shell/state-mark.tsx'
import { ServerMark } from './server-mark.tsx'

const dayMs = 86_400_000
/** An agent renews its certificate when 10 days of it are left; below this it has not. */
const certificateSoonMs = 7 * dayMs
const pageSize = 50

export const serverPath = ({ vault, agent }: PlacedAgent): string =>
  `/servers/${encodeURIComponent(vault.id)}/${agent.id}`

export function ServerTable({ rows }: { rows: readonly PlacedAgent[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(5_000)
  const sites = useSites()
  const { vaults } = useLive()
  const sourcesOf = ({ vault, agent }: PlacedAgent) =>
    [...(vaults.get(vault.id)?.sources.values() ?? [])].filter(
      (source) => source.agent.id === agent.id && source.state !== 'retired',
    )
  const columns: TableColumnsType<PlacedAgent> = [
    {
      title: t.servers.name,
      render: (_, row) => <Link to={serverPath(row)}>{row.agent.name}</Link>,
      sorter: (one, other) => one.agent.name.localeCompare(other.agent.name),
    },
    { title: t.servers.connection, render: (_, row) => <ServerMark row={row} /> },
    { title: t.servers.site, render: (_, { agent }) => sites.agents[agent.id] ?? '–' },
    { title: t.servers.vault, render: (_, { vault }) => vault.name },
    { title: t.servers.version, render: (_, { agent }) => agent.software ?? '–' },
    { title: t.servers.address, render: (_, { agent }) => agent.address ?? '–' },
    {
      title: t.servers.certificate,
      render: (_, { agent }) => {
        if (agent.certificateExpires === null) return '–'
        const left = Date.parse(agent.certificateExpires) - now
        return (
          <span
            className={left < certificateSoonMs ? 'tone-late' : ''}
            title={formats.moment(agent.certificateExpires)}
          >
            {left <= 0 ? t.servers.ended : t.servers.endsIn(formats.duration(left))}
          </span>
        )
      },
    },
    {
      title: t.servers.contact,
      render: (_, { agent }) => (agent.lastContact === null ? '–' : formats.shortly(agent.lastContact, now)),
    },
    {
      title: t.servers.sources,
      render: (_, row) => {
        const sources = sourcesOf(row)
        if (sources.length === 0) return <span className="quiet">{t.servers.nothing}</span>
        return (
          <span className="count-and-state">
            {formats.count(sources.length)}{' '}
            <StateMark state={worstOf(sources.map((source) => shownState({ vault: row.vault, source })))} />
          </span>
        )
      },
    },
    {
      title: t.servers.throughput,
      align: 'right',
      render: (_, { agent }) => formats.rate(agent.bytesPerSecond),
      sorter: (one, other) => one.agent.bytesPerSecond - other.agent.bytesPerSecond,
    },
    {
      title: t.servers.limit,
      align: 'right',
      render: (_, { agent }) => (agent.limitNow === null ? t.servers.noLimit : formats.rate(agent.limitNow)),
    },
  ]
  return (
    <Table<PlacedAgent>
      rowKey={({ vault, agent }) => `${vault.id} ${agent.id}`}
      size="small"
      pagination={rows.length > pageSize ? { pageSize, showSizeChanger: false } : false}
      scroll={{ x: 'max-content' }}
      dataSource={[...rows]}
      columns={columns}
    />
  )
}
