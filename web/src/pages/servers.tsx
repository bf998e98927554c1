import { PlusOutlined } from '@ant-design/icons'
import { Button, Input } from 'antd'
import { type ReactNode, useState } from 'react'
import { useMay } from '../api/session.ts'
import { useAgents } from '../api/vaults.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { EnrolDrawer } from '../servers/enrol-drawer.tsx'
import { ServerTable } from '../servers/server-table.tsx'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import '../servers/servers.css'

export function Component(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { connection } = useLive()
  const { rows, isLoading, failure, again } = useAgents()
  const [isEnrolling, setEnrolling] = useState(false)
  const [text, setText] = useState('')
  const enrol = may('servers') ? (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setEnrolling(true)}>
      {t.servers.enrol}
    </Button>
  ) : null
  const found = rows.filter(({ agent }) => agent.name.toLowerCase().includes(text.toLowerCase()))
  return (
    <>
      <section className="panel" aria-labelledby="servers-title">
        <header>
          <h2 id="servers-title">{t.servers.enrolled}</h2>
          <Input.Search
            className="search"
            allowClear
            placeholder={t.servers.find}
            aria-label={t.servers.find}
            onChange={({ target }) => setText(target.value)}
          />
          {enrol}
        </header>
        {failure !== null && rows.length === 0 ? (
          <Failed failure={failure} again={again} />
        ) : isLoading || connection.kind === 'connecting' ? (
          <Loading rows={8} />
        ) : rows.length === 0 ? (
          <Empty title={t.servers.none} hint={t.servers.noneHint}>
            {enrol}
          </Empty>
        ) : (
          <ServerTable rows={found} />
        )}
      </section>
      <EnrolDrawer isOpen={isEnrolling} onClose={() => setEnrolling(false)} />
    </>
  )
}
