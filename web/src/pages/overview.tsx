import { Table } from 'antd'
import { type ReactNode, useMemo } from 'react'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { type System, systemsOf } from '../live/systems.ts'
import { StateMark } from '../shell/state-mark.tsx'
import { Empty, Loading } from '../shell/states.tsx'

export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const formats = useFormats()
  const systems = useMemo(() => systemsOf(live), [live])
  if (live.connection.kind === 'connecting') return <Loading rows={8} />
  if (live.vaults.size === 0) return <Empty title={t.overview.noVault} hint={t.overview.noVaultHint} />
  if (systems.length === 0) return <Empty title={t.overview.noSystem} hint={t.overview.noSystemHint} />
  return (
    <section className="panel" aria-label={t.overview.systems}>
      <Table<System>
        rowKey="name"
        size="small"
        pagination={false}
        dataSource={systems}
        columns={[
          { title: t.overview.system, dataIndex: 'name' },
          { title: t.overview.state, render: (_, { state }) => <StateMark state={state} /> },
          {
            title: t.overview.lag,
            align: 'right',
            render: (_, { lagMs }) => (lagMs === null ? '–' : formats.duration(lagMs)),
          },
        ]}
      />
    </section>
  )
}
