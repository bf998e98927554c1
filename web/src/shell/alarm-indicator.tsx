import type { ReactNode } from 'react'
import { Link } from 'react-router'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { ToneShape } from './state-mark.tsx'

/** On every page: how many alarms wait for somebody, and a word to who does not see the screen when there is a new one. */
export function AlarmIndicator(): ReactNode {
  const t = useTexts()
  const { alarms } = useLive()
  const waiting = [...alarms.values()].filter(
    ({ ended, acknowledged, severity }) => ended === null && acknowledged === undefined && severity !== 'information',
  )
  const tone = waiting.some(({ severity }) => severity === 'critical') ? 'bad' : 'late'
  return (
    <span aria-live="assertive">
      {waiting.length === 0 ? null : (
        <Link to="/alarms" className={`live-alarms tone-${tone}`}>
          <ToneShape tone={tone} />
          {t.shell.alarmsWaiting(waiting.length)}
        </Link>
      )}
    </span>
  )
}
