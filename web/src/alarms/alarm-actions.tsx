import { DownOutlined } from '@ant-design/icons'
import { Button, Dropdown } from 'antd'
import type { ReactNode } from 'react'
import type { Alarm } from '../../../src/api/console.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useTexts } from '../language/language.ts'

const silences = ['60', '480', '1440', '10080'] as const
type Act = { readonly kind: 'acknowledge' | 'speak' } | { readonly kind: 'silence'; readonly minutes: number }

/** What becomes of it is told live. */
export function AlarmActions({ alarm }: { alarm: Alarm }): ReactNode {
  const t = useTexts()
  const { ask, isBusy, failure } = useChange((act: Act) => askFor(alarm.id, act), {
    done: (_, { kind }) =>
      ({ acknowledge: t.alarms.acknowledged, silence: t.alarms.silenced, speak: t.alarms.speaks })[kind],
    touches: [],
  })
  return (
    <div className="alarm-actions">
      {alarm.acknowledged === undefined ? (
        <Button size="small" disabled={isBusy} onClick={() => void ask({ kind: 'acknowledge' })}>
          {t.alarms.acknowledge}
        </Button>
      ) : null}
      {alarm.silenced === undefined ? (
        <Dropdown
          trigger={['click']}
          menu={{
            items: silences.map((key) => ({ key, label: t.alarms.silenceFor[key] })),
            onClick: ({ key }) => void ask({ kind: 'silence', minutes: Number(key) }),
          }}
        >
          <Button size="small" disabled={isBusy}>
            {t.alarms.silence} <DownOutlined />
          </Button>
        </Dropdown>
      ) : (
        <Button size="small" disabled={isBusy} onClick={() => void ask({ kind: 'speak' })}>
          {t.alarms.speakAgain}
        </Button>
      )}
      {failure === null ? null : <span className="tone-bad">{failure.message}</span>}
    </div>
  )
}

function askFor(id: string, act: Act): Promise<unknown> {
  switch (act.kind) {
    case 'acknowledge':
      return request('POST', `/alarms/${id}/acknowledge`)
    case 'silence':
      return request('POST', `/alarms/${id}/silence`, { minutes: act.minutes })
    case 'speak':
      return request('DELETE', `/alarms/${id}/silence`)
  }
}
