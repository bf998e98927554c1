import { Button, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { Thresholds } from '../../../src/api/console.ts'
import { thresholdsKey, useThresholds } from '../api/alarms.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useMay } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { Failed, FailureLine, Loading } from '../shell/states.tsx'
import { ThresholdDrawer, type ThresholdsEdited } from './threshold-drawer.tsx'

/** From when on something is an alarm: a line for everything, and one for each system that has its own. */
export function ThresholdList(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { data, error, refetch } = useThresholds()
  const [edited, edit] = useState<ThresholdsEdited | null>(null)
  const remove = useChange((system: string) => request('DELETE', `/thresholds/${encodeURIComponent(system)}`), {
    done: (_, system) => t.thresholds.removed(system),
    touches: [thresholdsKey],
  })
  if (error !== null && data === undefined) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={4} />
  const column = (title: string, of: (row: Thresholds) => ReactNode) => ({
    title,
    align: 'right' as const,
    render: (_: unknown, row: Thresholds) => of(row),
  })
  return (
    <>
      <div className="alarms-filter">
        <p className="quiet">{t.thresholds.about}</p>
        {may('channels') ? (
          <Button onClick={() => edit({ isNew: true, row: data.everything })}>{t.thresholds.add}</Button>
        ) : null}
      </div>
      <FailureLine failure={remove.failure} />
      <Table<Thresholds>
        rowKey={({ system = '' }) => system}
        size="small"
        pagination={false}
        scroll={{ x: 900 }}
        dataSource={[data.everything, ...data.systems]}
        columns={[
          {
            title: t.thresholds.ofSystem,
            render: (_, { system }) => system ?? <strong>{t.thresholds.everything}</strong>,
          },
          column(t.thresholds.lagMax, ({ lagMsMax }) =>
            lagMsMax === undefined ? t.thresholds.asPolicy : lagMsMax / 1000,
          ),
          column(t.thresholds.agentGone, ({ agentGoneMs }) => agentGoneMs / 1000),
          column(t.thresholds.certificate, ({ certificateDays, system }) =>
            system === undefined ? certificateDays : '–',
          ),
          column(t.thresholds.full, ({ fullDays, system }) => (system === undefined ? fullDays : '–')),
          column(t.thresholds.verification, ({ verificationDays }) => verificationDays),
          ...(may('channels')
            ? [
                {
                  title: <span className="only-read">{t.alarms.actions}</span>,
                  width: 210,
                  render: (_: unknown, row: Thresholds) => (
                    <div className="alarm-actions">
                      <Button size="small" onClick={() => edit({ isNew: false, row })}>
                        {t.thresholds.edit}
                      </Button>
                      {row.system === undefined ? null : (
                        <Button size="small" disabled={remove.isBusy} onClick={() => void remove.ask(row.system ?? '')}>
                          {t.thresholds.remove}
                        </Button>
                      )}
                    </div>
                  ),
                },
              ]
            : []),
        ]}
      />
      <ThresholdDrawer edited={edited} onClose={() => edit(null)} />
    </>
  )
}
