import { Table } from 'antd'
import type { ReactNode } from 'react'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import type { LiveVault } from '../live/state.ts'
import { Empty, Loading } from '../shell/states.tsx'

export function Component(): ReactNode {
  const t = useTexts()
  const { vaults, connection } = useLive()
  const formats = useFormats()
  if (connection.kind === 'connecting') return <Loading rows={8} />
  if (vaults.size === 0) return <Empty title={t.overview.noVault} hint={t.overview.noVaultHint} />
  return (
    <section className="panel" aria-label={t.shell.vaults}>
      <Table<LiveVault>
        rowKey={({ entry }) => entry.id}
        size="small"
        pagination={false}
        dataSource={[...vaults.values()]}
        columns={[
          { title: t.vaults.name, render: (_, { entry }) => entry.name },
          { title: t.vaults.url, render: (_, { entry }) => entry.url },
          {
            title: t.vaults.free,
            align: 'right',
            render: (_, { status }) => (status === null ? '–' : formats.bytes(status.freeBytes)),
          },
        ]}
      />
    </section>
  )
}
