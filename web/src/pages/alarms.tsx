import { Tabs } from 'antd'
import type { ReactNode } from 'react'
import { useSearchParams } from 'react-router'
import { AlarmHistory } from '../alarms/alarm-history.tsx'
import { ChannelList } from '../alarms/channel-list.tsx'
import { OpenAlarms } from '../alarms/open-alarms.tsx'
import { ThresholdList } from '../alarms/threshold-list.tsx'
import { useMay } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import '../alarms/alarms.css'

/** What is wrong now, what was, from when on something is, and who is told. */
export function Component(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const [parameters, setParameters] = useSearchParams()
  const parts = [
    { key: 'open', label: t.alarms.open, children: <OpenAlarms /> },
    { key: 'history', label: t.alarms.history, children: <AlarmHistory /> },
    { key: 'thresholds', label: t.alarms.thresholds, children: <ThresholdList /> },
    ...(may('channels') ? [{ key: 'channels', label: t.alarms.channels, children: <ChannelList /> }] : []),
  ]
  return (
    <section className="panel alarms-page" aria-label={t.alarms.parts}>
      <Tabs
        activeKey={parameters.get('part') ?? 'open'}
        onChange={(part) => setParameters({ part }, { replace: true })}
        items={parts}
        destroyOnHidden
      />
    </section>
  )
}
