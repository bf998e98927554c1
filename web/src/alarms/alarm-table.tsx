import { Table } from 'antd'
import type { ColumnsType } from 'antd/es/table'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import type { Alarm } from '../../../src/api/console.ts'
import { useMay } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { useAlarmTexts } from './alarm-texts.ts'
import { useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'
import type { Tone } from '../shell/source-states.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { AlarmActions } from './alarm-actions.tsx'

const tones: Record<Alarm['severity'], Tone> = { critical: 'bad', warning: 'late', information: 'idle' }

/** Open ones with what may be done, or those that are over. */
export function AlarmTable({ rows, isOver }: { rows: readonly Alarm[]; isOver: boolean }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const may = useMay()
  const now = useNow(10_000)
  const lasted = ({ began, ended }: Alarm): string =>
    formats.duration(Math.max(0, (ended === null ? now : Date.parse(ended)) - Date.parse(began)))
  const columns: ColumnsType<Alarm> = [
    { title: t.alarms.severity, width: 110, render: (_, alarm) => <Severity alarm={alarm} /> },
    { title: t.alarms.what, render: (_, alarm) => <Sentence alarm={alarm} /> },
    {
      title: t.alarms.system,
      width: 120,
      render: (_, { system }) =>
        system === undefined ? '–' : <Link to={`/systems/${encodeURIComponent(system)}`}>{system}</Link>,
    },
    {
      title: isOver ? t.alarms.began : t.alarms.since,
      width: 165,
      render: (_, alarm) => (
        <div className="alarm-sentence">
          <span>{formats.moment(alarm.began)}</span>
          <span className="quiet">{t.alarms.lasted(lasted(alarm))}</span>
        </div>
      ),
    },
    { title: t.alarms.state, width: 140, render: (_, alarm) => <Handling alarm={alarm} /> },
  ]
  if (!isOver && may('acknowledge')) {
    columns.push({
      title: <span className="only-read">{t.alarms.actions}</span>,
      width: 205,
      render: (_, alarm) => <AlarmActions alarm={alarm} />,
    })
  }
  return (
    <Table<Alarm>
      className="alarm-table"
      rowKey="id"
      size="small"
      pagination={false}
      dataSource={[...rows]}
      columns={columns}
      scroll={{ x: 900 }}
    />
  )
}

function Severity({ alarm: { severity, ended } }: { alarm: Alarm }): ReactNode {
  const t = useTexts()
  const tone = ended === null ? tones[severity] : 'idle'
  return (
    <span className={`state-mark tone-${tone}`}>
      <ToneShape tone={tone} />
      {t.alarms.severities[severity]}
    </span>
  )
}

function Sentence({ alarm }: { alarm: Alarm }): ReactNode {
  const { sentence, hint } = useAlarmTexts(alarm)
  return (
    <div className="alarm-sentence">
      <span>{sentence}</span>
      {alarm.ended === null ? <span className="quiet">{hint}</span> : null}
    </div>
  )
}

function Handling({ alarm: { acknowledged, silenced, ended } }: { alarm: Alarm }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(10_000)
  const said = [
    ...(acknowledged === undefined ? [] : [t.alarms.acknowledgedBy(acknowledged.by)]),
    ...(silenced === undefined ? [] : [t.alarms.silencedUntil(formats.shortly(silenced.until, now))]),
  ]
  if (said.length === 0) return <span className="quiet">{ended === null ? t.alarms.unseen : '–'}</span>
  return (
    <div className="alarm-sentence">
      {said.map((line) => (
        <span key={line}>{line}</span>
      ))}
    </div>
  )
}
