import { Table } from 'antd'
import type { ColumnsType } from 'antd/es/table'
import type { ReactNode } from 'react'
import type { Report } from '../../../src/api/console.ts'
import { useFormats } from '../formats/formats.ts'
import { useAlarmTexts } from '../alarms/alarm-texts.ts'
import { useTexts } from '../language/language.ts'

type Source = Report['sources'][number]

/** All that a report has, as tables: what is printed and filed. */
export function ReportTables({ report }: { report: Report }): ReactNode {
  return (
    <>
      <LagTable sources={report.sources} />
      <HoleTable sources={report.sources} />
      <VerificationTable sources={report.sources} />
      <RestoreTable restores={report.restores} />
      <AlarmsOfMonth alarms={report.alarms} />
    </>
  )
}

function Part<T extends object>({
  title,
  none,
  rows,
  columns,
}: {
  title: string
  none: string
  rows: readonly T[]
  columns: ColumnsType<T>
}): ReactNode {
  return (
    <section className="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
      </header>
      {rows.length === 0 ? (
        <p className="panel-body quiet">{none}</p>
      ) : (
        <Table<T>
          rowKey={(row) => rows.indexOf(row)}
          size="small"
          pagination={false}
          scroll={{ x: 'max-content' }}
          dataSource={[...rows]}
          columns={columns}
        />
      )}
    </section>
  )
}

function LagTable({ sources }: { sources: readonly Source[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const lag = (ms: number | null): string => (ms === null ? '–' : formats.duration(ms))
  const right = (title: string, of: (source: Source) => ReactNode) => ({
    title,
    align: 'right' as const,
    render: (_: unknown, source: Source) => of(source),
  })
  return (
    <Part
      title={t.reports.rpo}
      none={t.reports.choose}
      rows={sources}
      columns={[
        { title: t.reports.source, render: (_, { name }) => <strong>{name}</strong> },
        { title: t.reports.vault, render: (_, { vault }) => vault },
        right(t.reports.p50, ({ lagMs }) => lag(lagMs.p50)),
        right(t.reports.p95, ({ lagMs }) => lag(lagMs.p95)),
        right(t.reports.p99, ({ lagMs }) => lag(lagMs.p99)),
        right(t.reports.max, ({ lagMs }) => lag(lagMs.max)),
        right(t.reports.allowed, ({ lagMsMax }) => formats.duration(lagMsMax)),
        right(t.reports.late, ({ lateSeconds }) => formats.duration(lateSeconds * 1000)),
        right(t.reports.measured, ({ secondsMeasured }) => formats.duration(secondsMeasured * 1000)),
        right(t.reports.measuredPart, ({ secondsMeasured, secondsExpected }) =>
          secondsExpected === 0 ? '–' : formats.share(Math.min(1, secondsMeasured / secondsExpected)),
        ),
        right(t.reports.changes, ({ changes }) => formats.count(changes)),
        right(t.reports.bytes, ({ bytes }) => formats.bytes(bytes)),
      ]}
    />
  )
}

function HoleTable({ sources }: { sources: readonly Source[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Part
      title={t.reports.holes}
      none={t.reports.noHoles}
      rows={sources.flatMap(({ name, holes }) => holes.map((hole) => ({ name, ...hole })))}
      columns={[
        { title: t.reports.source, render: (_, { name }) => name },
        { title: t.reports.from, render: (_, { from }) => formats.moment(from) },
        {
          title: t.reports.until,
          render: (_, { until }) => (until === null ? t.reports.goesOn : formats.moment(until)),
        },
        { title: t.reports.reason, render: (_, { reason }) => reason },
      ]}
    />
  )
}

function VerificationTable({ sources }: { sources: readonly Source[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Part
      title={t.reports.verifications}
      none={t.reports.noVerifications}
      rows={sources.flatMap(({ name, verifications }) => verifications.map((one) => ({ name, ...one })))}
      columns={[
        { title: t.reports.source, render: (_, { name }) => name },
        { title: t.reports.at, render: (_, { at }) => formats.moment(at) },
        { title: t.reports.point, render: (_, { moment }) => formats.momentExactly(moment) },
        {
          title: t.reports.result,
          render: (_, { good }) => (
            <span className={good ? 'tone-good' : 'tone-bad'}>{good ? t.reports.good : t.reports.bad}</span>
          ),
        },
        { title: t.reports.text, render: (_, { text }) => text },
        { title: t.reports.by, render: (_, { by }) => by },
      ]}
    />
  )
}

function RestoreTable({ restores }: { restores: Report['restores'] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Part
      title={t.reports.restores}
      none={t.reports.noRestores}
      rows={restores}
      columns={[
        { title: t.reports.source, render: (_, { source }) => source },
        { title: t.reports.to, render: (_, { to }) => <code>{to}</code> },
        { title: t.reports.at, render: (_, { began }) => formats.moment(began) },
        {
          title: t.reports.took,
          align: 'right',
          render: (_, { seconds }) => (seconds === null ? '–' : formats.duration(seconds * 1000)),
        },
        {
          title: t.reports.bytes,
          align: 'right',
          render: (_, { bytes }) => (bytes === null ? '–' : formats.bytes(bytes)),
        },
        { title: t.reports.state, render: (_, { state }) => t.reports.states[state] },
        { title: t.reports.by, render: (_, { by }) => by },
      ]}
    />
  )
}

function AlarmsOfMonth({ alarms }: { alarms: Report['alarms'] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Part
      title={t.reports.alarms}
      none={t.reports.noAlarms}
      rows={alarms}
      columns={[
        { title: t.reports.severity, render: (_, { severity }) => t.alarms.severities[severity] },
        { title: t.reports.sentence, render: (_, alarm) => <SentenceOf alarm={alarm} /> },
        { title: t.reports.from, render: (_, { began }) => formats.moment(began) },
        {
          title: t.reports.lasted,
          align: 'right',
          render: (_, { began, ended }) =>
            ended === null ? t.reports.goesOn : formats.duration(Date.parse(ended) - Date.parse(began)),
        },
      ]}
    />
  )
}

function SentenceOf({ alarm }: { alarm: Report['alarms'][number] }): ReactNode {
  return useAlarmTexts(alarm).sentence
}
