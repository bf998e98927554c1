import { Table } from 'antd'
import type { ReactNode } from 'react'
import { type PlacedAgent, useAgents } from '../api/vaults.ts'
import { useTexts } from '../language/language.ts'
import { Empty, Failed, Loading } from '../shell/states.tsx'

export function Component(): ReactNode {
  const t = useTexts()
  const { rows, isLoading, failure, again } = useAgents()
  if (failure !== null && rows.length === 0) return <Failed failure={failure} again={again} />
  if (isLoading) return <Loading rows={8} />
  if (rows.length === 0) return <Empty title={t.servers.none} hint={t.servers.noneHint} />
  return (
    <section className="panel" aria-label={t.shell.servers}>
      <Table<PlacedAgent>
        rowKey={({ vault, agent }) => `${vault.id} ${agent.id}`}
        size="small"
        pagination={false}
        dataSource={[...rows]}
        columns={[
          { title: t.servers.name, render: (_, { agent }) => agent.name },
          { title: t.servers.vault, render: (_, { vault }) => vault.name },
        ]}
      />
    </section>
  )
}
