import type { ReactNode } from 'react'
import type { Alarm } from '../../../src/api/console.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { Empty, Loading, Notice } from '../shell/states.tsx'
import { type AlarmsWanted, useAlarmFilter } from './alarm-filter.tsx'
import { AlarmTable } from './alarm-table.tsx'
import { severities } from './severities.ts'

/** Live; the worst first, then the newest. */
export function OpenAlarms(): ReactNode {
  const t = useTexts()
  const { alarms, connection } = useLive()
  const { wanted, filter } = useAlarmFilter()
  if (connection.kind === 'connecting') return <Loading rows={6} />
  const open = [...alarms.values()].filter(({ ended }) => ended === null)
  if (open.length === 0) return <Notice tone="good" title={t.alarms.none} hint={t.alarms.noneHint} />
  const rows = open
    .filter((alarm) => fits(alarm, wanted))
    .toSorted((one, other) => rank(one) - rank(other) || other.number - one.number)
  return (
    <>
      {filter}
      {rows.length === 0 ? (
        <Empty title={t.alarms.noneFound} hint={t.alarms.noneFoundHint} />
      ) : (
        <AlarmTable rows={rows} isOver={false} />
      )}
    </>
  )
}

const rank = ({ severity, acknowledged }: Alarm): number =>
  severities.indexOf(severity) + (acknowledged === undefined ? 0 : 10)

function fits(alarm: Alarm, { severity, system, text }: AlarmsWanted): boolean {
  const words = [alarm.message, alarm.system, alarm.source, alarm.agent].join(' ').toLowerCase()
  return (
    (severity === undefined || alarm.severity === severity) &&
    (system === undefined || alarm.system === system) &&
    (text === undefined || words.includes(text.toLowerCase()))
  )
}
