import { DownloadOutlined, PrinterOutlined } from '@ant-design/icons'
import { useQuery } from '@tanstack/react-query'
import { Button, DatePicker } from 'antd'
import dayjs from 'dayjs'
import { lazy, type ReactNode, Suspense } from 'react'
import { useSearchParams } from 'react-router'
import type { Report } from '../../../src/api/console.ts'
import { SystemSelect } from '../alarms/alarm-filter.tsx'
import { get, withQuery } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'
import { ReportTables } from '../reports/report-tables.tsx'
import { usePreferences } from '../shell/preferences.ts'
import { useThemeName } from '../shell/theme.ts'
import { Empty, Failed, Loading, Notice } from '../shell/states.tsx'
import '../alarms/alarms.css'
import '../reports/reports.css'

const LagChart = lazy(async () => ({ default: (await import('../chart/lag-chart.tsx')).LagChart }))

/** One month of one system, to read, to print, and to file. */
export function Component(): ReactNode {
  const t = useTexts()
  const { language } = usePreferences()
  const [parameters, setParameters] = useSearchParams()
  const system = parameters.get('system')
  const now = useNow(60_000)
  const month = parameters.get('month') ?? dayjs(now).toISOString().slice(0, 7)
  const choose = (chosen: { system?: string | undefined; month?: string | undefined }): void => {
    const next = { system: system ?? undefined, month, ...chosen }
    setParameters(
      Object.fromEntries(Object.entries(next).filter((one): one is [string, string] => one[1] !== undefined)),
      { replace: true },
    )
  }
  const path = system === null ? null : `/reports/${encodeURIComponent(system)}/${month}`
  return (
    <div className="stack reports">
      <section className="panel no-print" aria-label={t.reports.choose}>
        <div className="alarms-filter">
          <SystemSelect
            placeholder={t.reports.chooseSystem}
            value={system ?? undefined}
            onChange={(chosen) => choose({ system: chosen })}
          />
          <DatePicker
            picker="month"
            allowClear={false}
            aria-label={t.reports.month}
            value={dayjs(`${month}-01`)}
            disabledDate={(day) => day.isAfter(dayjs())}
            onChange={(day) => choose({ month: day?.format('YYYY-MM') })}
          />
          <span className="quiet">{t.reports.month}</span>
          {path === null ? null : (
            <>
              <Button icon={<DownloadOutlined />} href={`/api${withQuery(`${path}.csv`, { language })}`} download>
                {t.reports.csv}
              </Button>
              <Button icon={<PrinterOutlined />} onClick={() => window.print()}>
                {t.reports.print}
              </Button>
            </>
          )}
        </div>
      </section>
      {path === null ? (
        <section className="panel">
          <Empty title={t.reports.choose} hint={t.reports.chooseHint} />
        </section>
      ) : (
        <OneReport path={path} />
      )}
    </div>
  )
}

function OneReport({ path }: { path: string }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const theme = useThemeName()
  const { data, error, refetch } = useQuery({
    queryKey: ['report', path],
    queryFn: ({ signal }) => get<Report>(path, signal),
  })
  if (error !== null && data === undefined) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={8} />
  const { system, month, made, missing, sources } = data
  return (
    <article className="stack">
      <header className="report-head">
        <h2>{t.reports.of(system, month)}</h2>
        <span className="quiet">{t.reports.made(formats.moment(made))}</span>
      </header>
      {missing.map(({ source, vault, reason }) => (
        <Notice
          key={`${vault} ${source}`}
          tone="bad"
          title={t.reports.missing}
          hint={t.reports.missingOf(source, vault, reason)}
        />
      ))}
      {sources.some(({ secondsMeasured }) => secondsMeasured > 0) ? (
        <section className="panel" aria-labelledby="distribution-title">
          <header>
            <h2 id="distribution-title">{t.reports.distribution}</h2>
          </header>
          <Suspense fallback={<Loading rows={4} />}>
            <LagChart key={theme} sources={sources} />
          </Suspense>
        </section>
      ) : null}
      <ReportTables report={data} />
    </article>
  )
}
