import type { ReactNode } from 'react'
import type { Alarm } from '../../../src/api/console.ts'
import { useFormats } from '../formats/formats.ts'
import { useAlarmTexts } from '../alarms/alarm-texts.ts'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import type { Tone } from '../shell/source-states.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { Notice } from '../shell/states.tsx'

const tones: Record<Alarm['severity'], Tone> = { critical: 'bad', warning: 'late', information: 'idle' }

/** The newest first; those that are over are quieter. */
export function AlarmList({ shownMax }: { shownMax: number }): ReactNode {
  const t = useTexts()
  const { alarms } = useLive()
  const newest = [...alarms.values()].toSorted((one, other) => (one.began < other.began ? 1 : -1))
  const open = newest.filter(({ ended }) => ended === null)
  if (newest.length === 0) return <Notice tone="good" title={t.overview.noAlarm} hint={t.overview.noAlarmHint} />
  return (
    <ul className="alarms" aria-live="polite" aria-relevant="additions text">
      {[...open, ...newest.filter(({ ended }) => ended !== null)].slice(0, shownMax).map((alarm) => (
        <AlarmRow key={alarm.id} alarm={alarm} />
      ))}
    </ul>
  )
}

function AlarmRow({ alarm }: { alarm: Alarm }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(10_000)
  const { sentence, hint } = useAlarmTexts(alarm)
  const isOver = alarm.ended !== null
  return (
    <li className={isOver ? 'alarm is-over' : 'alarm'}>
      <span className={`alarm-head tone-${isOver ? 'idle' : tones[alarm.severity]}`}>
        <ToneShape tone={isOver ? 'idle' : tones[alarm.severity]} />
        {t.overview.severities[alarm.severity]}
        {alarm.acknowledged === undefined ? null : <em>{t.overview.acknowledged(alarm.acknowledged.by)}</em>}
        <time className="quiet" dateTime={alarm.began} title={formats.momentExactly(alarm.began)}>
          {isOver ? t.overview.over : formats.shortly(alarm.began, now)}
        </time>
      </span>
      <span>{sentence}</span>
      {isOver ? null : <span className="quiet">{hint}</span>}
    </li>
  )
}
